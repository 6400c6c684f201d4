"""Seconds that each exact solver needs to prove problems of one kind and growing size.

Printed with `-s`, and in the `extra_info` of `--benchmark-json`: processor seconds of this process
and its children. Every answer is checked: by dynamic programming written out here where there is
one, else by a second solver that shares no search with the first. Nothing fails for being slow.
"""

import os

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from costmodels.breakdown import Breakdown, Memory, Term
from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem
from planner.search import SOLVERS
from planner.search.tables import lower


def column(seconds: np.ndarray, used: np.ndarray | None = None) -> Breakdown:
    """Breakdown of one term, and of one footprint."""
    held = () if used is None else (Memory("held", "memory", used, "drawn"),)
    return Breakdown((Term("work", "compute", seconds, "drawn"),), held)


def chain(count: int, options: int, *, limit: float = 0.0, stages: int = 0) -> Problem:
    """Decisions in a row: faster options use more; a limit on all, or stages in a row."""
    rng = np.random.default_rng(0)
    decisions = []
    for at in range(count):
        seconds = rng.random(options)
        used = np.round((1.0 - seconds) * 100.0 + 30.0 * rng.random(options))
        decisions.append(Decision(str(at), ("",) * options, column(seconds, used)))
    couplings = tuple(
        Coupling(at, at + 1, column(rng.random((options, options)))) for at in range(count - 1)
    )
    capacity = sum(
        float(u.min() + limit * np.ptp(u)) for u in (d.usage("memory") for d in decisions)
    )
    limits = (Limit("memory", "memory", tuple(range(count)), np.floor(capacity)),) if limit else ()
    size = count // stages if stages else 0
    loads = tuple(
        {d: rng.random(options) for d in range(s * size, (s + 1) * size)} for s in range(stages)
    )
    slowest = (Bottleneck("stage", 3.0, loads),) if stages else ()
    return Problem(tuple(decisions), couplings, limits, slowest)


def seconds_spent() -> float:
    """Processor seconds of this process and of its children that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def proved(benchmark: BenchmarkFixture, name: str, problem: Problem) -> float:
    """Solve once, by the clock; return the cost of the picks, which must be proved."""
    before = seconds_spent()
    found = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: SOLVERS[name].solve(problem), rounds=1
    )
    if benchmark.enabled:
        spent = seconds_spent() - before
        benchmark.extra_info["processor_s"] = spent
        print(f"\n{name}: {len(problem.decisions)} decisions, {spent:.2f} s, {found.status}")
    assert found.status == "optimal"
    assert problem.allows(found.picks)
    return float(problem.cost(found.picks).total_s)


@pytest.mark.parametrize(("count", "options"), [(100, 10), (1000, 20)])
def test_a_free_chain(benchmark: BenchmarkFixture, count: int, options: int) -> None:
    """Against the classic recursion along a chain."""
    problem = chain(count, options)
    cost = proved(benchmark, "elimination", problem)
    best = problem.decisions[0].time_s
    for decision, one in zip(problem.decisions[1:], problem.couplings, strict=True):
        best = np.min(best[:, None] + np.asarray(one.cost.total_s), axis=0) + decision.time_s
    assert cost == pytest.approx(float(best.min()), rel=1e-9)


@pytest.mark.parametrize("name", ["elimination", "priced", "wcsp"])
@pytest.mark.parametrize(("count", "options"), [(32, 6), (64, 10)])
def test_a_chain_under_one_limit(
    benchmark: BenchmarkFixture, name: str, count: int, options: int
) -> None:
    """Against a recursion over whole usages."""
    problem = chain(count, options, limit=0.4)
    room = int(problem.limits[0].capacity)
    best = np.full((options, room + 1), np.inf)  # by last option and usage
    for at, decision in enumerate(problem.decisions):
        table = None if at == 0 else np.asarray(problem.couplings[at - 1].cost.total_s)
        after = np.full_like(best, np.inf)
        for pick, used in enumerate(decision.usage("memory").astype(int)):
            before = np.min(best + table[:, pick][:, None], axis=0) if at else np.zeros(room + 1)
            if at == 0:
                before[1:] = np.inf
            after[pick, used:] = decision.time_s[pick] + before[: room + 1 - used]
        best = after
    cost = proved(benchmark, name, problem)
    assert cost == pytest.approx(float(best.min()), rel=1e-9)


@pytest.mark.parametrize("stages", [4, 8])
def test_stages_of_a_chain(benchmark: BenchmarkFixture, stages: int) -> None:
    """Elimination with prices; no answer with one stage's picks changed is better."""
    problem = chain(8 * stages, 4, stages=stages)
    cost = proved(benchmark, "elimination", problem)
    other = SOLVERS["cpsat"].solve(problem, time_limit_s=3.0)
    assert other.bound <= cost * (1.0 + 1e-9)
    assert other.picks is None or float(problem.cost(other.picks).total_s) >= cost * (1.0 - 1e-9)


