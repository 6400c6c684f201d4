"""Degrees, sharding, overlap, memory and number formats as Megatron's arguments."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.emit.megatron_parallel import (
    memory_args,
    parallel_args,
    pipeline_layout,
)
from planner.emit.text import Header
from planner.emit.view import read

Plan = dict[str, Any]
Args = dict[str, tuple[str, ...]]


@pytest.fixture
def said(plans: dict[str, Plan], planned: Callable[..., Plan]) -> Callable[..., tuple[Args, str]]:
    """Arguments, and what is said to be lost, for a strategy of one of the models."""

    def run(which: str = "dense", *, devices: int = 64, **strategy: Any) -> tuple[Args, str]:
        work = {key: strategy.pop(key) for key in ("software",) if key in strategy}
        model = plans[which]["job"]["workload"]["model"]
        plan = planned("x", model, strategy, devices=devices, **work)
        view, header = read(plan), Header("x")
        args = [
            *parallel_args(view, header),
            *memory_args(view, header),
        ]
        assert len({arg[0] for arg in args}) == len(args), "a flag twice"
        return {arg[0]: arg[1:] for arg in args}, " ".join(header.lost)

    return run


def test_layout_string() -> None:
    assert pipeline_layout((3, 4, 4, 3), 0) == "Et*3|t*4|t*4|t*3L"
    assert pipeline_layout((1, 2), 1) == "Et*1|t*2m*1L"
    assert pipeline_layout((0, 2, 0), 0) == "E|t*2|L"


def test_an_even_pipeline_needs_no_layout(said: Callable[..., tuple[Args, str]]) -> None:
    args, lost = said(pp=4, vpp=5, schedule="interleaved")
    assert args["--num-layers-per-virtual-pipeline-stage"] == ("4",)
    assert "--pipeline-model-parallel-layout" not in args
    assert lost == ""


def test_an_uneven_pipeline_has_one(said: Callable[..., tuple[Args, str]]) -> None:
    args, _ = said(pp=4, layers_per_stage=[19, 21, 21, 19])
    assert args["--pipeline-model-parallel-layout"] == ("Et*19|t*21|t*21|t*19L",)
    args, _ = said("moe", pp=2, vpp=2, schedule="interleaved")
    layout = args["--pipeline-model-parallel-layout"][0]
    assert layout.count("|") == 3
    assert "--num-layers-per-virtual-pipeline-stage" not in args  # Megatron takes one of the two


def test_microbatch_groups_that_interleaving_accepts(
    said: Callable[..., tuple[Args, str]],
) -> None:
    flag = "--microbatch-group-size-per-virtual-pipeline-stage"
    args, _ = said(pp=4, vpp=2, schedule="interleaved", devices=4, micro_batch=128)  # 8 of 4
    assert flag not in args
    args, _ = said(pp=5, vpp=2, schedule="interleaved", devices=5, micro_batch=128)  # 8: 5 + 3
    assert args[flag] == ("8",)
    _, lost = said(pp=16, vpp=5, schedule="interleaved", devices=16, micro_batch=128)
    assert "refused" in lost


@pytest.mark.parametrize(
    ("zero", "present", "absent"),
    [
        (0, (), ("--use-distributed-optimizer", "--overlap-param-gather", "--use-megatron-fsdp")),
        (1, ("--use-distributed-optimizer", "--overlap-param-gather"), ("--use-megatron-fsdp",)),
        (2, ("--use-megatron-fsdp",), ()),
        (3, ("--use-megatron-fsdp",), ()),
    ],
)
def test_zero(
    said: Callable[..., tuple[Args, str]],
    zero: int,
    present: tuple[str, ...],
    absent: tuple[str, ...],
) -> None:
    args, _ = said(zero=zero)
    assert set(present) <= set(args)
    assert not set(absent) & set(args)
    strategy = {2: ("optim_grads",), 3: ("optim_grads_params",)}.get(zero)
    assert args.get("--data-parallel-sharding-strategy") == strategy


def test_fsdp_is_set_as_its_guide_says(said: Callable[..., tuple[Args, str]]) -> None:
    """Its own rules: no pipeline, overlap always, and double buffers but for overlapped experts."""
    flags = {"--calculate-per-token-loss", "--fsdp-double-buffer", "--init-model-with-meta-device"}
    for zero in (2, 3):
        args, lost = said(zero=zero)
        assert flags <= set(args)
        assert lost == ""
        args, lost = said(zero=zero, pp=4)
        assert "--use-megatron-fsdp" not in args
        assert not flags & set(args)
        assert "--use-distributed-optimizer" in args
        assert f"zero {zero} in a pipeline" in lost
    args, _ = said("case", ep=8, zero=3, software={"overlap_ep": True})
    assert "--overlap-moe-expert-parallel-comm" in args
    assert "--fsdp-double-buffer" not in args
    args, lost = said(zero=3, software={"overlap_grad_reduce": False})
    assert "--overlap-grad-reduce" in args
    assert "zero 3 without overlap" in lost


def test_hsdp_is_copies_of_the_optimizer(said: Callable[..., tuple[Args, str]]) -> None:
    assert "--num-distributed-optimizer-instances" not in said(zero=1)[0]
    args, _ = said(zero=1, zero_group=8)
    assert args["--num-distributed-optimizer-instances"] == ("8",)
    args, _ = said(zero=3, zero_group=16)
    assert args["--num-distributed-optimizer-instances"] == ("4",)
    assert args["--outer-dp-sharding-strategy"] == ("no_shard",)
    args, lost = said("case", zero=1, zero_group=2, ep=64)
    assert "--num-distributed-optimizer-instances" not in args
    assert "one shard set" in lost


def test_overlap_follows_the_switches(said: Callable[..., tuple[Args, str]]) -> None:
    software = {"overlap_grad_reduce": False, "overlap_param_gather": True, "overlap_tp": True}
    args, lost = said(tp=2, sp=True, software=software)
    assert "--overlap-grad-reduce" not in args
    assert "--overlap-param-gather" not in args
    assert "parameter gathers" in lost
    assert "--tp-comm-overlap" in args
    args, lost = said(tp=2, sp=False, software=software)
    assert "--tp-comm-overlap" not in args  # Megatron asserts sequence parallelism
    assert "overlapped without sp" in lost


def test_expert_exchange_is_overlapped_where_megatron_can(
    said: Callable[..., tuple[Args, str]],
) -> None:
    flag, on = "--overlap-moe-expert-parallel-comm", {"overlap_ep": True}
    assert flag in said("case", ep=8, software=on)[0]
    for strategy in ({"pp": 2}, {"recompute": "full"}, {"recompute": {"selective": ["moe"]}}):
        args, lost = said("case", ep=8, software=on, **strategy)
        assert flag not in args
        assert "expert exchange" in lost


def test_experts_over_tp_need_sequence_parallelism(
    said: Callable[..., tuple[Args, str]],
) -> None:
    args, lost = said("case", tp=2, ep=2, sp=False)
    assert "--sequence-parallel" in args
    assert "sequence parallelism" in lost
    assert "--sequence-parallel" not in said(tp=1, sp=True)[0]


@pytest.mark.parametrize(
    ("order", "flag", "lost_something"),
    [
        (["tp", "cp", "dp", "pp"], False, False),
        (["tp", "cp", "pp", "dp"], True, False),
        (["dp", "tp", "cp", "pp"], False, True),
        (["cp", "tp", "dp", "pp"], False, False),  # cp is 1: the same order
    ],
)
def test_rank_order(
    said: Callable[..., tuple[Args, str]], order: list[str], flag: bool, lost_something: bool
) -> None:
    args, lost = said(tp=2, sp=True, pp=2, mesh_order=order)
    assert ("--use-tp-pp-dp-mapping" in args) is flag
    assert ("rank order" in lost) is lost_something


def test_context_exchange(said: Callable[..., tuple[Args, str]]) -> None:
    assert "--cp-comm-type" not in said(cp=1)[0]
    assert said(cp=4, cp_comm="all-gather")[0]["--cp-comm-type"] == ("all_gather",)
    args, _ = said(cp=16, tp=1, cp_comm="a2a+p2p")  # 8 key-value heads
    assert args["--hierarchical-context-parallel-sizes"] == ("8", "2")
    args, lost = said(cp=4, tp=8, cp_comm="a2a+p2p")  # one head a rank: nothing to exchange
    assert args["--cp-comm-type"] == ("p2p",)
    assert "a2a+p2p" in lost


@pytest.mark.parametrize("schedule", ["gpipe", "zero-bubble", "dualpipe"])
def test_other_schedules_are_said(said: Callable[..., tuple[Args, str]], schedule: str) -> None:
    assert f"schedule {schedule}" in said(pp=2, schedule=schedule)[1]
    assert "schedule" not in said(pp=1, schedule=schedule)[1]


def test_recompute(said: Callable[..., tuple[Args, str]]) -> None:
    assert not [flag for flag in said(recompute="none")[0] if "recompute" in flag]
    args, lost = said(recompute="selective")
    assert args["--recompute-modules"] == ("core_attn",)
    assert lost == ""
    args, _ = said(recompute="full")
    assert args["--recompute-method"] == ("uniform",)
    args, lost = said(pp=2, vpp=2, schedule="interleaved", recompute={"full": 6})
    assert args["--recompute-method"] == ("block",)
    assert args["--recompute-num-layers"] == ("3",)  # counted in each chunk
    assert lost == ""
    assert (
        "recomputed layers" in said(pp=2, vpp=2, schedule="interleaved", recompute={"full": 5})[1]
    )
    args, lost = said("case", recompute={"selective": ["moe_act", "layernorm"]})
    assert args["--recompute-granularity"] == ("selective",)
    assert args["--recompute-modules"] == ("moe_act", "layernorm")
    assert lost == ""
    args, lost = said("case", recompute="per-operator")
    assert args["--recompute-modules"] == ("layernorm", "moe_act")  # no dense layer in this model
    assert "per-operator" in lost


def test_offload(said: Callable[..., tuple[Args, str]]) -> None:
    args, lost = said(offload=["optimizer", "activations", "parameters"])
    assert {"--optimizer-cpu-offload", "--use-precision-aware-optimizer"} <= set(args)
    assert "core_attn" in args["--offload-modules"]
    assert "parameters" in lost


def test_an_optimizer_on_the_host_is_a_distributed_one(
    said: Callable[..., tuple[Args, str]],
) -> None:
    """Megatron-Core makes no other there; over one rank of shards it is the same."""
    args, lost = said(devices=8, tp=8, zero=0, offload=["optimizer"])
    assert "--use-distributed-optimizer" in args
    assert lost == ""
    args, lost = said(devices=16, tp=8, zero=0, offload=["optimizer"])
    assert "--use-distributed-optimizer" in args
    assert "zero 0 with the optimizer on the host" in lost


WINDOWS = {"attention": {"window": 4096}, "layer_types": ["sliding_attention", "full_attention"]}


@pytest.mark.parametrize(
    ("model", "cp_comm", "written", "lost_something"),
    [
        (WINDOWS, "p2p", "all_gather", True),
        (WINDOWS, "a2a+p2p", "all_gather", True),
        (WINDOWS, "a2a", "a2a", False),
        (WINDOWS | {"layer_types": ["full_attention"]}, "p2p", "p2p", False),
        ({"attention_sinks": True}, "all-gather", "a2a", True),
        ({"attention_sinks": True}, "a2a", "a2a", False),
        ({"attention_sinks": True, "kv_heads": 1}, "p2p", "p2p", True),  # it is refused
    ],
)
def test_exchanges_that_the_attention_refuses(
    plans: dict[str, Plan], model: Plan, cp_comm: str, written: str, lost_something: bool
) -> None:
    plan = plans["dense"]
    plan["job"]["workload"]["model"] |= model
    plan["strategy"] |= {"tp": 1, "cp": 8, "cp_comm": cp_comm, "sp": False}
    view, header = read(plan), Header("x")
    args = {arg[0]: arg[1:] for arg in parallel_args(view, header)}
    assert args["--cp-comm-type"] == (written,)
    assert ("context exchange" in " ".join(header.lost)) is lost_something
