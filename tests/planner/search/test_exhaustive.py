"""The oracle against the form's own methods, one combination at a time in plain Python."""

from itertools import product

import numpy as np
import problems
import pytest

from planner.problem import Decision, Limit, Problem
from planner.search import exhaustive


@pytest.mark.parametrize("seeds", [range(at, at + 40) for at in range(0, 200, 40)], ids=str)
def test_nothing_cheaper_is_allowed(seeds: range) -> None:
    for seed in seeds:
        problem = problems.problem(seed, most=4)
        ways = product(*(range(len(d.options)) for d in problem.decisions))
        allowed = [picks for picks in ways if problem.allows(picks)]
        found = exhaustive.solve(problem)
        if not allowed:
            assert (found.picks, found.status, found.bound) == (None, "infeasible", np.inf)
            continue
        least = min(float(problem.cost(picks).total_s) for picks in allowed)
        assert found.picks in allowed
        assert found.status == "optimal"
        assert float(problem.cost(found.picks).total_s) == pytest.approx(least, rel=1e-9)
        assert found.bound == pytest.approx(least, rel=1e-9)


def test_ties_go_to_the_first_in_order() -> None:
    same = Decision("d", ("a", "b", "c"), problems.column([1.0, 1.0, 1.0]))
    assert exhaustive.solve(Problem((same, same))).picks == (0, 0)


def test_too_many_combinations_are_not_tried() -> None:
    ten = Decision("d", tuple("abcdefghij"), problems.column(np.arange(10.0)))
    found = exhaustive.solve(Problem((ten,) * 8))
    assert (found.picks, found.status, found.bound) == (None, "unknown", -np.inf)
    assert "combinations" in found.reason


def test_a_limit_of_time_leaves_the_best_so_far() -> None:
    four = Decision("d", tuple("abcd"), problems.column(np.arange(4.0), {"memory": np.ones(4)}))
    problem = Problem((four,) * 9, limits=(Limit("l", "memory", tuple(range(9)), 9.0),))
    found = exhaustive.solve(problem, time_limit_s=-1.0)
    assert (found.status, found.reason) == ("unknown", "time limit")
