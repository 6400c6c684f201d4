"""The best sharding of an operator graph on a mesh: the problem, solved and priced.

Puts together what does not know the other: `sharding` makes the problem, `search` solves it. The
price is the problem's own cost of the picks; bound, gap and status are the solution's.

A device must hold what is kept, which the problem's limit counts, and for a moment what an
operator works on, which depends on the picks. So the limit is lowered by what the picks found
lack, a few times; the bound is of the first, widest limit, and stays true.
"""

from dataclasses import dataclass, replace

import numpy as np

from costmodels.breakdown import Breakdown
from planner.problem import Problem
from planner.search import SOLVERS
from planner.search.solution import Solution, answer
from planner.sharding.problem import ShardingProblem
from planner.sharding.words import sharding_of
from planner.sharding.working import working_bytes

__all__ = ["Searched", "search"]

IN_TURN = ("priced", "elimination", "wcsp")
"""Solvers, until one finds picks: sharding problems are narrow and share one memory limit."""
MOST_ROUNDS = 4
"""Times that the limit is lowered to make room for what is at work."""
NO_ROOM = "nothing found that leaves room for what an operator works on"


@dataclass(frozen=True, slots=True)
class Searched:
    """The best picks, how far from the best they can be, their price, and what they say.

    Parameters
    ----------
    price    : of the picks; None where none was found
    working_bytes : what an operator works on at most, beside what the price's memory keeps
    sharding : as a strategy holds it (`sharding.words`)
    """

    made: ShardingProblem
    solution: Solution
    price: Breakdown | None
    working_bytes: float
    sharding: dict[str, object]


def search(made: ShardingProblem, *, time_limit_s: float | None = None) -> Searched:
    """Find the least seconds of a step within the memory limit, work space included."""
    whole = problem = made.problem
    bound = -np.inf
    for _ in range(MOST_ROUNDS):
        found = _solved(problem, time_limit_s)
        bound = found.bound if problem is whole else bound
        if found.picks is None:
            break
        working = working_bytes(made, found.picks)
        if all(whole.used(x, found.picks) + working <= x.capacity for x in whole.limits):
            solution = answer(whole, found.picks, min(bound, found.bound), found.reason)
            words = sharding_of(made, found.picks)
            return Searched(made, solution, whole.cost(found.picks), working, words)
        room = tuple(replace(x, capacity=x.capacity - working) for x in whole.limits)
        problem = replace(whole, limits=room)
    return Searched(made, answer(whole, None, bound, NO_ROOM), None, 0.0, {})


def _solved(problem: Problem, time_limit_s: float | None) -> Solution:
    solution = SOLVERS[IN_TURN[0]].solve(problem, time_limit_s=time_limit_s)
    for name in IN_TURN[1:]:
        if solution.status == "unknown" and name in SOLVERS:
            solution = SOLVERS[name].solve(problem, time_limit_s=time_limit_s)
    return solution
