"""Exact dynamic programming over a tree decomposition of the decision graph.

Decisions go one by one (`order`): a decision's table spans the decisions that it is coupled with;
its best options, for each way to pick those, are all that the rest needs to know. What limits and
bottlenecks need is carried along: a label is a cost, the usage of every limit that has members on
both sides, the load of every such group, and the largest load of groups that are complete. Labels
that another beats in everything are dropped (`frontier`), so the answer is exact.

Where tables or labels would be too many it says so and proves nothing. Parts: `Message` (what is
left of the decisions that went), the join of messages, `solve`.

Source: Bertele and Brioschi, Nonserial Dynamic Programming, 1972; Dechter, Bucket elimination,
Artificial Intelligence 113, 1999; labels as in resource-constrained shortest paths.
"""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.problem import Problem
from planner.search.frontier import undominated
from planner.search.gauges import Gauges, gauges_of
from planner.search.order import Order, greedy
from planner.search.solution import Solution, answer
from planner.search.tables import Tables, lower

__all__ = ["MOST_ENTRIES", "MOST_LABELS", "MOST_WORK", "NAME", "solve"]

NAME = "elimination"
MOST_ENTRIES = 4e6
"""Entries of one table."""
MOST_LABELS = 300_000
"""Labels of one table."""
MOST_WORK = 5e6
"""Labels of all tables together."""
SLACK = 1e-12
"""A limit is kept if sums of floats in another order could keep it."""

Rows = NDArray[np.intp]


class _TooLarge(Exception):
    """Tables, labels or seconds are spent; its text says which."""


