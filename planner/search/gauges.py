"""What a label of the elimination carries besides its cost, and when it no longer must.

A gauge is the usage of a limit or the load of a group of a bottleneck, counted above the least
that its members can use. Once every member is counted, a limit needs no label any more, and a load
goes into its bottleneck's peak; a gauge that the rest cannot lift to where it matters reads 0.

Parts: `Gauge`, `Peak`, `Gauges` and `gauges_of`.
"""

from dataclasses import dataclass

import numpy as np

from costmodels.units import Column
from planner.search.tables import Loads, Row, Tables

__all__ = ["Gauge", "Gauges", "Peak", "gauges_of"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A limit, or a group of a bottleneck.

    Parameters
    ----------
    members : decision -> what its options use above its least one; only decisions that vary
    most    : the most that all members use so
    room    : up to here it does not matter: what a limit leaves, or what any slowest group has
    peak    : the bottleneck of a group; -1: a limit, which must not exceed its room
    start   : load of the group at every member's least
    given   : room of a limit without slack
    """

    members: dict[int, Column]
    most: float
    room: float
    peak: int = -1
    start: float = 0.0
    given: float = 0.0


@dataclass(frozen=True, slots=True)
class Peak:
    """A bottleneck: its weight, the least that its slowest group can have, its varying groups."""

    weight: float
    floor: float
    groups: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """Every gauge and every peak, those of a decision, and whether a limit cannot be kept."""

    gauges: tuple[Gauge, ...]
    peaks: tuple[Peak, ...]
    of: dict[int, tuple[int, ...]]
    hopeless: bool


def gauges_of(tables: Tables, slack: float) -> Gauges:
    """List the gauges that can bind; limits may be exceeded by a share `slack` of their usage."""
    found: list[Gauge] = []
    peaks: list[Peak] = []
    hopeless = False
    for row in tables.rows:
        gauge = _limit(tables, row, slack)
        hopeless |= max(gauge.room, gauge.given) < 0.0
        if gauge.most > gauge.room:
            found.append(gauge)
    for load in tables.loads:
        if load.weight > 0.0:
            groups = _groups(load, len(peaks))
            peaks.append(Peak(load.weight, max(g.start for g in groups), 0))
            floor = peaks[-1].floor
            varying = [
                Gauge(g.members, g.most, floor - g.start, g.peak, g.start)
                for g in groups
                if g.members and g.most > floor - g.start
            ]
            peaks[-1] = Peak(load.weight, floor, len(varying))
            found += varying
    of: dict[int, tuple[int, ...]] = {}
    for at, gauge in enumerate(found):
        for member in gauge.members:
            of[member] = (*of.get(member, ()), at)
    return Gauges(tuple(found), tuple(peaks), of, hopeless)


def _limit(tables: Tables, row: Row, slack: float) -> Gauge:
    """Return the gauge of a limit."""
    columns = {int(d): _allowed(tables, row.usage, int(d)) for d in row.members}
    largest = sum(float(np.max(np.abs(column))) for column in columns.values())
    least = sum(float(column.min()) for column in columns.values())
    members = {d: column - column.min() for d, column in columns.items() if np.ptp(column) > 0.0}
    most = sum(float(column.max()) for column in members.values())
    given = row.capacity - least
    return Gauge(members, most, given + slack * largest, given=given)


def _allowed(tables: Tables, column: Column, decision: int) -> Column:
    """Usage of a decision's options; of forbidden ones, the least of the others'."""
    own = tables.of(column, decision)
    finite = np.isfinite(tables.of(tables.costs, decision))
    return np.where(finite, own, np.min(own, initial=np.inf, where=finite)) if finite.any() else own


def _groups(load: Loads, peak: int) -> list[Gauge]:
    """Return the gauges of a bottleneck's groups, their room still open."""
    found = []
    for base, group in zip(load.base, load.groups, strict=True):
        start = float(base) + sum(float(column.min()) for column in group.values())
        members = {d: column - column.min() for d, column in group.items() if np.ptp(column) > 0.0}
        most = sum(float(column.max()) for column in members.values())
        found.append(Gauge(members, most, 0.0, peak, start))
    return found
