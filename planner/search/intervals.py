"""Items of one sequence to groups, exactly: layers to pipeline stages, each with its options.

    minimise   sum of costs + weight max over groups of their load
    subject to groups contiguous and in order, limits within a group

A parametric search on the slowest group. For a threshold T, f(T) is the least sum of costs when no
group's load exceeds T: a dynamic program over groups and ends of intervals. f never rises with T,
and only loads that some interval has matter as T. So between two such loads a < b the objective
is at least f(b) + weight a, and halving the stretch with the least such bound until none is below
the best picks proves them optimal. Folds items that are equal, so a hundred alike layers cost no
more than the few ways to deal the options to an interval's count of them.

Knows intervals and figures; no layers, no stages, no bytes.

Parts: `solve`.
"""

import heapq
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.problem import Problem
from planner.search.interval_tables import Fold, TooLarge, Ways, fold, ways
from planner.search.solution import Solution, answer

__all__ = ["NAME", "solve"]

NAME = "intervals"
GROWTH, STEPS = 1.25, 64.0
"""Factor between thresholds tried until one is feasible; the first is at least the most a group
may bear over `STEPS`."""
EQUAL = 1e-12
"""Objectives that differ by less than this share are the same."""
MOST_SOLVES = 2000
"""Thresholds tried at most."""

