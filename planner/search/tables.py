"""A problem as numbers: the arrays that every solver but the oracle starts from.

Terms are summed, couplings of one pair are merged (either way round), a sequence becomes pairs
that are forbidden, an infinite load or usage forbids its option, and limits that others imply
are dropped. Names, kinds and sources stay behind: prices are `Problem.cost`'s. Exact: picks are
allowed, and cost the same, in the tables and in the problem, up to the rounding of sums.

Parts: `Row` (a limit), `Loads` (a bottleneck), `Tables` and `lower`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Breakdown
from costmodels.units import Column
from planner.errors import InternalError
from planner.problem import Bottleneck, Limit, Problem
from planner.problem import Sequence as Ordered
from planner.search.solution import PRECISION

__all__ = ["Loads", "Pairs", "Row", "Tables", "lower"]

MOST_MEMBERS = 2_000_000
"""Above so many members in all limits, those that others imply stay: finding them costs more."""

Pairs = dict[tuple[int, int], Column]
"""(a, b), a < b -> cost of every option of a (rows) with every option of b; inf forbids."""


@dataclass(frozen=True, slots=True)
class Row:
    """A limit: the usage of the members sums to at most `capacity`.

    Parameters
    ----------
    name    : of the limit
    members : decisions, ascending, each once
    usage   : of every option of every decision, laid out as `Tables.costs`
    """

    name: str
    members: NDArray[np.intp]
    usage: Column
    capacity: float


@dataclass(frozen=True, slots=True)
class Loads:
    """A bottleneck: `weight` times the largest group; every group has its base and its loads."""

    weight: float
    base: Column
    groups: tuple[dict[int, Column], ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """A problem lowered.

    Parameters
    ----------
    base  : cost of whatever is picked
    start : options of decision d are entries start[d] .. start[d + 1] of `costs`
    costs : of every option of every decision, in order; inf forbids
    pairs : cost of pairs of picks, merged
    rows  : limits that no other implies; loads: bottlenecks
    """

    base: float
    start: NDArray[np.intp]
    costs: Column
    pairs: Pairs
    rows: tuple[Row, ...]
    loads: tuple[Loads, ...]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Options of every decision."""
        return np.diff(self.start)

    def of(self, column: Column, decision: int) -> Column:
        """Entries of one decision in a column over all options."""
        return column[self.start[decision] : self.start[decision + 1]]

    def cost(self, picks: Sequence[int]) -> float:
        """Cost of picks, as the tables have it; limits apart."""
        total = self.base + float(np.sum(self.costs[self.start[:-1] + np.asarray(picks, np.intp)]))
        total += sum(float(table[picks[a], picks[b]]) for (a, b), table in self.pairs.items())
        for load in self.loads:
            sums = [
                float(base) + sum(float(column[picks[d]]) for d, column in group.items())
                for base, group in zip(load.base, load.groups, strict=True)
            ]
            total += load.weight * max(sums)
        return total

    def least(self) -> float:
        """Return a cost that no picks are below: every part at its own least."""
        if np.any(self.sizes == 0):
            return np.inf
        total = self.base
        if len(self.costs):
            total += float(np.sum(np.minimum.reduceat(self.costs, self.start[:-1])))
        total += sum(float(table.min()) for table in self.pairs.values())
        for load in self.loads:
            sums = [
                float(base) + sum(float(column.min()) for column in group.values())
                for base, group in zip(load.base, load.groups, strict=True)
            ]
            total += load.weight * max(sums)
        return total


def lower(problem: Problem) -> Tables:
    """Lower a problem to tables; linear in its entries."""
    sizes = np.array([len(d.options) for d in problem.decisions], np.intp)
    start = np.concatenate([np.zeros(1, np.intp), np.cumsum(sizes)])
    parts = [_column(d.cost, len(d.options)) for d in problem.decisions]
    costs = np.concatenate(parts) if parts else np.zeros(0)
    pairs: Pairs = {}
    for one in problem.couplings:
        shape = (int(sizes[one.first]), int(sizes[one.second]))
        _add(costs, start, pairs, (one.first, one.second), _column(one.cost, shape))
    for sequence in problem.sequences:
        _lower_sequence(sequence, costs, start, pairs)
    loads = tuple(_lower_loads(one, costs, start) for one in problem.bottlenecks)
    rows = _lower_limits(problem, costs, start)
    return Tables(float(problem.base.total_s), start, costs, pairs, rows, loads)


def _column(cost: Breakdown, shape: int | tuple[int, int]) -> Column:
    """Total of a breakdown of columns or tables."""
    total = np.asarray(cost.total_s, float)
    wanted = (shape,) if isinstance(shape, int) else shape
    return total if total.shape == wanted else np.broadcast_to(total, wanted)


def _add(
    costs: Column, start: NDArray[np.intp], pairs: Pairs, pair: tuple[int, int], table: Column
) -> None:
    """Add a table to the pair's; of a decision with itself, its diagonal to the costs."""
    a, b = pair
    if a == b:
        costs[start[a] : start[a + 1]] += np.diagonal(table)
        return
    key, table = ((a, b), table) if a < b else ((b, a), table.T)
    held = pairs.get(key)
    pairs[key] = table if held is None else held + table


