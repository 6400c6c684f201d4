"""Items of one sequence to groups, exactly: layers to pipeline stages, each with its options.

    minimise   sum of costs + weight max over groups of their load
    subject to groups contiguous and in order, limits within a group

A parametric search on the slowest group over a dynamic program on intervals
(`interval_search`). Folds items that are equal (`interval_tables`), so a hundred alike layers
cost no more than the few ways to deal the options to an interval's count of them. Proves what it
finds; knows no layers, no stages, no bytes.

Parts: `solve`.
"""

import time

import numpy as np

from planner.problem import Problem
from planner.search.interval_search import EQUAL, Chosen, Search, Tables
from planner.search.interval_tables import Fold, TooLarge, Ways, fold, ways
from planner.search.solution import Solution, answer

__all__ = ["NAME", "solve"]

NAME = "intervals"
GROWTH, STEPS = 1.25, 64.0
"""Factor between thresholds tried until one is feasible; the first is at least the most that a
group may bear over `STEPS`."""


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


class _Search:
    """The search of one problem: thresholds are raised until there are picks, then proved."""

    def __init__(self, problem: Problem, folded: Fold, deadline: float) -> None:
        self.problem, self.folded = problem, folded
        self.picks: tuple[int, ...] | None = None
        self.made: Ways | None = None
        weight = sum(b.weight for b in problem.bottlenecks)
        self.search = Search(weight, deadline, self._keep)

    @property
    def reason(self) -> str:
        """Why nothing was found or proved."""
        return self.search.reason

    def run(self) -> float:
        """Search; return a true bound of the objective without the base."""
        least = self._least_cost()
        if least == np.inf:
            return np.inf
        search, weight = self.search, self.search.weight
        low, top = self._loads()
        try:
            threshold = self._first(low, top)
        except TooLarge:
            search.reason = "too many ways to pick"
            return least + weight * low
        if search.best is None:
            return np.inf if not search.reason else least + weight * low
        needed = top if weight == 0.0 else min(top, (search.objective - least) / weight)
        if needed > threshold:
            try:
                self._make(needed)
                threshold = needed
            except TooLarge:
                search.reason = "too many ways to pick"
        beyond = least + weight * threshold if threshold < needed else np.inf
        return min(search.descend(self._tables(), low, threshold), beyond, search.objective)

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

    def _first(self, low: float, top: float) -> float:
        """Raise the threshold until there are picks, and return it."""
        threshold = top
        if self.search.weight > 0.0:
            threshold = min(top, max(low, top / STEPS) * GROWTH)
        while True:
            self._make(threshold)
            found = self.search.under(self._tables(), threshold)
            if found is not None or threshold >= top or self.search.over():
                return threshold
            threshold = min(top, threshold * GROWTH)

    def _make(self, threshold: float) -> None:
        self.made = ways(self.folded, threshold)

    def _tables(self) -> Tables:
        """Return the ways as tables: states are ends of intervals, arcs their lengths."""
        made = self.made
        assert made is not None
        lengths = np.arange(made.by_end.shape[1])
        key = made.by_end if self.problem.sequences[0].empty else made.by_end.copy()
        if not self.problem.sequences[0].empty:
            key[:, 0] = -1
        before = np.maximum(np.arange(len(key))[:, None] - lengths, 0)
        return Tables(made.start, made.cost, made.load, before, key, self.folded.floor)

    def _keep(self, tables: Tables, found: Chosen) -> bool:
        """Turn rows into picks: equal items of a group take its ways in order."""
        made = self.made
        assert made is not None
        picks = [0] * len(self.problem.decisions)
        items = iter(self.problem.sequences[0].items)
        classes = iter(self.folded.classes)
        for group, (key, row) in enumerate(zip(found.keys, found.rows, strict=True)):
            picked = made.picked(row, key)
            waiting: dict[int, list[int]] = {}
            for one, way in picked:
                waiting.setdefault(one, []).append(way)
            for _ in picked:
                item, one = next(items), int(next(classes))
                picks[item] = int(self.folded.option[one, group, waiting[one].pop()])
        if self.problem.broken(tuple(picks)):
            self.search.reason = "a limit holds in tables and not in the problem, by rounding"
            return False
        self.picks = tuple(picks)
        return True