@dataclass
class _Labels:
    """Labels of a table while it is made, and of a message once it is.

    Parameters
    ----------
    scope   : decisions that the labels depend on; first: rows of key k are first[k]:first[k+1]
    key     : number of the picks of the scope, of every row
    cost    : of every row
    columns : what `used` holds: gauge g as g, the peak of bottleneck b as -1 - b
    counted : of every gauge or peak, members or groups counted in, and the most that they use
    parents : messages that a row is made of, with their rows; option of the decision that went
    """

    scope: tuple[int, ...]
    key: Rows
    cost: Column
    columns: list[int]
    used: Column
    counted: dict[int, tuple[int, float]] = field(default_factory=dict)
    parents: list[tuple["_Labels", Rows]] = field(default_factory=list)
    decision: int = -1
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


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Eliminate every decision; exact, or unknown with the reason. The seed is not used."""
    deadline = np.inf if time_limit_s is None else time.monotonic() + time_limit_s
    tables = lower(problem)
    if tables.least() == np.inf:
        return answer(problem, None, np.inf)
    order = greedy(tables.sizes, tables.pairs, MOST_ENTRIES)
    if order is None:
        return answer(problem, None, reason=f"a table of more than {MOST_ENTRIES:.0f} entries")
    try:
        bound, picks = _eliminate(tables, order, SLACK, deadline)
        if picks is not None and problem.broken(picks):
            _, picks = _eliminate(tables, order, -SLACK, deadline)
    except _TooLarge as reason:
        return answer(problem, None, reason=str(reason))
    return answer(problem, picks, bound, "a limit is reached up to rounding")


def _eliminate(
    tables: Tables, order: Order, slack: float, deadline: float
) -> tuple[float, tuple[int, ...] | None]:
    """Return the least cost and its picks; infinite and None where nothing is allowed."""
    gauges = gauges_of(tables, slack)
    if gauges.hopeless:
        return np.inf, None
    waiting: dict[int, list[_Labels]] = {}
    place = {d: at for at, d in enumerate(order.decisions)}
    couplings = _by_first_to_go(tables, place)
    work = 0
    for decision, bag in zip(order.decisions, order.bags, strict=True):
        labels = _table(tables, decision, bag, couplings.get(decision, []))
        for message in sorted(waiting.pop(decision, []), key=lambda m: len(m.cost)):
            _join(tables, gauges, labels, message)
        for at in gauges.of.get(decision, ()):
            usage = gauges.gauges[at].members[decision]
            here = labels.gauge(at)
            labels.used[:, here] += usage[labels.option]
            labels.count(at, 1, float(usage.max()))
        labels.key = labels.key // int(tables.sizes[decision])
        labels.scope = bag
        message = _settled(tables, gauges, labels)
        work += len(message.cost)
        if work > MOST_WORK or time.monotonic() > deadline:
            raise _TooLarge("too many labels in all" if work > MOST_WORK else "time limit")
        waiting.setdefault(min(bag, key=place.__getitem__, default=-1), []).append(message)
    return _root(tables, gauges, waiting.get(-1, []))


def _by_first_to_go(tables: Tables, place: dict[int, int]) -> dict[int, list[tuple[int, Column]]]:
    """List, for each decision, its tables with decisions that go after it, as its columns."""
    found: dict[int, list[tuple[int, Column]]] = {}
    for (a, b), table in tables.pairs.items():
        if place[a] < place[b]:
            found.setdefault(a, []).append((b, table.T))
        else:
            found.setdefault(b, []).append((a, table))
    return found


def _table(
    tables: Tables, decision: int, bag: tuple[int, ...], couplings: list[tuple[int, Column]]
) -> _Labels:
    """Return one label for each way to pick the bag and the decision that is not forbidden."""
    scope = (*bag, decision)
    shape = [int(tables.sizes[d]) for d in scope]
    grid = np.broadcast_to(tables.of(tables.costs, decision), shape)
    for other, table in couplings:
        own = [1] * len(scope)
        own[scope.index(other)], own[-1] = table.shape
        grid = grid + table.reshape(own)
    key = np.flatnonzero(np.isfinite(grid))
    labels = _Labels(scope, key, grid.reshape(-1)[key], [], np.zeros((len(key), 0)))
    labels.decision, labels.option = decision, key % shape[-1]
    return labels


def _join(tables: Tables, gauges: Gauges, labels: _Labels, message: _Labels) -> None:
    """Combine every label with every label of a message that picks the same."""
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
    if total > MOST_LABELS:
        raise _TooLarge(f"a table of more than {MOST_LABELS} labels")
    mine = np.repeat(np.arange(len(times)), times)
    theirs = np.arange(total) + np.repeat(start - np.cumsum(times) + times, times)
    labels.take(mine)
    labels.cost = labels.cost + message.cost[theirs]
    for column, amount in zip(message.columns, message.used.T, strict=True):
        here = labels.gauge(column)
        join = np.maximum if column < 0 else np.add
        labels.used[:, here] = join(labels.used[:, here], amount[theirs])
    for column, (members, most) in message.counted.items():
        labels.count(column, members, most)
    labels.parents.append((message, theirs))
    if len(labels.parents) > 1 and message.columns:
        _drop(gauges, labels)


def _drop(gauges: Gauges, labels: _Labels) -> None:
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
        used[used + (gauge.most - labels.counted[column][1]) <= gauge.room] = 0.0
    labels.take(np.flatnonzero(kept))
    labels.take(undominated(labels.key, labels.cost, labels.used))


def _settled(tables: Tables, gauges: Gauges, labels: _Labels) -> _Labels:
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
    _drop(gauges, labels)
    keys = int(np.prod([tables.sizes[d] for d in labels.scope], dtype=np.intp))
    labels.first = np.searchsorted(labels.key, np.arange(keys + 1))
    return labels


def _close(labels: _Labels, column: int) -> None:
    """Stop carrying a gauge or a peak."""
    at = labels.columns.index(column)
    labels.used = np.delete(labels.used, at, axis=1)
    del labels.columns[at], labels.counted[column]


def _root(
    tables: Tables, gauges: Gauges, messages: list[_Labels]
) -> tuple[float, tuple[int, ...] | None]:
    """Join what is left of every part of the graph; return its least cost and its picks."""
    labels = _Labels((), np.zeros(1, np.intp), np.zeros(1), [], np.zeros((1, 0)))
    labels.option = np.zeros(1, np.intp)
    for message in sorted(messages, key=lambda m: len(m.cost)):
        _join(tables, gauges, labels, message)
        _settled(tables, gauges, labels)
    if len(labels.cost) == 0:
        return np.inf, None
    fixed = sum(peak.weight * peak.floor for peak in gauges.peaks if peak.groups == 0)
    picks = [0] * len(tables.sizes)
    stack = [(labels, int(np.argmin(labels.cost)))]
    least = float(labels.cost[stack[0][1]])
    while stack:
        made, row = stack.pop()
        if made.decision >= 0:
            picks[made.decision] = int(made.option[row])
        stack += [(message, int(rows[row])) for message, rows in made.parents]
    return tables.base + fixed + least, tuple(picks)
