"""The best sharding of an operator graph on a mesh: the problem, solved and priced.

Puts together what does not know the other: `sharding` makes the problem, `search` solves it. The
price is the problem's own cost of the picks; bound, gap and status are the solution's.
"""

from dataclasses import dataclass

from costmodels.breakdown import Breakdown
from planner.search import SOLVERS
from planner.search.solution import Solution
from planner.sharding.problem import ShardingProblem
from planner.sharding.words import sharding_of

__all__ = ["Searched", "search"]

IN_TURN = ("priced", "elimination")
"""Solvers, until one finds picks: sharding problems are narrow and share one memory limit."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The best picks, how far from the best they can be, their price, and what they say.

    Parameters
    ----------
    price    : of the picks; None where none was found
    sharding : as a strategy holds it (`sharding.words`)
    """

    made: ShardingProblem
    solution: Solution
    price: Breakdown | None
    sharding: dict[str, object]


def search(made: ShardingProblem, *, time_limit_s: float | None = None) -> Searched:
    """Find the least seconds of a step within the memory limit."""
    solution = SOLVERS[IN_TURN[0]].solve(made.problem, time_limit_s=time_limit_s)
    for name in IN_TURN[1:]:
        if solution.status == "unknown":
            solution = SOLVERS[name].solve(made.problem, time_limit_s=time_limit_s)
    if solution.picks is None:
        return Searched(made, solution, None, {})
    price = made.problem.cost(solution.picks)
    return Searched(made, solution, price, sharding_of(made, solution.picks))
