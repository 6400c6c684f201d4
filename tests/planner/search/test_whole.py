"""Whole numbers: how far ticks are from costs, and what rounded limits allow."""

from itertools import product

import numpy as np
import problems
import pytest

from planner.problem import Decision, Limit, Problem
from planner.search.solution import PRECISION
from planner.search.tables import lower
from planner.search.whole import FORBIDDEN, Bits, Whole, plain, whole

COARSE = Bits(cost=12, usage=4)


def forbids(model: Whole, picks: tuple[int, ...]) -> bool:
    single = any(own[pick] == FORBIDDEN for own, pick in zip(model.costs, picks, strict=True))
    return single or any(
        table[picks[a], picks[b]] == FORBIDDEN for (a, b), table in model.pairs.items()
    )


def ways(problem: Problem) -> list[tuple[int, ...]]:
    return list(product(*(range(len(d.options)) for d in problem.decisions)))


@pytest.mark.parametrize("bits", [COARSE, Bits(cost=40, usage=30)], ids=["coarse", "fine"])
def test_ticks_are_costs_to_the_stated_error_and_limits_round_as_asked(bits: Bits) -> None:
    for seed in range(60):
        problem = problems.problem(seed, most=4)
        tables = plain(lower(problem))
        allowed = {p: float(problem.cost(p).total_s) for p in ways(problem) if problem.allows(p)}
        if tables is None:
            assert not allowed
            continue
        assert tables.base <= min(allowed.values(), default=np.inf) + 1e-9 * abs(tables.base)
        for loose in (True, False):
            model = whole(tables, np.inf, loose, bits)
            if model is None:
                assert not loose or not allowed
                continue
            for picks in ways(problem):
                kept = not forbids(model, picks)
                kept &= all(cap.used(picks) <= cap.room for cap in model.limits)
                if loose or model.exact:
                    assert kept or picks not in allowed, "an allowed combination is lost"
                if not loose or model.exact:
                    assert picks in allowed or not kept, "one that breaks a limit is kept"
                if picks in allowed and kept:
                    price = problem.cost(picks)
                    scale = sum(abs(float(t.time_s)) for t in price.terms) + abs(model.base)
                    claimed = model.base + model.tick * model.ticks(picks)
                    assert abs(claimed - allowed[picks]) <= model.error + PRECISION * scale


def test_whole_numbers_are_taken_as_they_are() -> None:
    one = Decision("d", ("a", "b"), problems.column([3.0, 7.5], {"memory": [1.0, 4.0]}))
    problem = Problem((one, one), limits=(Limit("l", "memory", (0, 1), 6.9),))
    tables = plain(lower(problem))
    assert tables is not None
    assert tables.base == 6.0
    model = whole(tables, np.inf, True, Bits(cost=20, usage=20))
    assert model is not None
    assert (model.exact, model.error, model.tick) == (True, 0.0, 0.5)
    np.testing.assert_array_equal(model.costs[0], [0, 9])
    assert model.limits[0].room == 4  # 6.9 less the least of 2, in whole numbers


def test_what_costs_more_than_is_wanted_is_forbidden_and_ticks_are_finer() -> None:
    one = Decision("d", ("a", "b", "c"), problems.column([0.1, 0.3, 1e6]))
    tables = plain(lower(Problem((one, one))))
    assert tables is not None
    wide = whole(tables, np.inf, True, COARSE)
    near = whole(tables, 0.5, True, COARSE)
    assert wide is not None
    assert near is not None
    assert list(near.costs[0] == FORBIDDEN) == [False, False, True]
    assert near.error < 1e-5 * wide.error


def test_rounded_limits_lose_nothing_or_let_nothing_through() -> None:
    """Capacities that some combination reaches exactly, in sixteen ticks."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        usage = rng.random((4, 3))
        one = tuple(
            Decision("d", ("",) * 3, problems.column(np.zeros(3), {"memory": own})) for own in usage
        )
        capacity = float(usage[np.arange(4), rng.integers(0, 3, 4)].sum()) + 1e-9
        problem = Problem(one, limits=(Limit("l", "memory", (0, 1, 2, 3), capacity),))
        tables = plain(lower(problem))
        assert tables is not None
        for loose in (True, False):
            model = whole(tables, np.inf, loose, COARSE)
            kept = set()
            if model is not None:
                kept = {
                    p
                    for p in ways(problem)
                    if not forbids(model, p) and all(c.used(p) <= c.room for c in model.limits)
                }
            allowed = {p for p in ways(problem) if problem.allows(p)}
            assert kept >= allowed if loose else kept <= allowed
