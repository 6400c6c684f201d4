"""The solver for large networks: prices on limits, exact pieces, repair, neighbourhoods.

For problems of up to a hundred thousand decisions that are coupled in pairs and limited:

    presolve      fewer options, edges and rows                     `network.presolve`
    dual          prices on rows, messages: a true lower bound      `network.dual`
    pieces        the core at those prices by toulbar2, in children `network.core`, `network.exact`
    repair        from nearly allowed picks to allowed ones         `network.repair`

Sequences become couplings. Bottlenecks are out of its reach: such a problem is `unknown`, with
nothing proved.
Without a time limit the work is counted, and the answer is the same every time; with one, the
time is used up unless the answer is proved before.
"""

import time

import numpy as np

from planner.problem import Problem
from planner.search.network.form import Network
from planner.search.network.lower import from_problem
from planner.search.network.run import Outcome, Told, run
from planner.search.solution import Solution, answer

__all__ = ["NAME", "Outcome", "solve", "solve_network"]

NAME = "local"


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Solve a problem of decisions, couplings and limits (see the module)."""
    begun = time.monotonic()
    if problem.bottlenecks:
        return answer(problem, None, reason="the local solver knows no bottlenecks")
    end = None if time_limit_s is None else begun + time_limit_s
    network = from_problem(problem)
    if network is None:
        return answer(problem, None, np.inf)
    outcome = solve_network(network, end=end, seed=seed)
    picks = outcome.picks
    if picks is not None and not problem.allows(picks.tolist()):
        picks = None  # right but for the rounding of sums
    bound = outcome.bound
    if outcome.status == "unknown" or picks is None and outcome.status != "infeasible":
        return answer(problem, None, min(bound, 1e300), "nothing found in the time given")
    return answer(problem, None if picks is None else picks.tolist(), bound)


def solve_network(
    net: Network, *, end: float | None = None, seed: int = 0, tell: Told | None = None
) -> Outcome:
    """Solve a network; `end` is a time of `time.monotonic`, `tell` hears of better picks."""
    return run(net, end, seed, tell)
