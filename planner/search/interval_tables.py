"""A sequence of items as tables over intervals: what any run of items costs in each group.

Items whose options agree in every figure are of one class, and a run of items is known by how
many it has of each: its key. For each key all ways to pick options are listed (within a class
only how often each option is picked counts), with their cost, load and usage in every group.
Knows arrays; no decision problem is solved here.

Parts: `Fold` and `fold` (problem -> classes), `Ways` and `ways` (classes -> tables).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.problem import Limit, Problem

__all__ = ["Fold", "TooLarge", "Ways", "fold", "ways"]

MOST_FIGURES = 30_000_000
"""Figures that the tables may hold."""

Figures = NDArray[np.float64]


class TooLarge(Exception):
    """The tables would hold more than `MOST_FIGURES` figures."""


@dataclass(frozen=True)
class Fold:
    """A problem over one sequence, folded to the classes of its items.

    Parameters
    ----------
    classes  : class of every item, in order
    option   : (classes, groups, ways) option of the decision, -1: there is none
    figures  : (classes, groups, ways, 1 + loads + limits) cost, loads, usages; cost inf: none
    loads    : how many loads there are
    ceiling  : (groups, loads + limits) base of every load, then capacity of every limit
    floor    : the bottleneck is never less
    """

    classes: NDArray[np.intp]
    option: NDArray[np.intp]
    figures: Figures
    loads: int
    ceiling: Figures
    floor: float

    @property
    def groups(self) -> int:
        """Groups of the sequence."""
        return int(self.option.shape[1])

    @property
    def base(self) -> Figures:
        """(groups, loads) loads of groups without items."""
        return self.ceiling[:, : self.loads]

    @property
    def capacity(self) -> Figures:
        """(groups, limits) capacities."""
        return self.ceiling[:, self.loads :]


def fold(problem: Problem) -> Fold | str:
    """Fold a problem; a string says why it is not one over intervals."""
    if problem.couplings or len(problem.sequences) != 1 or len(problem.bottlenecks) > 1:
        return "only one sequence, one bottleneck and no couplings"
    sequence = problem.sequences[0]
    if not sequence.items or sorted(sequence.items) != list(range(len(problem.decisions))):
        return "only problems whose decisions are all items of the sequence"
    if any(b.weight < 0.0 for b in problem.bottlenecks):
        return "only bottlenecks of a weight of 0 or more"
    columns = _Columns(problem)
    placed = columns.placed()
    if isinstance(placed, str):
        return placed
    return _classes(problem, columns, *placed)


class _Columns:
    """Loads and usages of the items, one column for each bottleneck group and each limit."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.sequence = problem.sequences[0]
        self.limits: list[Limit] = [li for li in problem.limits if li.capacity < np.inf]
        bottleneck = problem.bottlenecks[0] if problem.bottlenecks else None
        self.loads = bottleneck.loads if bottleneck else ()
        self.bases = list((bottleneck.base if bottleneck else ()) or [0.0] * len(self.loads))
        self.members = [dict.fromkeys(limit.members, 0) for limit in self.limits]
        for limit, times in zip(self.limits, self.members, strict=True):
            for member in limit.members:
                times[member] += 1
        self._usage: dict[tuple[int, str], Figures] = {}

    def figures(self, item: int) -> Figures:
        """(options, loads + limits) of an item."""
        options = len(self.problem.decisions[item].options)
        zero = np.zeros(options)
        made = [np.asarray(load.get(item, zero), float) for load in self.loads]
        for limit, times in zip(self.limits, self.members, strict=True):
            held = self.usage(item, limit.resource) * times[item] if item in times else zero
            made.append(held)
        return np.stack(made, axis=1) if made else np.zeros((options, 0))

    def usage(self, item: int, resource: str) -> Figures:
        """`Decision.usage`, once for each distinct cost."""
        decision = self.problem.decisions[item]
        key = (id(decision.cost), resource)
        if key not in self._usage:
            self._usage[key] = decision.usage(resource)
        return self._usage[key]

    def kinds(self) -> dict[tuple[object, ...], list[int]]:
        """Items by the identity of all that describes them, in order; the items' places."""
        found: dict[tuple[object, ...], list[int]] = {}
        for place, item in enumerate(self.sequence.items):
            key = (
                id(self.problem.decisions[item].cost),
                id(self.sequence.group_of[place]),
                len(self.problem.decisions[item].options),
                *(id(load.get(item)) for load in self.loads),
                *(times.get(item, 0) for times in self.members),
            )
            found.setdefault(key, []).append(place)
        return found

    def placed(self) -> "tuple[dict[int, Figures], list[int | None]] | str":
        """Figures of one item of each kind, and the group that each column touches (None: none)."""
        figures: dict[int, Figures] = {}
        touched: list[set[int]] = [set() for _ in range(len(self.loads) + len(self.limits))]
        for places in self.kinds().values():
            table = self.figures(self.sequence.items[places[0]])
            figures[places[0]] = table
            if np.any(table < 0.0):
                return "only loads and usages of 0 or more"
            group = np.asarray(self.sequence.group_of[places[0]])
            for column, groups in enumerate(touched):
                groups |= {int(g) for g in group[table[:, column] > 0.0]}
        if any(len(groups) > 1 for groups in touched):
            return "only limits and loads of one group each"
        return figures, [min(groups) if groups else None for groups in touched]


