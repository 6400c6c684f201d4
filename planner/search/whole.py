"""A problem in whole numbers, for solvers that know no others, and what the rounding can hide.

Tables are first made plain: every decision has an option of cost 0, every row and column of a
pair an entry of 0, and what was taken out is the base; it is a true bound by itself. Then costs
are counted in ticks, to the nearest, and usages in ticks of their limit: usage down and capacity
up for a true bound, usage up and capacity down for picks that hold. Where all numbers are whole
in ticks, one solve serves both.

Parts: `plain`, `Bits`, `Whole`, `whole`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.search.gauges import Gauge, Gauges, gauges_of
from planner.search.solution import PRECISION
from planner.search.tables import Pairs, Tables

__all__ = ["FORBIDDEN", "Bits", "Cap", "Ints", "Whole", "plain", "whole"]

FORBIDDEN = -1
"""In place of a cost in ticks: not to be picked."""
SLACK = 1e-12
"""Share of a limit's usage by which sums of floats in another order may differ."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bits:
    """How large whole numbers may get: the cost of any picks, and the usage of all members."""

    cost: int
    usage: int


@dataclass(frozen=True, slots=True)
class Cap:
    """Members use at most `room` together; of a peak's group: what it is above `room` counts."""

    members: dict[int, Ints]
    room: int

    def used(self, picks: Sequence[int]) -> int:
        """Return what the members use together."""
        return sum(int(used[picks[d]]) for d, used in self.members.items())


@dataclass(frozen=True, slots=True)
class Whole:
    """A problem in ticks.

    Parameters
    ----------
    base   : seconds that nothing is below; tick: seconds of one tick
    error  : the most seconds by which the ticks of any picks differ from their cost
    costs  : of every decision's options, `FORBIDDEN` or 0 and more; pairs likewise
    limits : sums of usage; exact: no usage and no capacity was rounded
    peaks  : for each bottleneck its groups: the most that any exceeds its room is its cost
    """

    base: float
    tick: float
    error: float
    costs: list[Ints]
    pairs: dict[tuple[int, int], Ints]
    limits: list[Cap]
    exact: bool
    peaks: list[list[Cap]]

    def ticks(self, picks: Sequence[int]) -> int:
        """Cost of picks that are not forbidden, in ticks."""
        total = sum(int(own[pick]) for own, pick in zip(self.costs, picks, strict=True))
        total += sum(int(table[picks[a], picks[b]]) for (a, b), table in self.pairs.items())
        for groups in self.peaks:
            total += max(0, *(cap.used(picks) - cap.room for cap in groups))
        return total


def plain(tables: Tables) -> Tables | None:
    """Take the least of every row, column and decision out; None where nothing can be picked."""
    costs = tables.costs.copy()
    pairs: Pairs = {}
    for (a, b), table in tables.pairs.items():
        for decision, axis in ((a, 1), (b, 0)):
            least = table.min(axis=axis)
            costs[tables.start[decision] : tables.start[decision + 1]] += least
            least = np.where(np.isfinite(least), least, 0.0)
            table = table - np.expand_dims(least, axis)
        if np.any(table != 0.0):
            pairs[a, b] = table
    base = tables.base
    for decision in range(len(tables.sizes)):
        own = tables.of(costs, decision)
        least_cost = float(np.min(own, initial=np.inf))
        if least_cost == np.inf:
            return None
        base += least_cost
        own -= least_cost
    return replace(tables, base=base, costs=costs, pairs=pairs)


def whole(tables: Tables, upper: float, loose: bool, bits: Bits) -> Whole | None:
    """Count a plain problem in ticks; None where nothing can be picked.

    Parameters
    ----------
    upper : only picks that cost no more are wanted; what alone costs more is forbidden
    loose : round limits so that nothing allowed is lost; else so that what they allow holds
    """
    gauges = gauges_of(tables, SLACK if loose else -SLACK)
    base = tables.base + sum(peak.weight * peak.floor for peak in gauges.peaks)
    room = upper - base + (PRECISION * (abs(upper) + abs(base)) if upper < np.inf else 0.0)
    if gauges.hopeless:
        return None
    costs = np.where(tables.costs <= room, tables.costs, np.inf)
    pairs = {at: np.where(table <= room, table, np.inf) for at, table in tables.pairs.items()}
    limits, exact = _limits(gauges, tables, costs, loose, bits.usage)
    seconds = [costs, *pairs.values(), *_loads(gauges)]
    tick, rounded = _tick(seconds, min(room, _most(tables, costs, pairs, gauges)), bits.cost)
    parts = len(tables.sizes) + len(pairs)
    for peak in range(len(gauges.peaks)):
        own = [len(g.members) + 1 for g in gauges.gauges if g.peak == peak]
        parts += max(own, default=0)
    error = 0.5 * tick * parts if rounded else 0.0
    ticks = _ticks(costs, tick)
    found = [ticks[at:end] for at, end in zip(tables.start, tables.start[1:], strict=False)]
    if any(np.all(own == FORBIDDEN) for own in found):
        return None
    return Whole(
        base,
        tick,
        error,
        found,
        {at: _ticks(table, tick) for at, table in pairs.items()},
        limits,
        exact,
        [_groups(gauges, at, tick) for at, peak in enumerate(gauges.peaks) if peak.groups],
    )


