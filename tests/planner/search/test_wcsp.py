"""toulbar2 in its child process: killed, absent, infeasible, and under a bottleneck."""

import os
import time

import numpy as np
import problems
import pytest

from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem
from planner.search import elimination, wcsp
from planner.search.toulbar import Found
from planner.search.whole import Whole


def network(rng: np.random.Generator, count: int, options: int) -> Problem:
    decisions = tuple(
        Decision(
            str(d),
            ("",) * options,
            problems.column(rng.random(options), {"memory": rng.integers(0, 50, options)}),
        )
        for d in range(count)
    )
    couplings = tuple(
        Coupling(a, b, problems.column(rng.random((options, options))))
        for a in range(count)
        for b in range(a)
        if b > a - 3
    )
    limit = Limit("l", "memory", tuple(range(count)), 22.0 * count)
    return Problem(decisions, couplings, (limit,))


def test_a_network_under_a_limit_agrees_with_elimination() -> None:
    problem = network(np.random.default_rng(0), 20, 4)
    one, other = wcsp.solve(problem), elimination.solve(problem)
    assert one.status == other.status == "optimal"
    assert float(problem.cost(one.picks).total_s) == pytest.approx(
        float(problem.cost(other.picks).total_s), rel=1e-9
    )


def test_a_bottleneck_is_proved_to_what_loads_are_rounded() -> None:
    load = np.array([7.3, 6.1, 5.9, 5.2, 4.4, 3.7])
    one = tuple(Decision(str(d), ("",) * 3, problems.column(np.zeros(3))) for d in range(6))
    loads = tuple({d: load[d] * (np.arange(3) == g) for d in range(6)} for g in range(3))
    problem = Problem(one, bottlenecks=(Bottleneck("fullest", 1.0, loads),))
    found = wcsp.solve(problem)
    assert found.gap < 1e-4
    assert float(problem.cost(found.picks).total_s) == pytest.approx(11.1)  # 5.9 + 5.2


def test_where_nothing_is_allowed_that_is_proved() -> None:
    never = problems.column(np.full((2, 2), np.inf))
    one = Decision("d", ("a", "b"), problems.column([0.0, 1.0]))
    table = np.zeros((2, 2))
    table[0, 0] = np.inf
    assert wcsp.solve(Problem((one, one), (Coupling(0, 1, never),))).status == "infeasible"
    odd = tuple(  # a triangle that two colours cannot fill
        Coupling(a, b, problems.column(np.where(np.eye(2) > 0, np.inf, 0.0)))
        for a, b in ((0, 1), (1, 2), (0, 2))
    )
    assert wcsp.solve(Problem((one,) * 3, odd)).status == "infeasible"


def test_a_solve_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(
        model: Whole, most: float, *, limit_s: float, backtracks: int | None, seed: int
    ) -> Found:
        while True:
            time.sleep(1.0)

    monkeypatch.setattr(wcsp, "solve_here", hang)
    problem, begun = network(np.random.default_rng(1), 6, 3), time.monotonic()
    found = wcsp.solve(problem, time_limit_s=0.2)
    assert (found.picks, found.status) == (None, "unknown")
    assert time.monotonic() - begun < 8.0
    with pytest.raises(ChildProcessError):  # no child is left
        os.waitpid(-1, os.WNOHANG)


def test_without_toulbar_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wcsp.importlib.util, "find_spec", lambda name: None)
    found = wcsp.solve(network(np.random.default_rng(2), 3, 2))
    assert (found.picks, found.status) == (None, "unknown")
    assert "pytoulbar2" in found.reason
