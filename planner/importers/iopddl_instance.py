"""One instance of the contest on intra-operator parallelism, in arrays, and its exact price.

Whole numbers stay as they were written and are summed as such, so `price` and `peak` are exact.
Knows nothing of files and no solver.

Parts: `Instance`; `live_sets`, the largest sets of nodes alive at one time; `problem`, which says
the instance as decisions, couplings and limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Breakdown, Memory, Term
from planner.problem import Coupling, Decision, Limit, Problem

__all__ = ["INFINITE", "Instance", "Ints", "Numbers", "live_sets", "problem"]

INFINITE = 10**18
Ints = NDArray[np.int64]
Numbers = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of the contest, in arrays.

    Parameters
    ----------
    name         : as the file gives it
    sizes        : options of every node
    cost, usage  : of every option, node after node
    lo, hi       : times between which every node is alive, half-open
    first, second: the nodes of every edge
    edge_cost    : of every pair of options, edge after edge, rows of the first node
    limit        : None: no limit
    """

    name: str
    sizes: Ints
    cost: Numbers
    usage: Numbers
    lo: Numbers
    hi: Numbers
    first: Ints
    second: Ints
    edge_cost: Numbers
    limit: int | float | None

    @property
    def start(self) -> Ints:
        """Where the options of every node begin; one more at the end."""
        return np.concatenate(([0], np.cumsum(self.sizes)))

    @property
    def edge_start(self) -> Ints:
        """Where the costs of every edge begin; one more at the end."""
        return np.concatenate(([0], np.cumsum(self.sizes[self.first] * self.sizes[self.second])))

    @property
    def whole(self) -> bool:
        """Tell whether all costs are whole numbers."""
        return self.cost.dtype == np.int64 and self.edge_cost.dtype == np.int64

    def price(self, picks: Sequence[int]) -> int | float:
        """Cost of the picks, exact for integers; inf where one of them is forbidden."""
        chosen = np.asarray(picks, np.int64)
        nodes = self.cost[self.start[:-1] + chosen]
        at = chosen[self.first] * self.sizes[self.second] + chosen[self.second]
        edges = self.edge_cost[self.edge_start[:-1] + at]
        if bool(np.any(nodes >= INFINITE)) or bool(np.any(edges >= INFINITE)):
            return float("inf")
        total: int | float = sum(nodes.tolist()) + sum(edges.tolist())
        return total

    def peak(self, picks: Sequence[int]) -> int | float:
        """Return the most that the picks use at any time, exact for integers."""
        used = self.usage[self.start[:-1] + np.asarray(picks, np.int64)].tolist()
        change: dict[int | float, int | float] = {}
        for lo, hi, amount in zip(self.lo.tolist(), self.hi.tolist(), used, strict=True):
            if lo < hi and amount:
                change[lo] = change.get(lo, 0) + amount
                change[hi] = change.get(hi, 0) - amount
        most: int | float = 0
        now: int | float = 0
        for time in sorted(change):
            now += change[time]
            most = max(most, now)
        return most

    def allows(self, picks: Sequence[int]) -> bool:
        """Tell whether the picks keep the limit and none is forbidden."""
        kept = self.limit is None or self.peak(picks) <= self.limit
        return kept and self.price(picks) < float("inf")


def live_sets(lo: Numbers, hi: Numbers) -> tuple[Ints, Ints]:
    """Return, for each node, the half-open range of the largest live sets that it belongs to.

    A set alive at one time is largest where the next event after a start is an end: every other
    set is inside such a one. Nodes that never live have an empty range.
    """
    live = lo < hi
    times = np.concatenate((lo[live], hi[live]))
    starts = np.repeat([True, False], int(live.sum()))
    order = np.lexsort((starts, times))
    times, starts = times[order], starts[order]
    peaks = np.unique(times[:-1][starts[:-1] & ~starts[1:]])
    first = np.searchsorted(peaks, lo, "left")
    return first, np.where(live, np.searchsorted(peaks, hi, "left"), first)


def problem(instance: Instance) -> Problem:
    """Say the instance in the standard form, one `Limit` for each largest live set."""
    names = [tuple(map(str, range(n))) for n in range(int(instance.sizes.max(initial=0)) + 1)]
    cost, table = _forbidding(instance.cost), _forbidding(instance.edge_cost)
    usage, start = instance.usage.astype(float), instance.start
    decisions = tuple(
        Decision(
            str(node),
            names[end - at],
            Breakdown(
                (Term("node", "other", cost[at:end], "file"),),
                (Memory("usage", "usage", usage[at:end], "file"),),
            ),
        )
        for node, (at, end) in enumerate(zip(start[:-1].tolist(), start[1:].tolist(), strict=True))
    )
    couplings = tuple(
        Coupling(i, j, Breakdown((Term("edge", "other", own.reshape(len(names[m]), -1), "file"),)))
        for i, j, m, own in zip(
            instance.first.tolist(),
            instance.second.tolist(),
            instance.sizes[instance.first].tolist(),
            np.split(table, instance.edge_start[1:-1]),
            strict=False,
        )
    )
    return Problem(decisions, couplings, _limits(instance))


def _forbidding(cost: Numbers) -> NDArray[np.float64]:
    return np.where(cost >= INFINITE, np.inf, cost.astype(float))


def _limits(instance: Instance) -> tuple[Limit, ...]:
    """Limits over the nodes that can use anything, by live set."""
    if instance.limit is None:
        return ()
    used = instance.usage[:0]
    if instance.sizes.size:
        used = np.maximum.reduceat(instance.usage, instance.start[:-1])
    users = np.flatnonzero(used > 0)
    first, end = live_sets(instance.lo[users], instance.hi[users])
    which = np.repeat(np.arange(users.size), end - first)
    offset = np.arange(which.size) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
    row = first[which] + offset
    order = np.argsort(row, kind="stable")
    members = np.split(users[which[order]], np.cumsum(np.bincount(row))[:-1]) if row.size else []
    return tuple(
        Limit(f"live set {n}", "usage", tuple(own.tolist()), float(instance.limit))
        for n, own in enumerate(members)
    )
