"""The best sharding of an operator graph on a mesh: the problem, solved and priced.

Puts together what does not know the other: `sharding` makes the problem, `search` solves it. The
price is the problem's own cost of the picks; bound, gap and status are the solution's.

A device must hold what is kept, which the problem's limit counts, and for a moment what an
operator works on, the largest of all operators: no sum, so no limit. It is branched on: of picks
that work on more than `low` and at most `high` bytes, no option works on more than `high`, and
what they keep leaves `low` free. Each such range is solved so, which bounds it from below; the
range of the least bound is cut until its best picks fit.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Breakdown, Term
from costmodels.units import Column
from planner.problem import Coupling, Problem
from planner.search import portfolio
from planner.search.solution import Solution, answer
from planner.sharding.problem import ShardingProblem
from planner.sharding.words import sharding_of
from planner.sharding.working import gathers, working_bytes, works_on

__all__ = ["Searched", "search"]

MOST_RANGES = 12
"""Ranges of bytes at work that are solved."""
CLOSE = 2e-3
"""A gap at which ranges are no longer cut."""


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
    """Find the least seconds of a step within the memory limit, work space included.

    Parameters
    ----------
    time_limit_s : of each solve; without one, work is limited by counts
    """
    problem = made.problem
    branch = _Branch(made, works_on(made), gathers(made), time_limit_s)
    least = max((float(held.min()) for held in branch.activations.values()), default=0.0)
    ranges: list[_Range] = [(-np.inf, least, np.inf)]
    for _ in range(MOST_RANGES):
        if not ranges or ranges[0][0] >= branch.cost * (1.0 - CLOSE):
            break
        for one in branch.solve(heapq.heappop(ranges)):
            heapq.heappush(ranges, one)
    picks = branch.picks
    bound = min([branch.closed, branch.cost, *(one[0] for one in ranges)])
    if picks is None:
        return Searched(made, answer(problem, None, bound, branch.reason), None, 0.0, {})
    solution = answer(problem, picks, bound, branch.reason)
    working = working_bytes(made, picks)
    return Searched(made, solution, problem.cost(picks), working, sharding_of(made, picks))


_Range = tuple[float, float, float]
"""A bound on the seconds of picks that work on more than `low` and at most `high` bytes."""


@dataclass
class _Branch:
    """The best picks so far, and the least bound of the ranges that need no further cut."""

    made: ShardingProblem
    activations: Mapping[int, Column]
    gathers: Sequence[tuple[int, int, Column]]
    time_limit_s: float | None
    picks: tuple[int, ...] | None = None
    cost: float = np.inf
    closed: float = np.inf
    reason: str = ""

    def solve(self, one: _Range) -> tuple[_Range, ...]:
        """Solve a range; return the ranges that it is cut into where its best do not fit."""
        bound, low, high = one
        found = self._solved(low, high)
        bound = max(bound, found.bound)
        if found.picks is None or self._offer(found.picks):
            self.closed = min(self.closed, bound)
            self.reason = found.reason or self.reason
            return ()
        working = working_bytes(self.made, found.picks)
        tight = self._solved(working, working)
        if tight.picks is not None:
            self._offer(tight.picks)
        middle = 0.5 * (low + min(working, high))
        self.reason = "bytes at work are narrowed down to ranges"
        return (bound, low, middle), (bound, middle, high)

    def _solved(self, low: float, high: float) -> Solution:
        problem = self.made.problem
        if problem.limits:
            problem = self._within(low, high)
        return portfolio.solve(problem, time_limit_s=self.time_limit_s)

    def _within(self, low: float, high: float) -> Problem:
        """Forbid options, and ways to store what they read, that work on more than `high`."""
        problem = self.made.problem
        decisions = list(problem.decisions)
        for d, held in self.activations.items():
            if (held > high).any():
                cost = decisions[d].cost + _forbidden(held > high)
                decisions[d] = replace(decisions[d], cost=cost)
        more = [
            Coupling(first, second, _forbidden(table + self.activations[second] > high))
            for first, second, table in self.gathers
            if (table + self.activations[second] > high).any()
        ]
        limits = tuple(replace(x, capacity=x.capacity - low) for x in problem.limits)
        couplings = (*problem.couplings, *more)
        return replace(problem, decisions=tuple(decisions), couplings=couplings, limits=limits)

    def _offer(self, picks: tuple[int, ...]) -> bool:
        """Take picks that fit; tell whether they do."""
        problem = self.made.problem
        working = working_bytes(self.made, picks)
        if any(problem.used(x, picks) + working > x.capacity for x in problem.limits):
            return False
        cost = float(problem.cost(picks).total_s)
        if cost < self.cost:
            self.picks, self.cost = picks, cost
        return True


def _forbidden(where: NDArray[np.bool_]) -> Breakdown:
    return Breakdown((Term("works on too much", "other", np.where(where, np.inf, 0.0), "range"),))