def _lower_sequence(
    sequence: Ordered, costs: Column, start: NDArray[np.intp], pairs: Pairs
) -> None:
    """Forbid the pairs of neighbours that are out of order, and wrong ends."""
    of = [np.asarray(group, np.intp) for group in sequence.group_of]
    neighbours = zip(sequence.items, sequence.items[1:], of, of[1:], strict=False)
    for item, after, group, group_after in neighbours:
        step = group_after[None, :] - group[:, None]
        wrong = (step < 0) if sequence.empty else (step != 0) & (step != 1)
        _add(costs, start, pairs, (item, after), np.where(wrong, np.inf, 0.0))
    if not sequence.empty and of:
        for item, group, end in (
            (sequence.items[0], of[0], 0),
            (sequence.items[-1], of[-1], sequence.groups - 1),
        ):
            costs[start[item] : start[item + 1]][group != end] = np.inf


def _lower_loads(one: Bottleneck, costs: Column, start: NDArray[np.intp]) -> Loads:
    """Lower a bottleneck; an option with an infinite load is forbidden and its load dropped."""
    if one.weight < 0.0 or not one.loads:
        raise InternalError(f"bottleneck {one.name}: it needs a group and a weight of 0 or more")
    groups = []
    for load in one.loads:
        group = {}
        for decision, column in load.items():
            values = np.asarray(column, float)
            endless = np.isinf(values)
            if endless.any():
                costs[start[decision] : start[decision + 1]][endless] = np.inf
                values = np.where(endless, 0.0, values)
            if np.any(values != 0.0):
                group[decision] = values
        groups.append(group)
    base = np.array(one.base or (0.0,) * len(one.loads), float)
    return Loads(one.weight, base, tuple(groups))


def _lower_limits(problem: Problem, costs: Column, start: NDArray[np.intp]) -> tuple[Row, ...]:
    """Lower the limits that can bind, each with the usage of its resource."""
    rows: list[Row] = []
    for resource in dict.fromkeys(limit.resource for limit in problem.limits):
        usage = _usage(problem, resource)
        limits = [one for one in problem.limits if one.resource == resource]
        if np.isinf(usage).any():
            for limit in limits:
                if limit.capacity < np.inf:
                    for member in limit.members:
                        here = slice(start[member], start[member + 1])
                        costs[here][np.isinf(usage[here])] = np.inf
            usage = np.where(np.isinf(usage), 0.0, usage)
        rows += [_row(limit, usage, start) for limit in _needed(limits, usage, start)]
    return tuple(rows)


def _usage(problem: Problem, resource: str) -> Column:
    """Return what every option of every decision uses of a resource."""
    parts = []
    for decision in problem.decisions:
        held = [item.bytes for item in decision.cost.memory if item.kind == resource]
        if len(held) == 1 and np.shape(held[0]) == (len(decision.options),):
            parts.append(np.asarray(held[0], float))
        else:
            parts.append(decision.usage(resource))
    return np.concatenate(parts) if parts else np.zeros(0)


def _row(limit: Limit, usage: Column, start: NDArray[np.intp]) -> Row:
    """Lower one limit; a member that is listed twice uses twice."""
    members = np.array(limit.members, np.intp)
    once, times = np.unique(members, return_counts=True)
    if len(once) < len(members):
        usage = usage.copy()
        for member, count in zip(once, times, strict=True):
            usage[start[member] : start[member + 1]] *= count
    return Row(limit.name, once, usage, float(limit.capacity))


def _needed(limits: list[Limit], usage: Column, start: NDArray[np.intp]) -> list[Limit]:
    """Drop the limits that cannot bind, and those that others imply."""
    if np.any(np.diff(start) == 0):
        return limits
    most = np.maximum.reduceat(usage, start[:-1]) if len(usage) else usage
    binding = []
    for limit in limits:
        worst = float(np.sum(most[np.array(limit.members, np.intp)]))
        if worst > limit.capacity - PRECISION * abs(worst):
            binding.append(limit)
    if np.any(usage < 0.0) or sum(len(limit.members) for limit in binding) > MOST_MEMBERS:
        return binding
    return _maximal(binding)


def _maximal(limits: list[Limit]) -> list[Limit]:
    """Keep the limits that no other implies, of one resource of which nothing uses less than 0.

    A limit implies another if it has all of its members and no more capacity.
    """
    sets = [frozenset(limit.members) for limit in limits]
    order = sorted(range(len(limits)), key=lambda i: (-len(sets[i]), limits[i].capacity, i))
    kept: list[int] = []
    holders: dict[int, list[int]] = {}
    for i in order:
        if len(sets[i]) == len(limits[i].members) and sets[i]:
            rarest = min((holders.get(member, []) for member in sets[i]), key=len)
            tight = (j for j in rarest if limits[j].capacity <= limits[i].capacity)
            if any(sets[i] <= sets[j] for j in tight):
                continue
        kept.append(i)
        for member in sets[i]:
            holders.setdefault(member, []).append(i)
    return [limits[i] for i in sorted(kept)]
