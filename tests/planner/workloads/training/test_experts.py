"""What stands around the experts' products: passes over rows, casts, loops over experts."""

from typing import Any

import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.workloads.training.layer import block_time

MOE: dict[str, Any] = {**GPT, "gated_mlp": True, "moe": {"experts": 16, "top_k": 2,
                       "ffn_hidden": 1024, "imbalance": 1.0}}  # fmt: skip
TOKENS, HIDDEN, WIDTH, TOP = 2048, 2048, 1024, 2


def passes(model=MOE, ep=4, **more: Any):
    """Forward and backward seconds by category of a mixture's layer."""
    context = context_of(job_of(model=model, devices=32, batch=128, **more))
    block = next(block for block in context.graph.blocks if block.layers)
    time = block_time(context, block, row(context, ep=ep))
    rate = context.rates.memory_bytes_per_s
    return (
        [{c: taken(v) for c, v in one.exposed.items()} for one in (time.forward, time.backward)],
        rate,
    )


@pytest.mark.parametrize(("ep", "sorted_twice"), [(1, 0), (2, 1), (16, 0)])
def test_rows_are_sorted_where_a_rank_of_several_holds_several_experts(ep, sorted_twice):
    """2 k h elements read and written on the way to experts and back, in either direction."""
    one, rate = passes(ep=ep)
    few, _ = passes(ep=1)
    moved = sorted_twice * 2 * 2 * TOP * HIDDEN * TOKENS * 2.0
    for a, b in zip(one, few, strict=True):
        assert a["memory"] - b["memory"] == pytest.approx(moved / rate, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("ep", [1, 4])
def test_in_low_precision_rows_are_padded_by_copies_unless_something_else_pads(ep):
    """2 k h elements on the way to experts and as many back, in either direction."""
    (low, rate), (wide, _) = passes(ep=ep, precision="fp8"), passes(ep=ep)
    moved = 2 * 2 * TOP * HIDDEN * TOKENS * 2.0
    for one, other in zip(low, wide, strict=True):
        assert one["memory"] - other["memory"] == pytest.approx(moved / rate, rel=1e-9)
    unpadded, _ = passes(ep=ep, precision="fp8", preset="fsdp-eager")
    unpadded_wide, _ = passes(ep=ep, preset="fsdp-eager")
    assert [p["memory"] for p in unpadded] == [p["memory"] for p in unpadded_wide]
    joined, _ = passes(ep=ep, precision="fp8", software={"fused_experts": True})
    joined_wide, _ = passes(ep=ep, software={"fused_experts": True})
    assert [p["memory"] for p in joined] == [p["memory"] for p in joined_wide]


def test_kernels_that_exchange_tokens_order_and_pad_them_and_send_once_a_rank():
    """Of two copies over four ranks 1 - (3/4)^2 of four are distinct: 7/8 of the bytes cross."""
    for precision, passed in (("bf16", 1), ("fp8", 2)):
        plain, rate = passes(precision=precision)
        fused, _ = passes(precision=precision, software={"fused_dispatch": True})
        moved = passed * 2 * 2 * TOP * HIDDEN * TOKENS * 2.0
        for one, other in zip(plain, fused, strict=True):
            assert one["memory"] - other["memory"] == pytest.approx(moved / rate, rel=1e-9)
            assert 7 / 8 < other["ep"] / one["ep"] < 0.95  # the start is not less
    alone, _ = passes(ep=1, precision="fp8", software={"fused_dispatch": True})
    assert alone == passes(ep=1, precision="fp8")[0]


def test_a_clamp_and_a_bias_of_experts_cost_passes_unless_something_joins_them():
    plain, rate = passes()
    clamped, _ = passes({**MOE, "mlp_clamp": True})
    biased, _ = passes({**MOE, "mlp_bias": True})
    joined, _ = passes(software={"fused_experts": True})
    activation = 3 * TOP * WIDTH * TOKENS * 2.0
    # gate, up and the gradient read once more to sum up the gradients of the router's weights
    for phase, share in ((0, 1.0), (1, 1.6 + 1.0)):
        more = plain[phase]["memory"] - joined[phase]["memory"]
        assert more == pytest.approx(share * activation / rate, rel=1e-9)
    for phase, share in ((0, 1.0), (1, 1.6)):
        base = plain[phase]["memory"]
        clamp, bias = 8 * TOP * WIDTH, 14 * TOP * HIDDEN
        for made, elements in ((clamped, clamp), (biased, bias)):
            more = made[phase]["memory"] - base
            assert more == pytest.approx(share * elements * TOKENS * 2.0 / rate, rel=1e-9)
    both = {**MOE, "mlp_clamp": True, "mlp_bias": True}
    for software in ({"compile": True}, {"fused_experts": True}):
        with_, without = (passes(m, software=software)[0] for m in (both, MOE))
        for a, b in zip(with_, without, strict=True):
            assert (a["memory"], a["launch"]) == pytest.approx((b["memory"], b["launch"]))


def test_a_bias_of_experts_is_launched_expert_by_expert():
    """Two kernels forward and six backward for each of four experts, at 0.15 of a launch each."""
    biased, _ = passes({**MOE, "mlp_bias": True}, sequence=16)
    plain, _ = passes(sequence=16)
    launch_s = context_of(job_of()).stack.family.launch_s.value
    for one, other, kernels in zip(biased, plain, (2, 6), strict=True):
        more = sum(one.values()) - sum(other.values())
        assert more == pytest.approx(0.15 * kernels * 4 * launch_s, rel=0.1)


def test_low_precision_casts_rows_on_the_way_to_the_experts():
    """Forward k (h + f) elements, of gradients k (2 f + h): what is given to each product."""
    (forward, backward), rate = passes(precision="fp8")
    joined, _ = passes(precision="fp8", software={"fused_experts": True})
    context = context_of(job_of(model=MOE, devices=32, batch=128, precision="fp8"))
    each = context.rates.grouped.cast_bytes * TOP * TOKENS / rate
    for one, other, width in (
        (forward, joined[0], HIDDEN + WIDTH), (backward, joined[1], 2 * WIDTH + HIDDEN),
    ):  # fmt: skip
        assert one["experts"] - other["experts"] == pytest.approx(each * width, rel=1e-9)
    wide, _ = passes()
    joined_wide, _ = passes(software={"fused_experts": True})
    assert wide[0]["experts"] == joined_wide[0]["experts"]


def test_fewer_experts_on_a_rank_are_fewer_launches():
    gaps = [passes(ep=ep, precision="fp8", sequence=256)[0][0]["launch"] for ep in (2, 4, 8)]
    assert gaps == sorted(set(gaps), reverse=True)


def test_a_graph_of_the_step_leaves_the_host_nothing_to_launch():
    short, _ = passes(sequence=256)
    graph, _ = passes(sequence=256, software={"cuda_graphs": True})
    for one, other in zip(short, graph, strict=True):
        assert one["launch"] > 0.0 == other["launch"]
        assert other["memory"] == one["memory"] and other["experts"] == one["experts"]
