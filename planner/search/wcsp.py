"""Weighted constraint satisfaction: toulbar2, exact and strong on cost networks.

Every solve is a child process with a time limit, which is killed if it does not stop. Costs are
whole ticks (`whole`), refined in rounds (`rounds`) until a proof is as good as floats can be.
Without a time limit, work is limited by toulbar2's backtracks. Where there is no toulbar2 (its
wheels are for Linux and macOS) it says so and proves nothing.
"""

import importlib.util
import os
import time

from planner.problem import Problem
from planner.search.network.child import Child
from planner.search.rounds import Picks, solve_in_rounds
from planner.search.solution import Solution, answer
from planner.search.toulbar import BITS, Found, solve_here
from planner.search.whole import Whole

__all__ = ["BACKTRACKS", "NAME", "available", "solve"]

NAME = "wcsp"
BACKTRACKS = 20_000
"""Of one solve, where no time limit is given."""
MOST_S = 3600.0
"""Where a solve hangs without a time limit, it is killed after so long."""


def available() -> bool:
    """Tell whether toulbar2 can run here: its library is there and the system can fork."""
    return hasattr(os, "fork") and importlib.util.find_spec("pytoulbar2") is not None


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Solve by toulbar2: to proof, or to the limit."""
    if not available():
        return answer(problem, None, reason="toulbar2 is not installed: no pytoulbar2 here")
    deadline = time.monotonic() + (MOST_S if time_limit_s is None else time_limit_s)
    backtracks = BACKTRACKS if time_limit_s is None else None

    def run(model: Whole, most: float) -> tuple[Picks | None, float, bool]:
        found = _in_child(model, most, deadline - time.monotonic(), backtracks, seed)
        return found.picks, found.bound, found.ended

    return solve_in_rounds(problem, run, BITS, "the limit of work was reached")


def _in_child(
    model: Whole, most: float, limit_s: float, backtracks: int | None, seed: int
) -> Found:
    """Solve one model in a child process; a killed one has nothing to tell."""
    import pytoulbar2  # noqa: F401  (before the fork, so that children need not load it)

    if not model.costs:
        return Found((), 0.0, True)
    if limit_s <= 0.0:
        return Found(None, 0.0, False)
    child = Child(
        lambda: [solve_here(model, most, limit_s=limit_s, backtracks=backtracks, seed=seed)],
        limit_s,
    )
    try:
        while not child.wait(time.monotonic() + limit_s):
            pass
    finally:
        child.kill()
    return child.answer or Found(None, 0.0, False)
