"""Layouts of layers on stages, and the slots that fold them, against plain dealing of layers."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import context_of, job_of, row

from planner.workloads.training.stages import (
    even_layout,
    every_stage,
    last_layout,
    lean_layout,
    short_layout,
    slots_of,
)
from planner.workloads.training.staging import Staging


def dealt(kinds, pp, vpp, layout):
    """Layers of every stage by kind, dealt chunk by chunk."""
    stages = [Counter() for _ in range(pp)]
    start = 0
    for chunk, size in enumerate(layout):
        stages[chunk % pp].update(kinds[start : start + size])
        start += size
    return stages


@given(st.integers(1, 130), st.integers(1, 40))
def test_a_last_layout_is_even_with_what_is_over_at_the_end(layers, chunks):
    layout = last_layout(layers, chunks)
    assert sum(layout) == layers
    assert list(layout) == sorted(layout)
    assert layout[-1] - layout[0] <= 1
    assert sorted(layout) == sorted(even_layout(layers, chunks))


@given(st.integers(1, 130), st.integers(1, 40))
def test_an_even_layout_holds_all_layers_as_evenly_as_can_be(layers, chunks):
    layout = even_layout(layers, chunks)
    assert len(layout) == chunks
    assert sum(layout) == layers
    assert max(layout) - min(layout) <= 1


@given(st.integers(2, 20), st.integers(1, 19))
def test_the_head_s_chunk_is_the_last_to_get_one_more(chunks, extra):
    extra = min(extra, chunks - 1)
    layout = even_layout(3 * chunks + extra, chunks)
    if extra < chunks - 1:
        assert layout[-1] == 3
    assert sum(size == 4 for size in layout) == extra


CONTEXT = context_of(job_of(devices=64, batch=64))


@given(st.sampled_from([(1, 1), (2, 1), (4, 2), (8, 1), (4, 3), (16, 1)]), st.data())
def test_slots_are_the_stages_folded(shape, data):
    pp, vpp = shape
    kinds = data.draw(st.lists(st.integers(0, 1), min_size=pp * vpp, max_size=40))
    kinds[0] = 1  # two kinds always: the width of the table is fixed by the largest
    dims = row(CONTEXT, pp=pp, vpp=vpp, dp=64 / pp)
    pinned = None
    if data.draw(st.booleans()):
        cuts = sorted(data.draw(st.permutations(range(1, len(kinds))))[: pp * vpp - 1])
        pinned = tuple(np.diff([0, *cuts, len(kinds)]).tolist())
    stagings = (Staging(pinned),) if pinned else ()
    slots = slots_of(kinds, dataclasses.replace(dims, staging=np.array([len(stagings)])), stagings)
    layout = pinned or even_layout(len(kinds), pp * vpp)
    wanted = dealt(kinds, pp, vpp, layout)
    each = every_stage(kinds, dims, Staging(layout))
    alike = Counter()
    for stage in range(pp):
        held = {k: each.counts[k, stage, 0] for k in range(len(each.counts))}
        assert held == {k: wanted[stage][k] for k in held}
        ends = (float(stage == 0), float(stage == pp - 1))
        assert (each.first[stage, 0], each.last[stage, 0]) == ends
        assert each.position[stage, 0] == stage
        alike[(*held.values(), *ends)] += 1
    slot_alike = {
        (*slots.counts[:, i, 0], slots.first[i, 0], slots.last[i, 0]): int(many)
        for i, many in enumerate(slots.multiplicity[:, 0])
        if many > 0
    }
    assert slot_alike == dict(alike)


@pytest.mark.parametrize(
    ("chunks", "layout"),
    [
        (4, (16, 16, 16, 13)),
        (8, (*(8,) * 7, 5)),
        (16, (*(4,) * 15, 1)),
        (32, (1, *(2,) * 30, 0)),
    ],
)
def test_61_layers_are_dealt_as_megatron_bridge_lays_out_deepseek_v3(chunks, layout):
    """Its `recipes/deepseek/deepseek_v3.py`, and `Et|(tt|)*30mL` of its H100 recipe."""
    assert short_layout(61, chunks, virtual=True) == layout


@given(st.integers(1, 130), st.integers(1, 40), st.booleans())
def test_a_short_layout_holds_all_layers_and_none_is_empty_but_virtual_ends(
    layers, chunks, virtual
):
    chunks = min(chunks, layers)
    layout = short_layout(layers, chunks, virtual)
    assert (len(layout), sum(layout)) == (chunks, layers)
    assert max(layout) == -(-layers // chunks)
    assert all(layout[:-1]) or (virtual and all(layout[1:-1]))
    assert virtual or layout[-1] > 0


@given(st.integers(2, 16), st.integers(2, 8), st.integers(0, 4))
def test_a_lean_last_chunk_gives_its_layers_to_the_others(chunks, each, lean):
    lean = min(lean, each - 1)
    layout = lean_layout(chunks * each, chunks, lean)
    assert sum(layout) == chunks * each
    assert layout[-1] == each - lean
    assert max(layout[:-1]) - min(layout[:-1]) <= 1


def test_126_layers_on_16_stages_are_priced_not_refused():
    """Llama 3.1 405B (Grattafiori et al. 2024): its first and last stages hold one layer fewer."""
    layout = even_layout(126, 16)
    assert sum(layout) == 126
    assert layout[0] == layout[-1] == 7
    assert set(layout[1:-1]) == {8}


@pytest.mark.parametrize("rows_", [((2, 1), (4, 2), (8, 1))])
def test_columns_are_the_rows_side_by_side(rows_):
    kinds = [0, 0, 1, 1, 1, 0, 1, 1, 0]
    alone = [slots_of(kinds, row(CONTEXT, pp=p, vpp=v, dp=64 / p)) for p, v in rows_]
    columns = {
        name: np.concatenate(
            [getattr(row(CONTEXT, pp=p, vpp=v, dp=64 / p), name) for p, v in rows_]
        )
        for name in type(row(CONTEXT)).names()
    }
    together = slots_of(kinds, type(row(CONTEXT))(**columns))
    for index, one in enumerate(alone):
        deep = one.multiplicity.shape[0]
        assert (together.multiplicity[:deep, index] == one.multiplicity[:, 0]).all()
        assert (together.multiplicity[deep:, index] == 0).all()
        assert (together.counts[:, :deep, index] == one.counts[:, :, 0]).all()