@pytest.mark.parametrize("name", ["cpsat", "portfolio"])
def test_tables_to_devices(benchmark: BenchmarkFixture, name: str) -> None:
    """Twelve tables to four devices with memory each: the fullest device, against no solver."""
    rng = np.random.default_rng(1)
    size, load = rng.integers(1, 9, 12).astype(float), rng.integers(1, 9, 12).astype(float)
    decisions = tuple(
        Decision(
            str(at),
            ("",) * 4,
            Breakdown(
                (Term("work", "compute", np.zeros(4), "drawn"),),
                tuple(Memory("t", str(g), s * (np.arange(4) == g), "drawn") for g in range(4)),
            ),
        )
        for at, s in enumerate(size)
    )
    limits = tuple(
        Limit(str(g), str(g), tuple(range(12)), np.ceil(size.sum() / 4 + 1)) for g in range(4)
    )
    loads = tuple({d: load[d] * (np.arange(4) == g) for d in range(12)} for g in range(4))
    problem = Problem(decisions, (), limits, (Bottleneck("fullest", 1.0, loads),))
    cost = proved(benchmark, name, problem)
    assert cost >= np.ceil(load.sum() / 4)
    reached = {(0,) * 8}  # size and load of every device, a table at a time
    for s, w in zip(size.astype(int), load.astype(int), strict=True):
        step = set()
        for state in reached:
            for g in range(4):
                new = list(state)
                new[g] += s
                new[4 + g] += w
                if new[g] <= limits[g].capacity and new[4 + g] < cost:
                    pairs = sorted(zip(new[:4], new[4:], strict=True))  # devices are alike
                    step.add(tuple(p[0] for p in pairs) + tuple(p[1] for p in pairs))
        reached = step
    assert not reached, "an answer below the proved one"


def test_lower_a_large_problem(benchmark: BenchmarkFixture) -> None:
    """Fifty thousand decisions, two couplings each."""
    rng = np.random.default_rng(2)
    cost = column(rng.random(8), rng.random(8))
    table = column(rng.random((8, 8)))
    count = 50_000
    pairs = rng.integers(0, count, (2 * count, 2))
    couplings = tuple(Coupling(int(a), int(b), table) for a, b in pairs if a != b)
    problem = Problem((Decision("d", ("",) * 8, cost),) * count, couplings)
    tables = benchmark.pedantic(lambda: lower(problem), rounds=1)  # type: ignore[no-untyped-call]
    assert len(tables.costs) == 8 * count
    picks = rng.integers(0, 8, count)
    expected = float(np.asarray(cost.total_s)[picks].sum())
    expected += sum(
        float(np.asarray(table.total_s)[picks[c.first], picks[c.second]]) for c in couplings
    )
    assert tables.cost(picks) == pytest.approx(expected, rel=1e-9)
