"""Labels of the elimination: how they are joined, closed, and dropped.

A label is a cost and what it has used of the gauges that have members on both sides; a message is
the labels that are left of the decisions that went, by the picks of the decisions that they touch.
Labels go when they break a limit, when another beats them in everything (`frontier`), and, under a
`Guide`, when no completion of theirs can cost as little as is wanted.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.search.frontier import undominated
from planner.search.gauges import Gauges
from planner.search.min_sum import Marginals
from planner.search.tables import Tables

__all__ = ["Guide", "Labels", "TooLarge", "join", "settle"]

Rows = NDArray[np.intp]


class TooLarge(Exception):
    """Tables, labels or seconds are spent; its text says which."""


ROUNDING = 1e-12
"""Share of a gauge by which sums of floats in another order may differ."""


@dataclass
class Labels:
    """Labels of a table while it is made, and of a message once it is.

    Parameters
    ----------
    scope   : decisions that the labels depend on; first: rows of key k are first[k]:first[k+1]
    key     : number of the picks of the scope, of every row
    cost    : of every row
    columns : what `used` holds: gauge g as g, the peak of bottleneck b as -1 - b
    counted : of every gauge or peak, members or groups counted in, and the most that they use
    parents : messages that a row is made of, with their rows; option of the decision that went
    closed  : gauges all of whose members are counted
    """

    scope: tuple[int, ...]
    key: Rows
    cost: Column
    columns: list[int]
    used: Column
    counted: dict[int, tuple[int, float]] = field(default_factory=dict)
    parents: list[tuple["Labels", Rows]] = field(default_factory=list)
    decision: int = -1
    closed: set[int] = field(default_factory=set)
    option: Rows = field(default_factory=lambda: np.zeros(0, np.intp))
    first: Rows = field(default_factory=lambda: np.zeros(0, np.intp))

    def take(self, rows: Rows) -> None:
        """Keep the given rows, in that order."""
        self.key, self.cost, self.used = self.key[rows], self.cost[rows], self.used[rows]
        self.parents = [(message, own[rows]) for message, own in self.parents]
        self.option = self.option[rows]

    def count(self, column: int, members: int, most: float) -> None:
        """Say that more members of a gauge, or groups of a peak, are counted in."""
        before = self.counted.get(column, (0, 0.0))
        self.counted[column] = (before[0] + members, before[1] + most)

    def gauge(self, column: int) -> int:
        """Return where a gauge or peak stands in `used`, which grows if need be."""
        if column not in self.columns:
            self.columns.append(column)
            start = -np.inf if column < 0 else 0.0
            self.used = np.hstack([self.used, np.full((len(self.cost), 1), start)])
        return self.columns.index(column)


@dataclass(frozen=True, slots=True)
class Guide:
    """Bounds by prices on the gauges (`prices`), for labels that can end within a target.

    Parameters
    ----------
    prices : of every gauge
    found  : the priced problem's least costs, by decision
    shift  : what they lack to be bounds
    target : labels that cannot end at or below this are dropped
    """

    prices: Column
    found: Marginals
    shift: float
    target: float

    def bound(self, gauges: Gauges, labels: "Labels") -> Column:
        """Return a cost that no completion of a label is below (weak duality).

        A gauge that is closed needs no price; a bottleneck whose peak is known counts it with the
        share of its weight that the groups still open do not hold.
        """
        bound = labels.cost + self.found.outside[labels.decision].reshape(-1)[labels.key]
        free = [peak.weight for peak in gauges.peaks]
        for at, gauge in enumerate(gauges.gauges):
            if at not in labels.closed:
                bound = bound - self.prices[at] * gauge.room
                if gauge.peak >= 0:
                    free[gauge.peak] -= self.prices[at]
        for at, peak in enumerate(gauges.peaks):
            if -1 - at not in labels.closed:
                bound = bound + peak.weight * peak.floor
        for here, column in enumerate(labels.columns):
            used = labels.used[:, here]
            if column >= 0:
                bound = bound + self.prices[column] * used
            else:
                floor = gauges.peaks[-1 - column].floor
                bound = bound + max(free[-1 - column], 0.0) * np.maximum(used - floor, 0.0)
        return bound


def join(tables: Tables, gauges: Gauges, labels: Labels, message: Labels, most: int) -> None:
    """Combine every label with every label of a message that picks the same.

    Raises
    ------
    TooLarge : that makes more than `most` labels
    """
    at = np.zeros(len(labels.key), np.intp)
    stride, left = 1, labels.key
    digits: dict[int, Rows] = {}
    for decision in reversed(labels.scope):
        left, digits[decision] = np.divmod(left, int(tables.sizes[decision]))
    for decision in reversed(message.scope):
        at += stride * digits[decision]
        stride *= int(tables.sizes[decision])
    start = message.first[at]
    times = message.first[at + 1] - start
    total = int(times.sum())
    if total > most:
        raise TooLarge(f"a table of more than {most} labels")
    mine = np.repeat(np.arange(len(times)), times)
    theirs = np.arange(total) + np.repeat(start - np.cumsum(times) + times, times)
    labels.take(mine)
    labels.cost = labels.cost + message.cost[theirs]
    for column, amount in zip(message.columns, message.used.T, strict=True):
        here = labels.gauge(column)
        join = np.maximum if column < 0 else np.add
        labels.used[:, here] = join(labels.used[:, here], amount[theirs])
    for column, (members, used) in message.counted.items():
        labels.count(column, members, used)
    labels.parents.append((message, theirs))
    labels.closed |= message.closed
    if len(labels.parents) > 1 and message.columns:
        _drop(gauges, labels)


def _drop(gauges: Gauges, labels: Labels) -> None:
    """Drop the labels that break a limit and those that others beat."""
    kept = np.ones(len(labels.cost), bool)
    for here, column in enumerate(labels.columns):
        used = labels.used[:, here]
        if column < 0:
            np.maximum(used, gauges.peaks[-1 - column].floor, out=used)
            continue
        gauge = gauges.gauges[column]
        if gauge.peak < 0:
            kept &= used <= gauge.room
        left = gauge.most - labels.counted[column][1]
        harmless = gauge.room - left - ROUNDING * (gauge.most + abs(gauge.room))
        np.maximum(used, harmless, out=used)
    labels.take(np.flatnonzero(kept))
    labels.take(undominated(labels.key, labels.cost, labels.used))


def settle(tables: Tables, gauges: Gauges, labels: Labels, guide: Guide | None = None) -> Labels:
    """Close the gauges whose members are all counted, drop what can be, index by key."""
    for column in [c for c in labels.columns if c >= 0]:
        gauge = gauges.gauges[column]
        if labels.counted[column][0] == len(gauge.members):
            used = labels.used[:, labels.columns.index(column)]
            if gauge.peak < 0:
                labels.take(np.flatnonzero(used <= gauge.room))
            else:
                here = labels.gauge(-1 - gauge.peak)
                np.maximum(labels.used[:, here], gauge.start + used, out=labels.used[:, here])
                labels.count(-1 - gauge.peak, 1, 0.0)
            _close(labels, column)
    for column in [c for c in labels.columns if c < 0]:
        peak = gauges.peaks[-1 - column]
        if labels.counted[column][0] == peak.groups:
            used = labels.used[:, labels.columns.index(column)]
            labels.cost = labels.cost + peak.weight * np.maximum(used, peak.floor)
            _close(labels, column)
    if guide is not None and labels.decision >= 0:
        labels.take(np.flatnonzero(guide.bound(gauges, labels) <= guide.target))
    _drop(gauges, labels)
    keys = int(np.prod([tables.sizes[d] for d in labels.scope], dtype=np.intp))
    labels.first = np.searchsorted(labels.key, np.arange(keys + 1))
    return labels


def _close(labels: Labels, column: int) -> None:
    """Stop carrying a gauge or a peak."""
    at = labels.columns.index(column)
    labels.used = np.delete(labels.used, at, axis=1)
    labels.closed.add(column)
    del labels.columns[at], labels.counted[column]
