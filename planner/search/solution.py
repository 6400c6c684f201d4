"""What a solver returns: picks, a status, and how far from the best they can be. No times.

A bound is true: no picks that keep every limit cost less. The price of the picks is
`Problem.cost`; a solution does not repeat it. `answer` makes every solution from picks and a
bound, so that status and gap mean the same for all solvers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from planner.errors import InternalError
from planner.problem import Problem

__all__ = ["PRECISION", "Solution", "Solver", "Status", "answer"]

Status = Literal["optimal", "feasible", "infeasible", "unknown"]

PRECISION = 1e-9
"""Costs that differ by less than this share of their terms are equal: sums of floats round."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer of a solver.

    Parameters
    ----------
    picks  : an option of every decision, which breaks no limit; None: none found
    status : optimal (proved, to `PRECISION`) | feasible (not proved) |
             infeasible (proved) | unknown (nothing found, nothing proved)
    bound  : no allowed picks cost less; inf where infeasible
    gap    : (cost - bound) / |cost|; 0 where optimal, inf without picks
    reason : why a solver found nothing or proved nothing; "" where it did
    """

    picks: tuple[int, ...] | None
    status: Status
    bound: float
    gap: float
    reason: str = ""


class Solver(Protocol):
    """A module of `planner.search` that solves problems."""

    NAME: str

    def solve(
        self, problem: Problem, *, time_limit_s: float | None = None, seed: int = 0
    ) -> Solution:
        """Solve a problem; without a time limit, work is limited by counts, not by seconds."""
        ...


def answer(
    problem: Problem, picks: Sequence[int] | None, bound: float = -np.inf, reason: str = ""
) -> Solution:
    """Make a solution of picks and a true bound; its status follows from both.

    Raises
    ------
    InternalError : the picks break a limit or are forbidden, or cost less than the bound
    """
    if picks is None:
        if bound == np.inf:
            return Solution(None, "infeasible", bound, np.inf)
        return Solution(None, "unknown", bound, np.inf, reason)
    chosen = tuple(int(pick) for pick in picks)
    price = problem.cost(chosen)
    cost = float(price.total_s)
    if not np.isfinite(cost) or problem.broken(chosen):
        raise InternalError("a solver returned picks that break a limit or are forbidden")
    slack = PRECISION * sum(abs(float(term.time_s)) for term in price.terms)
    if bound > cost + slack:
        raise InternalError(f"a solver claims a bound of {bound}, above its own picks at {cost}")
    bound = min(bound, cost)
    if bound >= cost - slack:
        return Solution(chosen, "optimal", bound, 0.0)
    gap = (cost - bound) / abs(cost) if cost else np.inf
    return Solution(chosen, "feasible", bound, gap, reason)
