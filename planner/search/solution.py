"""What a solver returns: picks, a status, and how far from the best they can be. No times.

A bound is true: no picks that keep every limit cost less. The price of the picks is
`Problem.cost`; a solution does not repeat it.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from planner.problem import Problem

__all__ = ["Solution", "Solver", "Status"]

Status = Literal["optimal", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer of a solver.

    Parameters
    ----------
    picks  : an option of every decision, which breaks no limit; None: none found
    status : optimal (proved, to the precision of floats) | feasible (not proved) |
             infeasible (proved) | unknown (nothing found, nothing proved)
    bound  : no allowed picks cost less; inf where infeasible
    gap    : (cost - bound) / |cost|; 0 where optimal, inf without picks
    """

    picks: tuple[int, ...] | None
    status: Status
    bound: float
    gap: float


class Solver(Protocol):
    """A module of `planner.search` that solves problems."""

    NAME: str

    def solve(
        self, problem: Problem, *, time_limit_s: float | None = None, seed: int = 0
    ) -> Solution:
        """Solve a problem; without a time limit, work is limited by counts, not by seconds."""
        ...
