"""Layer patterns, and models that Megatron-Core has not."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.emit.megatron_model import layer_pattern, model_args, moe_args
from planner.emit.text import Header
from planner.emit.view import read

Plan = dict[str, Any]


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=60))
def test_a_pattern_evaluates_to_its_layers(flags: list[int]) -> None:
    pattern = layer_pattern(flags)
    assert set(pattern) <= set("[]()0123456789+*,")  # all that Megatron's parser lets through
    assert eval(pattern) == flags  # noqa: S307


def test_patterns_are_short() -> None:
    assert layer_pattern([1] * 60) == "[1]*60"
    assert layer_pattern([0] * 3 + [1] * 58) == "[0]*3+[1]*58"
    assert layer_pattern([1, 1, 1, 1, 1, 0] * 8) == "([1]*5+[0]*1)*8"


Said = tuple[dict[str, tuple[str, ...]], list[str]]


def said(plan: Plan) -> Said:
    header = Header("x")
    view = read(plan)
    args = [*model_args(view, header), *moe_args(view, header)]
    return {arg[0]: arg[1:] for arg in args}, header.lost


def model_of(plans: dict[str, Plan], which: str, **changes: object) -> Plan:
    plans[which]["job"]["workload"]["model"].update(changes)
    return plans[which]


def test_a_dense_model_with_grouped_queries(plans: dict[str, Plan]) -> None:
    args, lost = said(plans["dense"])
    assert args["--num-layers"] == ("80",)
    assert args["--ffn-hidden-size"] == ("28672",)
    assert args["--num-query-groups"] == ("8",)
    assert args["--kv-channels"] == ("128",)
    assert args["--normalization"] == ("RMSNorm",)
    for flag in ("--swiglu", "--untie-embeddings-and-output-weights", "--disable-bias-linear"):
        assert args[flag] == ()
    assert lost == []


def test_an_old_model(plans: dict[str, Plan]) -> None:
    args, lost = said(plans["plain"])
    assert args["--position-embedding-type"] == ("learned_absolute",)
    assert args["--normalization"] == ("LayerNorm",)
    assert args["--max-position-embeddings"] == ("2048",)
    absent = ("--swiglu", "--group-query-attention", "--untie-embeddings-and-output-weights")
    assert not set(absent) & set(args)
    assert "--disable-bias-linear" not in args
    assert lost == []


def test_multi_latent_attention_and_experts(plans: dict[str, Plan]) -> None:
    args, lost = said(plans["moe"])
    assert args["--q-lora-rank"] == ("1536",)
    assert args["--kv-lora-rank"] == ("512",)
    assert args["--qk-head-dim"] == ("128",)
    assert args["--qk-pos-emb-head-dim"] == ("64",)
    assert "--group-query-attention" not in args  # Megatron refuses it beside MLA
    assert args["--moe-layer-freq"] == ("[0]*3+[1]*58",)
    assert args["--moe-shared-expert-intermediate-size"] == ("2048",)
    assert args["--moe-router-group-topk"] == ("4",)
    assert args["--moe-router-dtype"] == ("fp32",)
    assert args["--mtp-num-layers"] == ("1",)
    assert lost == []


def test_sliding_windows(plans: dict[str, Plan]) -> None:
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    plan = model_of(plans, "dense", attention={"window": 1024}, layer_types=kinds)
    args, _ = said(plan)
    assert args["--window-size"] == ("(1023,0)",)
    assert args["--window-attn-skip-freq"] == ("[1]*5+[0]*1+" * 13 + "[1]*2",)


def test_balanced_routing_is_forced_only_where_the_job_says_so(plans: dict[str, Plan]) -> None:
    assert "--moe-router-force-load-balancing" not in said(plans["case"])[0]
    plans["case"]["job"]["workload"]["model"]["moe"]["imbalance"] = 1.0
    args, _ = said(plans["case"])
    assert args["--moe-router-force-load-balancing"] == ()
    assert "--moe-aux-loss-coeff" not in args


@pytest.mark.parametrize(("fused", "ep"), [(True, 8), (False, 8), (True, 1)])
def test_tokens_are_exchanged_by_kernels_that_order_them_or_by_the_library(
    plans: dict[str, Plan], fused: bool, ep: int
) -> None:
    plan = plans["case"]
    plan["job"].setdefault("software", {})["fused_dispatch"] = fused
    plan["strategy"] |= {"ep": ep, "etp": 1}
    args, _ = said(plan)
    if fused and ep > 1:
        assert args["--moe-token-dispatcher-type"] == ("flex",)
        assert args["--moe-flex-dispatcher-backend"] == ("hybridep",)
        assert args["--moe-router-dtype"] == ("fp32",)
    else:
        assert args["--moe-token-dispatcher-type"] == ("alltoall",)
        assert "--moe-flex-dispatcher-backend" not in args


def test_experts_with_a_capacity(plans: dict[str, Plan]) -> None:
    moe = plans["case"]["job"]["workload"]["model"]["moe"]
    moe.update(dropless=False, capacity_factor=1.25, top_k=1)
    args, _ = said(plans["case"])
    assert args["--moe-expert-capacity-factor"] == ("1.25",)
    assert args["--moe-router-pre-softmax"] == ()  # Megatron demands it for one expert a token


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"position": "alibi"}, "ALiBi"),
        ({"post_norms": True}, "norms behind"),
        ({"embedding_norm": True}, "behind the embedding"),
        ({"norm_weight": False}, "without a weight"),
        ({"head_bias": True}, "bias on the output head"),
        ({"layer_types": ["linear_attention"]}, "linear attention"),
        ({"attention": {"causal": False}}, "not causal"),
    ],
)
def test_what_megatron_has_not_is_said(plans: dict[str, Plan], changes: Plan, what: str) -> None:
    _, lost = said(model_of(plans, "dense", **changes))
    assert [line for line in lost if what in line and "Nearest:" in line]


def test_a_gqa_model_keeps_its_name_out_of_the_arguments(
    plans: dict[str, Plan], spoil: Callable[[Plan, str], Plan]
) -> None:
    assert said(spoil(plans["dense"], "$(x)"))[0] == said(plans["dense"])[0]


def test_a_vision_tower_is_said_to_be_left_out(plans: dict[str, Plan]) -> None:
    tower = {"layers": 4, "hidden": 64, "ffn_hidden": 256, "heads": 4, "tokens": 256}
    _, lost = said(model_of(plans, "dense", vision=tower))
    assert any("a vision tower" in line for line in lost)