def _loads(gauges: Gauges) -> list[Column]:
    """Seconds of every load and room of the bottlenecks."""
    found = []
    for gauge in gauges.gauges:
        if gauge.peak >= 0:
            weight = gauges.peaks[gauge.peak].weight
            found += [weight * column for column in gauge.members.values()]
            found.append(np.array([weight * gauge.room]))
    return found


def _groups(gauges: Gauges, at: int, tick: float) -> list[Cap]:
    """Return the groups of one bottleneck, in ticks of cost."""
    scale = gauges.peaks[at].weight / tick
    return [
        Cap(
            {d: np.rint(column * scale).astype(np.int64) for d, column in gauge.members.items()},
            int(np.rint(gauge.room * scale)),
        )
        for gauge in gauges.gauges
        if gauge.peak == at
    ]


def _limits(
    gauges: Gauges, tables: Tables, costs: Column, loose: bool, bits: int
) -> tuple[list[Cap], bool]:
    """Limits in ticks of their own; options that alone exceed one are forbidden in `costs`."""
    found, exact = [], True
    for gauge in gauges.gauges:
        if gauge.peak >= 0:
            continue
        for d, column in gauge.members.items():
            costs[tables.start[d] : tables.start[d + 1]][column > max(gauge.room, gauge.given)] = (
                np.inf
            )
        cap, as_given = _cap(gauge, loose, bits)
        found.append(cap)
        exact &= as_given
    return found, exact


def _cap(gauge: Gauge, loose: bool, bits: int) -> tuple[Cap, bool]:
    """Return a limit in ticks, and whether nothing was rounded."""
    scale = _exact_scale(gauge.members.values(), gauge.most, bits)
    if scale is not None:
        members = {d: np.rint(c * scale).astype(np.int64) for d, c in gauge.members.items()}
        return Cap(members, int(np.floor(gauge.given * scale))), True
    scale = 2.0**bits / gauge.most
    round_usage, round_room = (np.floor, np.ceil) if loose else (np.ceil, np.floor)
    members = {d: round_usage(c * scale).astype(np.int64) for d, c in gauge.members.items()}
    return Cap(members, int(round_room(gauge.room * scale))), False


def _most(tables: Tables, costs: Column, pairs: Pairs, gauges: Gauges) -> float:
    """Return seconds that no picks cost more than, above the base."""
    finite = np.where(np.isfinite(costs), costs, 0.0)
    total = float(np.sum(np.maximum.reduceat(finite, tables.start[:-1]))) if len(costs) else 0.0
    for table in pairs.values():
        total += float(np.max(table, initial=0.0, where=np.isfinite(table)))
    for at, peak in enumerate(gauges.peaks):
        above = [g.most - g.room for g in gauges.gauges if g.peak == at]
        total += peak.weight * max(above, default=0.0)
    return total


def _tick(seconds: list[Column], most: float, bits: int) -> tuple[float, bool]:
    """Return the tick for costs of which no picks have more than `most`; whether any is rounded."""
    scale = _exact_scale([column[np.isfinite(column)] for column in seconds], most, bits)
    if scale is not None:
        return 1.0 / scale, False
    return most * 2.0**-bits, True


def _exact_scale(columns: Iterable[Column], most: float, bits: int) -> float | None:
    """Return the power of two that makes all numbers whole and `most` no larger than the bits."""
    held = [np.asarray(column).reshape(-1) for column in columns]
    values = np.abs(np.concatenate(held)) if held else np.zeros(0)
    values = values[values > 0.0]
    if len(values) == 0:
        return 1.0
    mantissa, exponent = np.frexp(values)
    digits = (mantissa * 2.0**53).astype(np.int64)
    lowest = exponent - 53 + np.log2((digits & -digits).astype(float)).astype(np.int64)
    power = int(lowest.min())
    if abs(power) > 900 or most * 2.0**-power > 2.0**bits:
        return None
    return float(2.0**-power)


def _ticks(seconds: Column, tick: float) -> Ints:
    """Count seconds in ticks; infinite ones are `FORBIDDEN`."""
    finite = np.isfinite(seconds)
    ticks = np.full(seconds.shape, FORBIDDEN, np.int64)
    ticks[finite] = np.rint(seconds[finite] / tick).astype(np.int64)
    return ticks
