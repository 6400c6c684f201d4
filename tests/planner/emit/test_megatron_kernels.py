"""Number formats and kernels as Megatron's arguments."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.emit.megatron_kernels import kernel_args, precision_args
from planner.emit.text import Header
from planner.emit.view import read

Plan = dict[str, Any]
Args = dict[str, tuple[str, ...]]


@pytest.fixture
def said(plans: dict[str, Plan], planned: Callable[..., Plan]) -> Callable[..., tuple[Args, str]]:
    """Arguments, and what is said to be lost, for a job of one of the models."""

    def run(which: str = "dense", **work: Any) -> tuple[Args, str]:
        model = plans[which]["job"]["workload"]["model"]
        plan = planned("x", model, {}, devices=64, **work)
        plan["job"]["hardware"]["system"] = "dgx-b200"  # has units for every format
        view, header = read(plan), Header("x")
        args = [*precision_args(view, header), *kernel_args(view, header)]
        assert len({arg[0] for arg in args}) == len(args), "a flag twice"
        return {arg[0]: arg[1:] for arg in args}, " ".join(header.lost)

    return run


@pytest.mark.parametrize(
    ("precision", "flags", "lost_something"),
    [
        ("fp32", set(), False),
        ("fp16", {"--fp16"}, False),
        ("bf16", {"--bf16"}, False),
        ("fp8", {"--bf16", "--fp8-format", "--fp8-recipe"}, False),
        ("mxfp8", {"--bf16", "--fp8-format", "--fp8-recipe"}, False),
        ("nvfp4", {"--bf16", "--fp4-format", "--fp4-recipe"}, False),
        ("mxfp4", {"--bf16", "--fp4-format", "--fp4-recipe"}, True),
        ("int8", {"--bf16"}, True),
    ],
)
def test_precision(
    said: Callable[..., tuple[Args, str]], precision: str, flags: set[str], lost_something: bool
) -> None:
    args, lost = said(precision=precision)
    assert {flag for flag in args if flag.startswith(("--fp", "--bf"))} == flags
    assert (f"precision {precision}" in lost) is lost_something


def test_a_dense_step_is_replayed_from_a_graph_and_a_mixture_s_is_said(
    said: Callable[..., tuple[Args, str]],
) -> None:
    graphs = {"preset": "megatron-core", "cuda_graphs": True}
    args, lost = said(software=graphs)
    assert args["--cuda-graph-impl"] == ("full_iteration",)
    assert "--no-check-for-nan-in-loss-and-grad" in args  # Megatron refuses one without the other
    assert lost == ""
    args, lost = said("moe", software=graphs)
    assert "--cuda-graph-impl" not in args
    assert "CUDA graph" in lost
