"""Elimination: what it proves where no enumeration could, and what it refuses."""

import numpy as np
import problems
import pytest

from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem
from planner.search import elimination, exhaustive
from planner.search.solution import PRECISION


def chain(rng: np.random.Generator, count: int, options: int) -> Problem:
    """Decisions in a row, each coupled with the next, that share one resource."""
    decisions = tuple(
        Decision(
            str(at),
            ("",) * options,
            problems.column(rng.random(options), {"memory": rng.integers(0, 9, options)}),
        )
        for at in range(count)
    )
    couplings = tuple(
        Coupling(at, at + 1, problems.column(rng.random((options, options))))
        for at in range(count - 1)
    )
    return Problem(decisions, couplings)


def viterbi(problem: Problem) -> float:
    """Least cost of a chain, by hand."""
    best = problem.decisions[0].time_s
    for decision, one in zip(problem.decisions[1:], problem.couplings, strict=True):
        best = np.min(best[:, None] + np.asarray(one.cost.total_s), axis=0) + decision.time_s
    return float(best.min())


def test_a_long_chain_is_exact() -> None:
    problem = chain(np.random.default_rng(0), 300, 12)
    found = elimination.solve(problem)
    assert found.status == "optimal"
    assert float(problem.cost(found.picks).total_s) == pytest.approx(viterbi(problem))


def test_a_limit_over_many_free_decisions_is_a_knapsack() -> None:
    """Forty items of value and size: the classic recursion over whole sizes agrees."""
    rng = np.random.default_rng(1)
    value, size, room = rng.random(40), rng.integers(1, 20, 40), 120
    table = np.zeros(room + 1)
    for v, s in zip(value, size, strict=True):
        table[s:] = np.maximum(table[s:], table[:-s] + v)
    decisions = tuple(
        Decision("item", ("out", "in"), problems.column([0.0, -v], {"memory": [0.0, s]}))
        for v, s in zip(value, size, strict=True)
    )
    problem = Problem(decisions, limits=(Limit("room", "memory", tuple(range(40)), float(room)),))
    found = elimination.solve(problem)
    assert found.status == "optimal"
    assert float(problem.cost(found.picks).total_s) == pytest.approx(-table[-1])


def test_a_limit_may_be_reached_exactly_where_floats_do_not_add_up() -> None:
    """0.1 + 0.2 + ... in another order: what the problem's own sum allows is found."""
    tenth = Decision("d", ("a", "b"), problems.column([1.0, 0.0], {"memory": [0.0, 0.1]}))
    fifth = Decision("d", ("a", "b"), problems.column([1.0, 0.0], {"memory": [0.0, 0.2]}))
    for capacity in (0.1 + 0.2, 0.3):
        limit = Limit("l", "memory", (0, 1), capacity)
        problem = Problem((tenth, fifth), limits=(limit,))
        found = elimination.solve(problem)
        assert found.picks is not None
        assert problem.allows(found.picks)
        assert found.bound <= float(problem.cost(found.picks).total_s)
        assert found.status == ("optimal" if capacity > 0.3 else "feasible")


def test_loads_of_stages_in_a_row_are_carried_one_at_a_time() -> None:
    """Twelve stages of three decisions: the widest label has a load and a peak."""
    rng = np.random.default_rng(2)
    free = chain(rng, 36, 3)
    loads = tuple(
        {d: rng.integers(1, 9, 3) * 1.0 for d in range(s, s + 3)} for s in range(0, 36, 3)
    )
    problem = Problem(free.decisions, free.couplings, bottlenecks=(Bottleneck("b", 0.5, loads),))
    found = elimination.solve(problem)
    assert found.status == "optimal"
    least = min(_capped(problem, loads, peak) + 0.5 * peak for peak in range(3, 25))
    assert float(problem.cost(found.picks).total_s) == pytest.approx(least)


def _capped(problem: Problem, loads: tuple[dict[int, np.ndarray], ...], peak: float) -> float:
    """Least cost with every stage's load at most `peak`, a stage at a time in plain loops."""
    best = {None: 0.0}
    for stage, load in enumerate(loads):
        a, b, c = sorted(load)
        after: dict[int | None, float] = {}
        for x, y, z in np.ndindex(3, 3, 3):
            if load[a][x] + load[b][y] + load[c][z] > peak:
                continue
            own = sum(problem.decisions[d].time_s[p] for d, p in ((a, x), (b, y), (c, z)))
            tables = [np.asarray(problem.couplings[d].cost.total_s) for d in (a, b)]
            own += tables[0][x, y] + tables[1][y, z]
            for before, cost in best.items():
                joint = (
                    0.0
                    if before is None
                    else float(np.asarray(problem.couplings[a - 1].cost.total_s)[before, x])
                )
                after[z] = min(after.get(z, np.inf), cost + own + joint)
        best = after
        if not best:
            return np.inf
        assert stage < 12
    return min(best.values())


