"""Sharding by units: launches, gradients moved and buffers, counted by hand for a small GPT."""

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.workloads import training
from planner.workloads.training.units import by_units, copied_bytes, unit_bytes, unit_launches

MIXTURE = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}
H, VOCAB, S = 2048, 51200, 2048


def launches(context, dims, phase, block=0):
    return taken(unit_launches(context, context.layer_blocks[block], dims, phase) + 0.0 * dims.tp)


def test_units_are_of_zero_2_and_3_without_a_pipeline_where_the_stack_has_them():
    context = context_of(job_of(devices=8))
    assert [bool(by_units(context, row(context, zero=z))[0]) for z in range(4)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert not by_units(context, row(context, zero=3, pp=2)).any()
    other = context_of(job_of(devices=8, preset="fsdp-compile"))
    assert not by_units(other, row(other, zero=3)).any()


def test_a_dense_layer_launches_gathers_a_reduction_and_copies():
    """Two norms and four products hold weights: six gradients to copy."""
    context = context_of(job_of(devices=8))
    for zero, forward, backward in ((1, 0, 0), (2, 0, 1 + 6), (3, 1, 1 + 1 + 6)):
        dims = row(context, zero=zero)
        assert launches(context, dims, "forward") == forward
        assert launches(context, dims, "backward") == backward
    embedding = next(b for b in context.graph.blocks if b.name == "embedding")
    assert unit_launches(context, embedding, row(context, zero=3), "backward") == 0.0


def test_experts_have_exchanges_and_tensors_of_their_own():
    """Norms, attention's two products and the router hold dense weights; each expert two more."""
    context = context_of(job_of(model=MIXTURE, devices=8))
    for ep in (1, 8):
        dims = row(context, zero=3, ep=ep)
        held = 16 / ep
        assert launches(context, dims, "forward") == 2
        assert launches(context, dims, "backward") == 2 + 2 + 5 + 2 * held


def test_frozen_weights_are_gathered_and_copy_no_gradient():
    context = context_of(job_of(devices=8, workload={"task": "lora"}))
    ops = context.layer_blocks[0].phase("forward")
    trained = sum(1 for op in ops if op.weights and op.trainable)
    assert 0 < trained < sum(1 for op in ops if op.weights)
    assert launches(context, row(context, zero=3), "backward") == 1 + 1 + trained


def test_every_microbatch_copies_its_gradients():
    """Even the only one; below zero 2 a step's first adds to nothing, and products add the rest."""
    context = context_of(job_of(devices=8, batch=8))
    assert copied_bytes(context) == 2 + 2

    def accumulation(**given):
        terms = training.times_of(context, row(context, **given)).terms
        return next(taken(t.time_s) for t in terms if t.name == "gradient accumulation")

    weights = context.graph.weights()
    once_s = 4 * weights / context.rates.memory_bytes_per_s
    assert accumulation(zero=1) == 0.0
    assert accumulation(zero=2) == accumulation(zero=3) == pytest.approx(once_s, rel=1e-9)


@pytest.mark.parametrize(("zero", "weights"), [(2, 0.0), (3, 1.0)])
def test_two_layers_and_their_gradients_stand_whole_beside_the_tables(zero, weights):
    context = context_of(job_of(devices=8, batch=8))
    dims = row(context, zero=zero)
    layer = sum(op.weights for op in context.layer_blocks[0].phase("forward"))
    tables = 2 * VOCAB * H + S * H + H  # embedding, positions, head and its norm
    wanted = 2 * max(2 * layer, tables) + weights * 2 * (2 * layer + tables)
    held = {m.name: taken(m.bytes) for m in training.memory_of(context, dims).memory}
    assert held["gathered layers"] == pytest.approx(wanted, rel=1e-3)
    few = unit_bytes(context, dims, np.array([1e9]), np.array([1.0]))
    assert taken(few) == 2 * 2e9 + weights * 2 * (2e9 + 1)


def test_sharding_further_is_never_faster_and_never_holds_more():
    """On one mesh, whose memory no plan is short of."""
    context = context_of(job_of(devices=16, batch=64))
    plans = [training.cost(context, row(context, zero=z)) for z in (1, 2, 3)]
    seconds = [taken(p.total_s) for p in plans]
    assert seconds == sorted(seconds)
    states = [sum(taken(m.bytes) for m in p.memory if m.kind == "states") for p in plans]
    assert states == sorted(states, reverse=True)