Figures = NDArray[np.float64]


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Solve a problem whose decisions are all items of one sequence; others come back `unknown`.

    Couplings, limits and loads that touch several groups, and more than one bottleneck are not
    of this form. The seed is not used.
    """
    folded = fold(problem)
    if isinstance(folded, str):
        return answer(problem, None, reason=folded)
    if any(limit.capacity < 0.0 for limit in problem.limits):
        return answer(problem, None, np.inf)
    deadline = np.inf if time_limit_s is None else time.monotonic() + time_limit_s
    search = _Search(problem, folded, deadline)
    bound = search.run()
    base = float(problem.base.total_s)
    return answer(problem, search.picks, base + bound, search.reason)


@dataclass(frozen=True, slots=True)
class _Found:
    """The best picks under a threshold: sum of costs, slowest load, ends and rows by group."""

    cost: float
    load: float
    keys: tuple[int, ...]
    rows: tuple[int, ...]


class _Search:
    """A parametric search in progress."""

    def __init__(self, problem: Problem, folded: Fold, deadline: float) -> None:
        self.problem, self.folded, self.deadline = problem, folded, deadline
        self.weight = sum(b.weight for b in problem.bottlenecks)
        self.empty = problem.sequences[0].empty
        self.best: _Found | None = None
        self.objective = np.inf
        self.picks: tuple[int, ...] | None = None
        self.reason = ""
        self.solves = 0

    def run(self) -> float:
        """Search; return a true bound of the objective without the base."""
        least = self._least_cost()
        if least == np.inf:
            return np.inf
        low, top = self._loads()
        try:
            tables, threshold = self._first(low, top)
        except TooLarge:
            self.reason = "too many ways to pick"
            return least + self.weight * low
        if self.best is None:
            return np.inf if not self.reason else least + self.weight * low
        needed = top
        if self.weight > 0.0:
            needed = min(top, (self.objective - least) / self.weight)
        if needed > threshold:
            try:
                tables, threshold = ways(self.folded, needed), needed
            except TooLarge:
                self.reason = "too many ways to pick"
        beyond = least + self.weight * threshold if threshold < needed else np.inf
        return min(self._descend(tables, low, threshold), beyond, self.objective)

    def _least_cost(self) -> float:
        """Sum of the least costs of the items, each by itself."""
        least = self.folded.figures[:, :, :, 0].min(axis=(1, 2))
        return float(least[self.folded.classes].sum())

    def _loads(self) -> tuple[float, float]:
        """Return a load that some group has at least, and one that none exceeds."""
        folded = self.folded
        loads = folded.figures[:, :, :, 1 : 1 + folded.loads]
        allowed = np.isfinite(folded.figures[:, :, :, 0])
        lightest = np.where(allowed, loads.sum(axis=3), np.inf).min(axis=(1, 2))[folded.classes]
        base = folded.base
        even = (lightest.sum() + base.sum()) / base.size
        most = np.where(allowed[..., None], loads, 0.0).max(axis=(1, 2, 3))[folded.classes].sum()
        low = max(float(base.max()), folded.floor, float(even))
        return low, max(low, float(most + base.max())) * (1.0 + EQUAL)

    def _first(self, low: float, top: float) -> tuple[Ways, float]:
        """Raise the threshold until there are picks; `best` stays None where there are none."""
        threshold = min(top, max(low, top / STEPS) * GROWTH) if self.weight > 0.0 else top
        while True:
            tables = ways(self.folded, threshold)
            found = self._under(tables, threshold)
            if found is not None or threshold >= top:
                return tables, threshold
            if self._over():
                return tables, threshold
            threshold = min(top, threshold * GROWTH)

    def _over(self) -> bool:
        """Tell whether the work or the time allowed is spent."""
        if self.solves > MOST_SOLVES:
            self.reason = "too many thresholds"
        if time.monotonic() > self.deadline:
            self.reason = "time limit"
        return bool(self.reason)

    def _descend(self, tables: Ways, low: float, threshold: float) -> float:
        """Prove `best`, or better it: halve the stretch of loads with the least bound."""
        inside = np.isfinite(tables.cost) & (tables.load >= low) & (tables.load <= threshold)
        loads = np.unique(tables.load[inside])
        found = self._under(tables, threshold)
        if found is None or not len(loads):
            return np.inf
        stretches: list[tuple[float, int, int, float]] = []

        def leave(first: int, last: int, cost: float) -> None:
            """Keep the stretch of loads first .. last, of which `cost` is f(last) at least."""
            if first <= last:
                heapq.heappush(
                    stretches, (cost + self.weight * float(loads[first]), first, last, cost)
                )

        leave(0, int(np.searchsorted(loads, found.load)) - 1, found.cost)
        while stretches:
            bound, first, last, cost = heapq.heappop(stretches)
            if bound >= self.objective - EQUAL * abs(self.objective):
                return bound
            if self._over():
                return bound
            middle = (first + last) // 2
            found = self._under(tables, float(loads[middle]))
            leave(middle + 1, last, cost)
            if found is not None:
                leave(first, int(np.searchsorted(loads, found.load)) - 1, found.cost)
        return np.inf

    def _under(self, tables: Ways, threshold: float) -> _Found | None:
        """Return the best picks whose loads stay within a threshold; remember the best of all."""
        self.solves += 1
        cost = np.where(tables.load <= threshold, tables.cost, np.inf)
        least = np.minimum.reduceat(cost, tables.start, axis=0)
        least = np.concatenate([least, np.full((1, least.shape[1]), np.inf)])
        by_end = (
            tables.by_end
            if self.empty
            else np.where(np.arange(tables.by_end.shape[1]) > 0, tables.by_end, -1)
        )
        items, longest = by_end.shape[0] - 1, by_end.shape[1] - 1
        before = np.maximum(np.arange(items + 1)[:, None] - np.arange(longest + 1), 0)
        reached = np.full(items + 1, np.inf)
        reached[0] = 0.0
        chosen = []
        for group in range(self.folded.groups):
            total = reached[before] + least[by_end, group]
            length = np.argmin(total, axis=1)
            reached = total[np.arange(items + 1), length]
            chosen.append(length)
        if reached[-1] == np.inf:
            return None
        found = self._traced(tables, cost, chosen, float(reached[-1]))
        if found.cost + self.weight * found.load < self.objective:
            self._keep(tables, found)
        return found

    def _traced(
        self, tables: Ways, cost: Figures, chosen: list[NDArray[np.intp]], total: float
    ) -> _Found:
        """Follow the choices back: the key and the row of every group."""
        end, keys, rows = len(self.folded.classes), [0] * len(chosen), [0] * len(chosen)
        stops = np.append(tables.start[1:], len(cost))
        slowest = self.folded.floor
        for group in range(len(chosen) - 1, -1, -1):
            length = int(chosen[group][end])
            key = int(tables.by_end[end, length])
            row = int(tables.start[key] + np.argmin(cost[tables.start[key] : stops[key], group]))
            keys[group], rows[group], end = key, row, end - length
            slowest = max(slowest, float(tables.load[row, group]))
        return _Found(total, slowest, tuple(keys), tuple(rows))

    def _keep(self, tables: Ways, found: _Found) -> None:
        """Turn rows into picks: equal items of a group take its ways in order."""
        picks = [0] * len(self.problem.decisions)
        items = iter(self.problem.sequences[0].items)
        classes = iter(self.folded.classes)
        for group, (key, row) in enumerate(zip(found.keys, found.rows, strict=True)):
            picked = tables.picked(row, key)
            waiting: dict[int, list[int]] = {}
            for one, way in picked:
                waiting.setdefault(one, []).append(way)
            for _ in picked:
                item, one = next(items), int(next(classes))
                picks[item] = int(self.folded.option[one, group, waiting[one].pop()])
        if self.problem.broken(tuple(picks)):
            self.reason = "a limit holds in tables and not in the problem, by rounding"
            return
        self.best, self.picks = found, tuple(picks)
        self.objective = found.cost + self.weight * found.load
