"""CP-SAT: bounds where work ends early, and a rule of its presolve that proved what is false."""

import numpy as np
import problems
import pytest

from planner.problem import Bottleneck, Decision, Problem
from planner.search import cpsat, exhaustive


def test_large_coefficients_are_proved_truly() -> None:
    """With its rule for constraints inside others, CP-SAT 9.15 "proves" 27662.8 here."""
    problem = problems.problem(49)
    best, found = exhaustive.solve(problem), cpsat.solve(problem)
    assert best.bound == pytest.approx(27559.0173, rel=1e-6)
    assert float(problem.cost(found.picks).total_s) == pytest.approx(best.bound, rel=1e-9)


def assignment(count: int, devices: int) -> Problem:
    rng = np.random.default_rng(0)
    load = rng.random(count)
    every = tuple(
        Decision(str(d), ("",) * devices, problems.column(rng.random(devices)))
        for d in range(count)
    )
    loads = tuple(
        {d: load[d] * (np.arange(devices) == g) for d in range(count)} for g in range(devices)
    )
    return Problem(every, bottlenecks=(Bottleneck("fullest", 4.0, loads),))


def test_an_assignment_to_devices_is_proved() -> None:
    problem = assignment(10, 3)
    best, found = exhaustive.solve(problem), cpsat.solve(problem)
    assert found.status == best.status == "optimal"
    assert float(problem.cost(found.picks).total_s) == pytest.approx(best.bound, rel=1e-9)


def test_work_that_ends_early_leaves_a_true_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpsat, "WORK", 0.05)
    problem = assignment(60, 8)
    found = cpsat.solve(problem)
    assert found == cpsat.solve(problem), "without a time limit the work is counted"
    assert found.status in ("feasible", "unknown")
    best = float(sum(d.time_s.min() for d in problem.decisions))
    assert found.bound >= best  # the fullest device costs something
    if found.picks is not None:
        assert found.bound < float(problem.cost(found.picks).total_s)
