"""Conversions between layouts: each kind by hand, several axes against every order of steps."""

from itertools import permutations, product

import numpy as np
import pytest

from costmodels import collectives
from costmodels.hops import Hop
from planner.sharding.layouts import FLAT, PARTIAL, WHOLE
from planner.sharding.mesh import Axis, Mesh
from planner.sharding.resharding import KINDS, Exchange, convert, convert_each

FAST = Axis("fast", 4, (Hop("node", 4.0, 2e-6, 4e11),))
SLOW = Axis("slow", 8, (Hop("node", 1.0, 2e-6, 4e11), Hop("net", 8.0, 9e-6, 5e10)))
MESH: Mesh = (FAST, SLOW)
BYTES = 2.0**28
CODES = (PARTIAL, WHOLE, 0, 1)


def one(mesh: Mesh, have: tuple[int, ...], need: tuple[int, ...]) -> tuple[list[str], float]:
    moves = convert(BYTES, mesh, np.array([have]), np.array([need]))
    kinds = [KINDS[k] for k in moves.kind[:, 0, 0] if k >= 0]
    return kinds, float(moves.seconds.sum())


@pytest.mark.parametrize(
    ("have", "need", "kind", "seconds"),
    [
        (PARTIAL, WHOLE, "all-reduce", collectives.all_reduce_s(BYTES, FAST.span)),
        (PARTIAL, 1, "reduce-scatter", collectives.reduce_scatter_s(BYTES, FAST.span)),
        (0, WHOLE, "all-gather", collectives.all_gather_s(BYTES, FAST.span)),
        (FLAT, WHOLE, "all-gather", collectives.all_gather_s(BYTES, FAST.span)),
        (0, 1, "all-to-all", collectives.all_to_all_s(BYTES / 4, FAST.span)),
        (WHOLE, 0, None, 0.0), (WHOLE, PARTIAL, None, 0.0), (1, 1, None, 0.0),
        (WHOLE, WHOLE, None, 0.0), (PARTIAL, PARTIAL, None, 0.0),
    ],
)  # fmt: skip
def test_each_conversion_on_one_axis(
    have: int, need: int, kind: str | None, seconds: float
) -> None:
    kinds, ours = one((FAST,), (have,), (need,))
    assert kinds == ([kind] if kind else [])
    assert ours == pytest.approx(float(seconds), rel=1e-12)


def in_order(have: tuple[int, ...], need: tuple[int, ...], order: tuple[int, ...]) -> float:
    """Seconds of the steps in one order of the axes, by plain sums."""
    held = [code >= 0 for code in have]
    total = 0.0
    for a in order:
        h, n, axis = have[a], need[a], MESH[a]
        others = BYTES
        for b, other in enumerate(MESH):
            if b != a and held[b]:
                others /= other.degree
        if h == PARTIAL and n == WHOLE:
            total += float(collectives.all_reduce_s(others, axis.span))
        elif (h == PARTIAL and n >= 0) or (h >= 0 and n < 0):
            total += float(collectives.all_gather_s(others, axis.span))
        elif h >= 0 and n >= 0 and h != n:
            total += float(collectives.all_to_all_s(others / axis.degree, axis.span))
        held[a] = n >= 0
    return total


@pytest.mark.parametrize("have", list(product(CODES, repeat=2)))
def test_on_two_axes_no_order_is_cheaper(have: tuple[int, ...]) -> None:
    for need in product(CODES, repeat=2):
        _, ours = one(MESH, have, need)
        best = min(in_order(have, need, order) for order in permutations(range(2)))
        assert ours <= best * (1 + 1e-12)
        twice = have == (PARTIAL, PARTIAL) and need == (WHOLE, WHOLE)
        if not twice:  # the slow axis reduces the pieces that the fast one leaves
            assert ours == pytest.approx(best, rel=1e-12)
    both = float(collectives.all_reduce_s(BYTES, FAST.span))
    both += float(collectives.all_reduce_s(BYTES / 4, SLOW.span))
    assert one(MESH, (PARTIAL, PARTIAL), (WHOLE, WHOLE))[1] == pytest.approx(both, rel=1e-12)


def test_tables_of_pairs_are_the_single_conversions() -> None:
    rows = np.array(list(product(CODES, repeat=2)))
    table = convert(BYTES, MESH, rows, rows)
    back = table.turned()
    beside = convert_each(BYTES, MESH, rows, rows[::-1])
    for i, have in enumerate(rows):
        for j, need in enumerate(rows):
            seconds = one(MESH, tuple(have), tuple(need))[1]
            assert table.seconds[:, i, j].sum() == pytest.approx(seconds, rel=1e-12)
            assert (back.seconds[:, j, i] == table.seconds[:, i, j]).all()
        last = len(rows) - 1 - i
        assert (beside.seconds[:, i, 0] == table.seconds[:, i, last]).all()


def test_experts_tokens_cross_a_domain_once_and_the_busiest_rank_paces() -> None:
    """Of eight copies some go to one domain; 1.5 times the mean arrives at the busiest."""
    have, need = np.array([[WHOLE, 0]]), np.array([[WHOLE, 1]])
    plain = convert(BYTES, MESH, have, need).seconds[1, 0, 0]
    loaded = convert(BYTES, MESH, have, need, Exchange(8.0, 1.5)).seconds[1, 0, 0]
    assert loaded == pytest.approx(
        1.5 * float(collectives.all_to_all_s(BYTES / 8, SLOW.span, 8.0)), rel=1e-12
    )
    assert loaded < 1.5 * plain