def _classes(
    problem: Problem, columns: _Columns, figures: dict[int, Figures], touched: list[int | None]
) -> Fold:
    """Deal options to groups and columns to the group that they touch; join equal items."""
    sequence, loads = problem.sequences[0], len(columns.loads)
    every = range(sequence.groups)
    slots = (
        [[c for c in range(loads) if touched[c] == g] for g in every],
        [[c for c in range(loads, len(touched)) if touched[c] == g] for g in every],
    )
    widths = [max((len(some) for some in slots[0]), default=0) or 1]
    widths.append(max((len(some) for some in slots[1]), default=0))
    ceiling = np.zeros((sequence.groups, sum(widths)))
    ceiling[:, widths[0] :] = np.inf
    for group in every:
        for at, column in enumerate(slots[0][group]):
            ceiling[group, at] = columns.bases[column]
        for at, column in enumerate(slots[1][group]):
            ceiling[group, widths[0] + at] = columns.limits[column - loads].capacity
    free = [c for c in range(loads) if touched[c] is None]
    floor = max((columns.bases[c] for c in free), default=-np.inf)
    seen: dict[bytes, int] = {}
    classes = np.zeros(len(sequence.items), np.intp)
    kept: list[tuple[NDArray[np.intp], Figures]] = []
    most = max(int(np.bincount(np.asarray(of), minlength=1).max()) for of in sequence.group_of)
    for places in columns.kinds().values():
        cost = problem.decisions[sequence.items[places[0]]].time_s
        table = np.concatenate([cost[:, None], figures[places[0]]], axis=1)
        made = _dealt(table, np.asarray(sequence.group_of[places[0]]), slots, widths, most)
        key = made[0].tobytes() + made[1].tobytes()
        if key not in seen:
            seen[key] = len(kept)
            kept.append(made)
        classes[places] = seen[key]
    option = np.stack([o for o, _ in kept])
    return Fold(classes, option, np.stack([f for _, f in kept]), widths[0], ceiling, floor)


def _dealt(
    table: Figures,
    group_of: NDArray[np.intp],
    slots: tuple[list[list[int]], list[list[int]]],
    widths: list[int],
    most: int,
) -> tuple[NDArray[np.intp], Figures]:
    """Options of an item by group: their numbers, and their figures as `Fold` lays them out."""
    groups = len(slots[0])
    option = np.full((groups, most), -1, np.intp)
    figures = np.zeros((groups, most, 1 + widths[0] + widths[1]))
    figures[:, :, 0] = np.inf
    allowed = np.isfinite(table).all(axis=1)
    for group in range(groups):
        mine = np.flatnonzero((group_of == group) & allowed)
        option[group, : len(mine)] = mine
        figures[group, : len(mine), 0] = table[mine, 0]
        for first, some in ((1, slots[0][group]), (1 + widths[0], slots[1][group])):
            for at, column in enumerate(some):
                figures[group, : len(mine), first + at] = table[mine, 1 + column]
    return option, figures


@dataclass(frozen=True)
class Ways:
    """All ways to pick options of a run of items, by the run's key.

    Rows are ways; `start[k]` is the first row of key k. In group g, row r costs `cost[r, g]` (inf:
    not allowed there) and loads the group with `load[r, g]`. Row r adds way `way[r]` of an item of
    class `added[k]` to row `parent[r]`.

    Parameters
    ----------
    by_end : (items + 1, longest + 1) key of the run that ends before an item, by length; -1: none
    """

    start: NDArray[np.intp]
    cost: Figures
    load: Figures
    way: NDArray[np.intp]
    parent: NDArray[np.intp]
    added: NDArray[np.intp]
    by_end: NDArray[np.intp]

    def picked(self, row: int, key: int) -> list[tuple[int, int]]:
        """Return (class, way) of every item of a row of a key, last added first."""
        found: list[tuple[int, int]] = []
        while self.parent[row] >= 0:
            found.append((int(self.added[key]), int(self.way[row])))
            row = int(self.parent[row])
            key = int(np.searchsorted(self.start, row, side="right")) - 1
        return found


