"""Prices: a bound by weak duality, and a good one."""

import numpy as np
import problems
import pytest

from planner.problem import Decision, Limit, Problem
from planner.search import exhaustive
from planner.search.gauges import gauges_of
from planner.search.order import greedy
from planner.search.prices import Priced, climb
from planner.search.solution import PRECISION
from planner.search.tables import lower


def priced(problem: Problem) -> Priced | None:
    """Climb; None where there is nothing to price."""
    tables = lower(problem)
    gauges = gauges_of(tables, 1e-12)
    order = greedy(tables.sizes, tables.pairs)
    assert order is not None
    if not gauges.gauges or gauges.hopeless or tables.least() == np.inf:
        return None
    return climb(problem, tables, order, gauges, np.inf)


def test_no_picks_are_below_the_bound() -> None:
    seen = 0
    for seed in range(30):
        problem = problems.problem(seed, most=5)
        found, best = priced(problem), exhaustive.solve(problem)
        if found is None:
            continue
        seen += 1
        if best.picks is None:
            assert found.picks is None
            continue
        price = problem.cost(best.picks)
        slack = PRECISION * sum(abs(float(t.time_s)) for t in price.terms)
        assert found.bound <= float(price.total_s) + slack
        if found.picks is not None:
            assert problem.allows(found.picks)
            assert found.cost >= float(price.total_s) - slack
    assert seen > 10


def test_a_knapsack_is_bounded_by_its_fractional_one() -> None:
    """Lagrange and linear relaxation agree for a knapsack: items by value per size, one split."""
    rng = np.random.default_rng(0)
    value, size, room = rng.random(60), rng.integers(1, 20, 60).astype(float), 150.0
    left, worth = room, 0.0
    for item in np.argsort(-value / size):
        part = min(1.0, left / size[item])
        left, worth = left - part * size[item], worth + part * value[item]
    items = tuple(
        Decision("item", ("out", "in"), problems.column([0.0, -v], {"memory": [0.0, s]}))
        for v, s in zip(value, size, strict=True)
    )
    found = priced(Problem(items, limits=(Limit("l", "memory", tuple(range(60)), room),)))
    assert found is not None
    assert found.bound <= -worth * (1.0 - 1e-9)
    assert found.bound == pytest.approx(-worth, rel=2e-3)


def test_what_cannot_be_is_priced_out() -> None:
    """Two limits that contradict each other: the bound climbs above what any picks cost."""
    usage = {"memory": [1.0, 0.0], "links": [0.0, 1.0]}
    one = Decision("d", ("a", "b"), problems.column([1.0, 1.0], usage))
    limits = (Limit("m", "memory", (0, 1), 0.3), Limit("l", "links", (0, 1), 0.3))
    found = priced(Problem((one, one), limits=limits))
    assert found is not None
    assert (found.bound, found.picks) == (np.inf, None)