def test_with_prices_it_agrees_with_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels kept so few that every problem with a limit or a bottleneck needs prices."""
    monkeypatch.setattr(elimination, "FEW_LABELS", 2)
    for seed in range(24):
        problem = problems.problem(5000 + seed)
        best, found = exhaustive.solve(problem), elimination.solve(problem)
        assert found.status == best.status, seed
        if best.picks is not None:
            price, own = problem.cost(best.picks), problem.cost(found.picks)
            slack = PRECISION * sum(abs(float(t.time_s)) for t in price.terms)
            assert float(own.total_s) == pytest.approx(float(price.total_s), abs=slack), seed
            assert found.bound <= float(price.total_s) + slack, seed


def test_prices_on_several_stages_rule_out_no_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cheap options load more, so that stages are balanced and prices leave a gap."""
    monkeypatch.setattr(elimination, "FEW_LABELS", 2)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        free = chain(rng, 9, 3)
        loads = tuple(
            {d: 2.0 - free.decisions[d].time_s - 0.2 * rng.random(3) for d in range(s, s + 3)}
            for s in range(0, 9, 3)
        )
        slowest = Bottleneck("b", 2.0, loads)
        problem = Problem(free.decisions, free.couplings, bottlenecks=(slowest,))
        best, found = exhaustive.solve(problem), elimination.solve(problem)
        assert found.status == "optimal"
        cost = float(problem.cost(found.picks).total_s)
        assert cost == pytest.approx(best.bound, rel=PRECISION)


def test_parts_that_only_a_limit_joins_are_bounded_truly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of different parts meet at the end, above the target that each kept for itself."""
    monkeypatch.setattr(elimination, "FEW_LABELS", 2)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        free = tuple(
            Decision("d", ("",) * 3, problems.column(rng.random(3), {"memory": rng.random(3)}))
            for _ in range(7)
        )
        problem = Problem(free, limits=(Limit("l", "memory", tuple(range(7)), 2.5),))
        best, found = exhaustive.solve(problem), elimination.solve(problem)
        assert found.status == best.status
        assert found.bound <= best.bound * (1.0 + PRECISION)
        if best.picks is not None:
            cost = float(problem.cost(found.picks).total_s)
            assert cost == pytest.approx(best.bound, rel=PRECISION)


def test_two_limits_and_a_bottleneck_on_a_chain_are_proved() -> None:
    """What CP-SAT and toulbar2 leave open after 20 s; two answers agree and the bound holds."""
    rng = np.random.default_rng(4)
    free = chain(rng, 18, 3)
    limits = tuple(
        Limit(name, "memory", tuple(members), 3.2 * len(members))
        for name, members in (("early", range(10)), ("late", range(8, 18)))
    )
    loads = tuple({d: rng.random(3) for d in range(s, s + 6)} for s in range(0, 18, 6))
    slowest = Bottleneck("b", 2.0, loads)
    problem = Problem(free.decisions, free.couplings, limits, (slowest,))
    found = elimination.solve(problem)
    assert (found.status, found.gap) == ("optimal", 0.0)
    cost = float(problem.cost(found.picks).total_s)
    for _ in range(300):  # no change of up to three picks is better
        picks = list(found.picks)
        for d in rng.choice(18, 3, replace=False):
            picks[d] = int(rng.integers(3))
        assert not problem.allows(picks) or float(problem.cost(picks).total_s) >= cost - 1e-9


def test_a_wide_graph_is_refused_with_the_reason() -> None:
    ten = Decision("d", tuple("abcdefghij"), problems.column(np.arange(10.0)))
    table = problems.column(np.zeros((10, 10)))
    every = tuple(Coupling(a, b, table) for a in range(9) for b in range(a))
    found = elimination.solve(Problem((ten,) * 9, every))
    assert (found.status, found.picks, found.bound) == ("unknown", None, -np.inf)
    assert "entries" in found.reason


def test_no_time_is_a_reason() -> None:
    found = elimination.solve(chain(np.random.default_rng(3), 5, 3), time_limit_s=-1.0)
    assert (found.status, found.reason) == ("unknown", "time limit")
