"""Attention whose scores go through memory: what a fused softmax takes of them."""

import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.workloads.training.layer import block_time
from planner.workloads.training.scores import PASSES, softmax_is_fused, softmax_launches

UNFUSED = {"flash_attention": False}


def attention(context, phase):
    block = next(block for block in context.graph.blocks if block.layers)
    return next(op for op in block.phase(phase) if op.kind == "attention")


@pytest.mark.parametrize(
    ("tp", "micro_batch", "sequence", "fused"),
    [(8, 1, 1024, False), (8, 2, 1024, True), (4, 1, 1024, True), (4, 1, 8192, False)],
)
def test_megatron_takes_matrices_of_scores_by_fours(tp, micro_batch, sequence, fused):
    """16 heads over 8 ranks are 2 matrices for each sequence: two sequences make four."""
    assert GPT["heads"] == 16
    context = context_of(job_of(devices=8, batch=16, sequence=sequence, software=UNFUSED))
    dims = row(context, tp=tp, micro_batch=micro_batch)
    for phase, more in (("forward", 4.0), ("backward", 5.0)):
        op = attention(context, phase)
        assert bool(taken(softmax_is_fused(context, op, dims))) is fused
        assert taken(softmax_launches(context, op, dims)) == (0.0 if fused else more)


def test_a_compiler_fuses_softmax_whatever_the_shape():
    software = {**UNFUSED, "preset": "fsdp-compile"}
    context = context_of(job_of(devices=8, batch=16, sequence=8192, software=software))
    dims = row(context, tp=8)
    assert taken(softmax_is_fused(context, attention(context, "forward"), dims))


def test_softmax_in_parts_moves_more_and_launches_more():
    """Two matrices of 1024 x 1024 scores in parts: 37 bytes a score, for 3 by a causal kernel."""
    apart, fused = (
        context_of(job_of(devices=8, batch=16, sequence=1024, software={**UNFUSED, **more}))
        for more in ({}, {"compile": True})
    )
    dims = row(apart, tp=8)
    block = next(block for block in apart.graph.blocks if block.layers)
    slow, fast = (block_time(c, block, dims).forward.exposed["attention"] for c in (apart, fused))
    moved = 2 * 1024 * 1024 * (37 - 3) / apart.rates.memory_bytes_per_s
    more = PASSES["forward"].more * apart.rates.memory_fixed_s
    assert taken(slow) - taken(fast) == pytest.approx(moved + more, rel=1e-6)
