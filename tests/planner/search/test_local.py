"""The local solver through its front door; see `tests/test_solvers.py` for the oracle."""

import numpy as np
import problems

from planner.problem import Problem
from planner.search import local


def test_bottlenecks_are_refused_with_a_reason() -> None:
    refused = [p for p in map(problems.problem, range(40)) if p.bottlenecks]
    assert refused
    for problem in refused:
        found = local.solve(problem)
        assert (found.status, found.picks, found.bound) == ("unknown", None, -np.inf)
        assert "bottleneck" in found.reason


def test_nothing_to_decide_is_decided() -> None:
    found = local.solve(Problem())
    assert (found.status, found.picks, found.bound) == ("optimal", (), 0.0)
