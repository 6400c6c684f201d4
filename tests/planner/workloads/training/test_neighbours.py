"""Plans next to a good one: all can be built, one thing changed, pinned keys left alone."""

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.dims import ParallelDims
from planner.workloads import training

VARIED = {"vpp", "zero_group", "micro_batch", "microbatches", "lean"}


def near(job, **strategy):
    context = context_of(job)
    start = row(context, **strategy)
    return context, start, training.neighbours(job, context, start)


START = {"tp": 2, "pp": 2, "vpp": 2, "schedule": "interleaved", "zero": 1, "micro_batch": 2}


def test_a_neighbour_differs_in_one_choice():
    _, start, found = near(job_of(devices=16, batch=96), **START)
    assert len(found)
    for i in range(len(found)):
        changed = {
            name for name in ParallelDims.names()
            if taken(getattr(found, name)[i]) != taken(getattr(start, name))
        }  # fmt: skip
        assert changed <= VARIED
        assert changed in ({"vpp"}, {"zero_group"}, {"micro_batch", "microbatches"}, {"lean"})


@pytest.mark.parametrize("batch", [96, 80])
def test_neighbours_can_be_built_and_priced(batch):
    """Of a replica's 20 sequences of 80, micro-batches of 3 would leave some over."""
    job = job_of(devices=16, batch=batch)
    context, _, found = near(job, **START)
    assert (found.dp * found.micro_batch * found.microbatches == batch).all()
    assert (found.microbatches % found.pp == 0).all()
    assert (found.dp * found.cp % found.zero_group == 0).all()
    assert (found.pp * found.vpp <= 8).all()
    price = training.cost(context, found)
    assert np.isfinite(np.asarray(price.total_s)).all()


@pytest.mark.parametrize("key", ["vpp", "zero_group", "micro_batch"])
def test_a_pinned_key_is_left_alone(key):
    context = context_of(job_of(devices=16, batch=96))
    value = int(taken(getattr(row(context, **START), key)))
    schedule = {"schedule": "interleaved"} if key == "vpp" else {}
    _, start, found = near(job_of(devices=16, batch=96, strategy={key: value, **schedule}), **START)
    assert (getattr(found, key) == taken(getattr(start, key))).all()


def test_a_pinned_layout_keeps_its_stages():
    job = job_of(devices=16, batch=96,
                 strategy={"pp": 2, "layers_per_stage": [2, 2, 2, 2], "vpp": 2,
                           "schedule": "interleaved"})  # fmt: skip
    _, _, found = near(job, **START)
    assert (found.vpp == 2).all()
    assert (found.lean == 0).all()


def test_every_chunk_keeps_a_layer():
    _, _, found = near(job_of(devices=16, batch=96), **START)
    assert (8 // (found.pp * found.vpp) - found.lean >= 1).all()


def test_groups_that_share_states_hold_whole_copies_of_the_experts():
    """Over 16 ranks with ep 4, a group of 2 would have half of an expert's ranks."""
    moe = {"experts": 8, "top_k": 2, "ffn_hidden": 1024}
    for ep, groups in ((1, {2.0, 4.0, 8.0}), (4, {4.0, 8.0}), (8, {8.0})):
        job = job_of(model={**GPT, "moe": moe}, devices=16, batch=64)
        context = context_of(job)
        found = training.regrouped(job, context, row(context, zero=1, ep=ep))
        assert set(found.zero_group.tolist()) == groups
