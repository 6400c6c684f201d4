"""Runs of items to groups under a threshold on the slowest, and the threshold searched.

What runs of items cost is given as tables, whoever priced them. For a threshold T, f(T) is the
least sum of costs when no group's load exceeds T: a dynamic program over groups and states. f
never rises with T, and only loads that some run has matter as T. So between two such loads a < b
the objective is at least f(b) + weight a; halving the stretch with the least such bound until
none is below the best proves it optimal.

Knows states, rows and figures; no items and no problem.

Parts: `Tables`, `Chosen`, `Search`.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["EQUAL", "Chosen", "Search", "Tables"]

EQUAL = 1e-12
"""Objectives that differ by less than this share are the same."""
MOST_SOLVES = 2000
"""Thresholds tried at most."""

Figures = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Tables:
    """What runs cost, and which runs lead from state to state.

    Parameters
    ----------
    start  : first row of every key (a kind of run); rows of a key are the ways to take it
    cost   : (rows, groups) cost of a row as a group's run; inf: not allowed there
    load   : (rows, groups) load that it puts on the group
    before : (states, arcs) state that an arc into a state comes from; the first state is the
             start, the last one the end
    key    : (states, arcs) key of the run that it takes; -1: no arc
    floor  : the slowest load is never less
    opening : states and arcs of the runs that may come first
    """

    start: Index
    cost: Figures
    load: Figures
    before: Index
    key: Index
    floor: float = -np.inf
    opening: tuple[Index, Index] = field(init=False)

    def __post_init__(self) -> None:
        """Find the runs that may come first."""
        first = np.nonzero((self.before == 0) & (self.key >= 0))
        object.__setattr__(self, "opening", (first[0], first[1]))

    @property
    def groups(self) -> int:
        """Groups that take a run each, in order."""
        return int(self.cost.shape[1])


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run for every group: sum of costs, slowest load, and each group's key and row."""

    cost: float
    load: float
    keys: tuple[int, ...]
    rows: tuple[int, ...]


class Search:
    """A parametric search: the best choice found so far, and how many thresholds were tried.

    Parameters
    ----------
    weight   : of the slowest load
    deadline : `time.monotonic()` at which to stop
    accept   : may refuse a choice (a limit that holds in tables but not outside, by rounding)
    """

    def __init__(
        self,
        weight: float,
        deadline: float = np.inf,
        accept: Callable[[Tables, Chosen], bool] | None = None,
    ) -> None:
        self.weight, self.deadline, self.accept = weight, deadline, accept
        self.best: Chosen | None = None
        self.objective = np.inf
        self.seen: list[Chosen] = []
        self.reason = ""
        self.solves = 0

    def over(self) -> bool:
        """Tell whether the work or the time allowed is spent."""
        if self.solves > MOST_SOLVES:
            self.reason = "too many thresholds"
        if time.monotonic() > self.deadline:
            self.reason = "time limit"
        return bool(self.reason)

    def descend(self, tables: Tables, low: float, high: float, enough: float = np.inf) -> float:
        """Search all thresholds from `low` to `high`; better `best` where there is better.

        Parameters
        ----------
        enough : objectives from here on are of no interest

        Returns
        -------
        bound : no choice whose slowest load is within `high` has a lower objective; inf: none is
        """
        inside = np.isfinite(tables.cost) & (tables.load >= low) & (tables.load <= high)
        loads = np.unique(tables.load[inside])
        found = self.under(tables, high)
        if found is None or not len(loads):
            return np.inf
        stretches: list[tuple[float, int, int, float]] = []

        def leave(first: int, last: int, cost: float) -> None:
            """Keep the stretch of loads first .. last, of which f(last) is `cost` at least."""
            if first <= last:
                bound = cost + self.weight * float(loads[first])
                heapq.heappush(stretches, (bound, first, last, cost))

        leave(0, int(np.searchsorted(loads, found.load)) - 1, found.cost)
        while stretches:
            bound, first, last, cost = heapq.heappop(stretches)
            target = min(self.objective, enough)
            if bound >= target - EQUAL * abs(target) or self.over():
                return min(bound, self.objective)
            middle = (first + last) // 2
            found = self.under(tables, float(loads[middle]))
            leave(middle + 1, last, cost)
            if found is not None:
                leave(first, int(np.searchsorted(loads, found.load)) - 1, found.cost)
        return self.objective

    def under(self, tables: Tables, threshold: float) -> Chosen | None:
        """Return the best choice whose loads stay within a threshold; remember the best of all."""
        self.solves += 1
        cost = np.where(tables.load <= threshold, tables.cost, np.inf)
        least = np.minimum.reduceat(cost, tables.start, axis=0)
        least = np.concatenate([least, np.full((1, least.shape[1]), np.inf)])  # key -1
        reached, arcs = _opened(tables, least[:, 0])
        states = np.arange(len(tables.key))
        for group in range(1, tables.groups):
            rows = states if group < tables.groups - 1 else states[-1:]  # all of it is dealt then
            total = reached[tables.before[rows]] + least[tables.key[rows], group]
            arc = np.argmin(total, axis=1)
            reached = total[np.arange(len(rows)), arc]
            arcs.append(np.broadcast_to(arc, len(states)) if len(rows) < len(states) else arc)
        if reached[-1] == np.inf:
            return None
        found = _traced(tables, cost, arcs, float(reached[-1]))
        objective = found.cost + self.weight * found.load
        if objective < self.objective and (self.accept is None or self.accept(tables, found)):
            self.best, self.objective = found, objective
        self.seen.append(found)
        return found


def _opened(tables: Tables, least: Figures) -> tuple[Figures, list[Index]]:
    """Cost of every state behind the first group, which starts where nothing is dealt."""
    state, arc = tables.opening
    cost = least[tables.key[state, arc]]
    order = np.lexsort((-arc, -cost))  # the cheapest is written last, the first arc of equals
    reached = np.full(len(tables.key), np.inf)
    arcs = np.zeros(len(tables.key), np.intp)
    reached[state[order]], arcs[state[order]] = cost[order], arc[order]
    return reached, [arcs]


def _traced(tables: Tables, cost: Figures, arcs: list[Index], total: float) -> Chosen:
    """Follow the arcs back: the key and the row of every group."""
    state, keys, rows = len(tables.key) - 1, [0] * len(arcs), [0] * len(arcs)
    stops = np.append(tables.start[1:], len(cost))
    slowest = tables.floor
    for group in range(len(arcs) - 1, -1, -1):
        arc = int(arcs[group][state])
        key = int(tables.key[state, arc])
        first = int(tables.start[key])
        row = first + int(np.argmin(cost[first : stops[key], group]))
        keys[group], rows[group] = key, row
        state = int(tables.before[state, arc])
        slowest = max(slowest, float(tables.load[row, group]))
    return Chosen(total, slowest, tuple(keys), tuple(rows))
