"""Time of one block: hand arithmetic on one product, recomputed shares, laws of overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import GPT, context_of, job_of, row, taken

from planner.dims import RECOMPUTE
from planner.workloads.training.layer import block_time
from planner.workloads.training.passes import CATEGORIES, RECOMPUTED, combine, recomputed

COMPUTE = ("matmul", "experts", "attention", "memory")
MOE = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}


def dense(context):
    return next(block for block in context.graph.blocks if block.layers)


def total(one):
    return taken(one.total_s)


def test_products_of_a_layer_by_hand():
    """Four products, each: fixed + (arithmetic^4 + traffic^4)^(1/4), whole tiles, a wave's tail."""
    context = context_of(job_of(batch=8))
    rates, p = context.rates, context.rates.matmul
    seconds = 0.0
    for inner, outer in ((2048, 6144), (2048, 2048), (2048, 8192), (8192, 2048)):
        tiles = -(-2048 // p.tile_m) * -(-outer // p.tile_n)
        idle = (p.units - 1) * p.tail * (min(inner, p.split) + p.fill)
        steps = tiles * (inner + p.fill) + idle
        arithmetic = 2 * p.tile_m * p.tile_n * steps / p.flop_per_s
        moved = 2 * (2048 * inner + inner * outer + 2048 * outer) / rates.memory_bytes_per_s
        seconds += p.fixed_s + (arithmetic**4 + moved**4) ** 0.25
    time = block_time(context, dense(context), row(context))
    assert taken(time.forward.exposed["matmul"]) == pytest.approx(seconds, rel=1e-9)


def test_backward_of_large_products_takes_twice_the_forward():
    model = {**GPT, "hidden": 8192, "ffn_hidden": 32768, "heads": 64, "kv_heads": 64}
    context = context_of(job_of(model=model, sequence=8192, batch=8))
    time = block_time(context, dense(context), row(context))
    forward, backward = (taken(p.exposed["matmul"]) for p in (time.forward, time.backward))
    assert backward == pytest.approx(2 * forward, rel=0.02)
    # of it, half computes gradients of weights
    assert taken(time.weight_s) == pytest.approx(forward, rel=0.02)


@pytest.mark.parametrize("mode", list(RECOMPUTED))
def test_recomputation_runs_its_share_of_the_forward_again(mode):
    context = context_of(job_of(devices=16, batch=64))
    time = block_time(context, dense(context), row(context, tp=2))
    made = recomputed(time, RECOMPUTE.index(mode))
    for category in CATEGORIES:
        again, forward = (taken(p.exposed[category]) for p in (made, time.forward))
        assert again == pytest.approx(RECOMPUTED[mode].get(category, 0.0) * forward, rel=1e-12)
    assert taken(made.total_s) <= taken(time.forward.total_s)


def test_recompute_modes_are_ordered_by_time():
    context = context_of(job_of(devices=16, batch=64))
    time = block_time(context, dense(context), row(context))
    seconds = {mode: total(recomputed(time, RECOMPUTE.index(mode))) for mode in RECOMPUTED}
    assert seconds["none"] == 0.0
    assert max(seconds, key=seconds.__getitem__) == "full"


@given(
    st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2]), st.sampled_from([1, 2, 4]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_communication_is_exposed_or_hidden_and_never_lost(tp, cp, micro_batch, moe, overlap):
    switches = {"overlap_tp": overlap, "overlap_ep": overlap, "overlap_cp": overlap}
    model = MOE if moe else GPT
    context = context_of(job_of(model=model, devices=32, batch=128, software=switches))
    quiet = context_of(
        job_of(model=model, devices=32, batch=128, software=dict.fromkeys(switches, False))
    )
    dims = row(context, tp=tp, cp=cp, micro_batch=micro_batch, ep=2 if moe else 1)
    block = dense(context)
    for phase in ("forward", "backward"):
        one = getattr(block_time(context, block, dims), phase)
        alone = getattr(block_time(quiet, block, dims), phase)
        for axis in ("tp", "cp", "ep"):
            both = taken(one.exposed[axis]) + taken(one.hidden[axis])
            assert both == pytest.approx(taken(alone.exposed[axis]), rel=1e-12)
        assert all(taken(one.exposed[c]) == taken(alone.exposed[c]) for c in COMPUTE)
        # compute, then at most everything one after the other
        busy = sum(taken(one.exposed[c]) for c in COMPUTE)
        assert busy <= total(one) <= total(alone) * (1 + 1e-12)


@given(st.sampled_from([1e8, 1e9, 1e10, 1e11]), st.sampled_from([2, 4]), st.sampled_from([2, 4]))
def test_compute_hides_at_most_itself(bytes_per_s, tp, cp):
    """What one second of compute hides, it hides once, whatever the number of exchanges."""
    switches = {"overlap_tp": True, "overlap_ep": True, "overlap_cp": True}
    slow = {"set": {"intra_node_bytes_per_s": bytes_per_s, "inter_node_bytes_per_s": bytes_per_s}}
    context = context_of(job_of(model=MOE, devices=32, batch=128, software=switches, hardware=slow))
    time = block_time(context, dense(context), row(context, tp=tp, cp=cp, ep=4))
    for one in (time.forward, time.backward):
        busy = sum(taken(one.exposed[c]) for c in COMPUTE)
        hidden = sum(taken(one.hidden[axis]) for axis in ("tp", "cp", "ep"))
        assert 0 < hidden <= busy * (1 + 1e-12)
        assert taken(one.spare_s) >= taken(one.exposed["launch"]) - 1e-12 * busy


def test_a_bigger_micro_batch_is_never_slower_to_the_token():
    context = context_of(job_of(devices=8, batch=256))
    block = dense(context)
    each = []
    for micro_batch in (1, 2, 4, 8):
        time = block_time(context, block, row(context, micro_batch=micro_batch))
        each.append((total(time.forward) + total(time.backward)) / micro_batch)
    assert each == sorted(each, reverse=True)


def test_without_fused_attention_the_scores_cost_time():
    fused = context_of(job_of())
    unfused = context_of(job_of(software={"flash_attention": False}))
    slow, fast = (
        taken(block_time(c, dense(c), row(c)).forward.exposed["attention"])
        for c in (unfused, fused)
    )
    scores = 4.0 * GPT["heads"] * 2048 * 2048 * 2 / fused.rates.memory_bytes_per_s
    assert slow > scores > fast


def test_the_host_adds_time_where_kernels_are_short():
    """The gap is what launching takes beyond the device's time, joined smoothly."""
    small = context_of(job_of(model={**GPT, "hidden": 512, "ffn_hidden": 2048, "heads": 8,
                                     "kv_heads": 8}, sequence=512))  # fmt: skip
    large = context_of(job_of(model={**GPT, "hidden": 8192, "ffn_hidden": 32768}, sequence=8192))

    def share(context):
        one = block_time(context, dense(context), row(context)).forward
        return taken(one.exposed["launch"]) / total(one)

    assert share(small) > 0.5
    assert share(large) < 0.01


def test_combine_adds_category_by_category():
    context = context_of(job_of(devices=16, batch=64))
    time = block_time(context, dense(context), row(context, tp=2))
    both = combine([time.forward, time.backward.scaled(3.0)])
    for category in CATEGORIES:
        wanted = time.forward.exposed[category] + 3.0 * time.backward.exposed[category]
        assert np.allclose(both.exposed[category], wanted, rtol=1e-14)


@pytest.mark.parametrize("tp", [1, 2])
def test_packed_frozen_weights_are_unpacked_for_every_product(tp):
    """4-bit floats take 0.52 bytes with their scales: read, and written in the product's two."""
    lora = {"task": "lora", "lora": {"rank": 8}}
    plain, packed = (
        context_of(job_of(batch=8, workload=lora | {"lora": {"rank": 8, "base_precision": base}}))
        for base in ("bf16", "nf4")
    )
    dims = row(plain, tp=tp)
    weights = (2048 * 6144 + 2048 * 2048 + 2 * 2048 * 8192) / tp
    seconds = weights * (0.52 + 2.0) / plain.rates.memory_bytes_per_s
    for phase in ("forward", "backward"):
        before, after = (
            taken(getattr(block_time(c, dense(c), dims), phase).exposed["matmul"])
            for c in (plain, packed)
        )
        assert after - before == pytest.approx(seconds, rel=1e-9)


def test_packed_experts_are_unpacked_once_each():
    context = context_of(
        job_of(model=MOE, batch=8, workload={"task": "lora", "lora": {"base_precision": "nf4"}})
    )
    plain = context_of(job_of(model=MOE, batch=8, workload={"task": "lora"}))
    dims = row(plain, ep=2)
    block = next(b for b in plain.graph.blocks if any(op.kind == "grouped" for op in b.ops))
    other = next(b for b in context.graph.blocks if any(op.kind == "grouped" for op in b.ops))
    before, after = (
        taken(block_time(c, b, dims).forward.exposed["experts"])
        for c, b in ((plain, block), (context, other))
    )
    weights = 16 / 2 * (2 if GPT["gated_mlp"] is False else 3) * 2048 * 1024
    assert after - before == pytest.approx(weights * 2.52 / plain.rates.memory_bytes_per_s)