@dataclass
class _Key:
    """Ways of one key while tables grow: sums of figures, and the last way of every class."""

    first: int
    sums: Figures
    last: NDArray[np.intp]
    rows: NDArray[np.intp]


def ways(folded: Fold, threshold: float) -> Ways:
    """List the ways of all runs whose loads stay within a threshold in some group.

    Raises
    ------
    TooLarge : more than `MOST_FIGURES` figures
    """
    grown = _Growing(folded, threshold)
    items = len(folded.classes)
    ids: dict[tuple[int, ...], int] = {(0,) * len(folded.option): 0}
    by_end = np.full((items + 1, items + 1), -1, np.intp)
    by_end[:, 0] = 0
    here = [((0,) * len(folded.option), 0)] * items
    for length in range(1, items + 1):
        after = []
        for begin in range(items - length + 1):
            key, at = here[begin]
            if at >= 0:
                one = int(folded.classes[begin + length - 1])
                key = (*key[:one], key[one] + 1, *key[one + 1 :])
                if key not in ids:
                    ids[key] = grown.add(at, one)
                at = ids[key]
            by_end[begin + length, length] = at
            after.append((key, at))
        here = after
        if all(at < 0 for _, at in here):
            break
    return grown.ways(by_end[:, : length + 1])


class _Growing:
    """Tables that grow by one key at a time."""

    def __init__(self, folded: Fold, threshold: float) -> None:
        self.folded, self.threshold, self.figures = folded, threshold, 0
        groups, width = folded.groups, folded.figures.shape[3]
        empty = np.zeros((1, groups, width))
        empty[0, :, 1 : 1 + folded.loads] = folded.base
        last = np.zeros((1, len(folded.option)), np.intp)
        self.keys = [_Key(0, empty, last, np.array([0]))]
        self.way = [np.array([-1], np.intp)]
        self.parent = [np.array([-1], np.intp)]
        self.added = [-1]
        self.total = 1

    def add(self, at: int, one: int) -> int:
        """Add an item of a class to the ways of a key; return the new key, -1 where none is left.

        Ways of a class are added in ascending order, so that each multiset comes once.
        """
        before, count = self.keys[at], self.folded.option.shape[2]
        rows, way = np.nonzero(np.arange(count)[None, :] >= before.last[:, one][:, None])
        sums = before.sums[rows] + self.folded.figures[one].transpose(1, 0, 2)[way]
        kept = np.flatnonzero(self._allowed(sums).any(axis=1))
        if not len(kept):
            return -1
        self.figures += sums[kept].size
        if self.figures > MOST_FIGURES:
            raise TooLarge
        last = before.last[rows[kept]]
        last[:, one] = way[kept]
        self.keys.append(_Key(self.total, sums[kept], last, rows))
        self.way.append(way[kept])
        self.parent.append(before.first + rows[kept])
        self.added.append(one)
        self.total += len(kept)
        return len(self.keys) - 1

    def _allowed(self, sums: Figures) -> NDArray[np.bool_]:
        """Tell in which groups a way keeps the limits and the threshold."""
        loads = self.folded.loads
        within = (sums[:, :, 1 : 1 + loads] <= self.threshold).all(axis=2)
        held = (sums[:, :, 1 + loads :] <= self.folded.capacity).all(axis=2)
        return np.asarray(within & held & np.isfinite(sums[:, :, 0]))

    def ways(self, by_end: NDArray[np.intp]) -> Ways:
        """Return the finished tables."""
        loads = self.folded.loads
        sums = np.concatenate([key.sums for key in self.keys])
        load = np.maximum(sums[:, :, 1 : 1 + loads].max(axis=2), self.folded.floor)
        return Ways(
            np.array([key.first for key in self.keys]),
            np.where(self._allowed(sums), sums[:, :, 0], np.inf),
            load,
            np.concatenate(self.way),
            np.concatenate(self.parent),
            np.array(self.added),
            by_end,
        )
