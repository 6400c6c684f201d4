"""One priced limit against the oracle, and min-marginals against trying every option."""

import numpy as np
import pytest
from problems import column, problem

from planner.problem import Coupling, Decision, Limit, Problem
from planner.search import elimination, exhaustive, priced
from planner.search.min_sum import min_sum
from planner.search.order import greedy
from planner.search.tables import lower


def limited(seed: int, tight: float) -> Problem:
    """Draw a problem of five decisions on a ring, one limit at `tight` of the way up."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, 5)
    decisions = tuple(
        Decision(f"d{i}", tuple("abcdefg"[:n]),
                 column(rng.uniform(0.0, 1.0, n), {"memory": rng.integers(0, 20, n)}))
        for i, n in enumerate(sizes)
    )  # fmt: skip
    couplings = []
    for a in range(5):
        b = (a + 1) % 5
        table = rng.uniform(0.0, 2.0, (sizes[a], sizes[b]))
        table[rng.uniform(size=table.shape) < 0.1] = np.inf
        couplings.append(Coupling(a, b, column(table)))
    used = [d.usage("memory") for d in decisions]
    low, high = sum(u.min() for u in used), sum(u.max() for u in used)
    limit = Limit("memory", "memory", tuple(range(5)), low + tight * (high - low))
    return Problem(decisions, tuple(couplings), (limit,))


@pytest.mark.parametrize("tight", [0.0, 0.05, 0.2, 0.4, 0.7, 1.0])
def test_the_optimum_under_one_limit_is_the_oracles(tight: float) -> None:
    proved = 0
    for seed in range(8):
        one = limited(seed, tight)
        best, found = exhaustive.solve(one), priced.solve(one)
        assert found.status in ("optimal", "infeasible"), found
        assert (found.picks is None) == (best.picks is None)
        proved += found.status == "optimal"
        if found.picks is not None and best.picks is not None:
            assert not one.broken(found.picks)
            ours, theirs = (float(one.cost(s.picks).total_s) for s in (found, best))
            assert ours == pytest.approx(theirs, rel=1e-9)
            assert found.bound <= theirs * (1 + 1e-9)
    assert proved >= 5  # of eight; the others are infeasible


def test_where_the_exact_search_is_too_large_the_bound_and_the_gap_are_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elimination, "FEW_LABELS", 3)
    monkeypatch.setattr(elimination, "MOST_LABELS", 3)
    gaps = []
    for seed in range(8):
        one = limited(seed, 0.15)
        best, found = exhaustive.solve(one), priced.solve(one)
        if best.picks is None or found.picks is None:
            continue
        least = float(one.cost(best.picks).total_s)
        assert found.bound <= least * (1 + 1e-9)
        assert float(one.cost(found.picks).total_s) >= least * (1 - 1e-9)
        gaps.append(found.gap)
    assert max(gaps) > 0.0


def test_what_it_does_not_solve_it_refuses() -> None:
    seen = set()
    for seed in range(60):
        one = problem(seed)
        found = priced.solve(one)
        if lower(one).loads and found.status != "infeasible":
            assert (found.status, found.bound) == ("unknown", -np.inf)
        seen.add(found.status)
    assert {"unknown", "optimal"} <= seen


@pytest.mark.parametrize("seed", range(3))
def test_min_marginals_are_the_least_cost_with_each_option(seed: int) -> None:
    one = limited(seed, 1.0)
    tables = lower(one)
    order = greedy(tables.sizes, tables.pairs)
    assert order is not None
    found = min_sum(tables, tables.costs, order)
    every = {}
    for picks in np.ndindex(*tables.sizes):
        every[picks] = tables.cost(picks)
    for d, size in enumerate(tables.sizes):
        for option in range(size):
            least = min(cost for picks, cost in every.items() if picks[d] == option)
            ours = tables.of(found.marginals, d)[option]
            assert ours == pytest.approx(least, rel=1e-12) or ours == least == np.inf
    assert tables.cost(found.picks) == pytest.approx(found.least, rel=1e-12)
