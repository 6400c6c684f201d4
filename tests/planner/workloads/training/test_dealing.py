"""Layers dealt to unlike stages, against every way to deal them."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.workloads.training.dealing import dealt, paces

SECONDS = st.floats(0.5, 8.0)


def slowest(kinds, costs, layers):
    """Pace of the slowest stage, layer by layer."""
    most, at = 0.0, 0
    for (fixed_s, layer_s), count in zip(costs, layers, strict=True):
        most = max(most, fixed_s + sum(layer_s[kind] for kind in kinds[at : at + count]))
        at += count
    return most


def every(layers, stages):
    """Every way to give each stage one layer at least."""
    for cuts in combinations(range(1, layers), stages - 1):
        ends = (0, *cuts, layers)
        yield tuple(b - a for a, b in zip(ends, ends[1:], strict=False))


@given(
    st.lists(st.integers(0, 1), min_size=4, max_size=9),
    st.lists(st.tuples(SECONDS, st.tuples(SECONDS, SECONDS)), min_size=2, max_size=4),
    st.lists(st.integers(1, 6), min_size=4, max_size=4),
)
def test_no_way_to_deal_is_faster(kinds, costs, room):
    room = room[: len(costs)]
    ways = [
        way for way in every(len(kinds), len(costs))
        if all(count <= most for count, most in zip(way, room, strict=True))
    ]  # fmt: skip
    made = dealt(kinds, costs, room)
    if not ways:
        assert made is None
        return
    least = min(slowest(kinds, costs, way) for way in ways)
    assert made in ways
    assert slowest(kinds, costs, made) <= least * (1 + 1e-6)
    if len(set(kinds)) == 1:
        fixed = np.array([[fixed_s] for fixed_s, _ in costs])
        each = np.array([[layer_s[kinds[0]]] for _, layer_s in costs])
        bound = paces(fixed, each, np.array(room, float)[:, None], float(len(kinds)))
        assert bound[0] <= least * (1 + 1e-9)
