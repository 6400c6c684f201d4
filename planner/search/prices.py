"""Prices on limits and bottlenecks: the best bound that a narrow problem has without them.

A limit is dropped and its usage paid for; of a bottleneck, shares of its weight are paid for the
loads of its groups. For any prices y >= 0, whose sum over a bottleneck's groups is at most its
weight, the priced problem's optimum less y . room is a true bound, by weak duality. Prices climb by
the volume algorithm: steps along an average of the picks' excess over the rooms.

Source: Held, Wolfe, Crowder, Mathematical Programming 6, 1974; Barahona and Anbil, The volume
algorithm, Mathematical Programming 87, 2000.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from costmodels.units import Column
from planner.problem import Problem
from planner.search.gauges import Gauges
from planner.search.min_sum import Marginals, min_sum
from planner.search.order import Order
from planner.search.solution import PRECISION
from planner.search.tables import Tables

__all__ = ["Priced", "climb"]

STEPS, WORK = 150, 60_000
"""Prices tried, and prices tried times decisions."""
ROUNDING = 1e-12
"""Share of priced usage that sums of floats may be off by."""
MEMORY = 0.2
"""Share of the newest picks in the average."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What the climb found.

    Parameters
    ----------
    bound  : no allowed picks cost less
    prices : of every gauge, seconds per unit of usage or load, at which the bound is reached
    found  : the priced problem's beliefs there; its costs plus `shift` are bounds
    hidden : what the rounding of sums with these prices may hide; `shift` is less by it
    picks  : the best that were met and keep every limit; cost: theirs, inf without
    """

    bound: float
    prices: Column
    found: Marginals
    shift: float
    hidden: float
    picks: tuple[int, ...] | None
    cost: float


def climb(
    problem: Problem, tables: Tables, order: Order, gauges: Gauges, deadline: float
) -> Priced:
    """Climb to prices of a good bound."""
    usage = _usage(tables, gauges)
    room = np.array([g.room for g in gauges.gauges])
    floor = sum(peak.weight * peak.floor for peak in gauges.peaks)
    unit = np.array([g.most for g in gauges.gauges])
    ceiling = _ceiling(tables, gauges)
    prices = center = np.zeros(len(room))
    best: Priced | None = None
    average = np.zeros(len(room))
    picks, cost, step, red = None, np.inf, 1.0, 0
    for at in range(min(STEPS, 20 + WORK // len(tables.sizes))):
        found = min_sum(tables, tables.costs + prices @ usage, order)
        hidden = ROUNDING * float(prices @ (np.abs(room) + unit))
        shift = floor - float(prices @ room) - hidden
        if not np.isfinite(found.least):
            return Priced(np.inf, prices, found, shift, hidden, None, np.inf)
        excess = usage[:, tables.start[:-1] + np.array(found.picks)].sum(axis=1) - room
        if not problem.broken(found.picks):
            mine = float(problem.cost(found.picks).total_s)
            if mine < cost:
                picks, cost = found.picks, mine
        average = excess if at == 0 else MEMORY * excess + (1.0 - MEMORY) * average
        bound = found.least + shift
        if bound > ceiling + PRECISION * (abs(ceiling) + abs(bound)):
            return Priced(np.inf, prices, found, shift, hidden, None, np.inf)
        if best is None or bound > best.bound:
            gained = np.inf if best is None else bound - best.bound
            best, center = Priced(bound, prices, found, shift, hidden, None, np.inf), prices
            step, red = step * 1.1, 0
            if cost < np.inf and gained < 1e-7 * (cost - bound):
                break
        elif (red := red + 1) == 4:
            step, red = step * 0.6, 0
        aim = _aim(best.bound, cost, found, excess, prices)
        scaled = average / unit
        norm = float(scaled @ scaled)
        if step < 1e-4 or norm == 0.0 or aim <= best.bound or time.monotonic() > deadline:
            break
        moved = center + step * (aim - best.bound) / norm * scaled / unit
        prices = _projected(moved, gauges)
    assert best is not None
    return replace(best, picks=picks, cost=cost)


def _usage(tables: Tables, gauges: Gauges) -> Column:
    """Return what every option (columns) uses of every gauge (rows)."""
    usage = np.zeros((len(gauges.gauges), len(tables.costs)))
    for row, gauge in zip(usage, gauges.gauges, strict=True):
        for d, column in gauge.members.items():
            row[tables.start[d] : tables.start[d + 1]] = column
    return usage


def _ceiling(tables: Tables, gauges: Gauges) -> float:
    """Return a cost that no picks exceed; a bound above it says that nothing is allowed."""
    finite = np.where(np.isfinite(tables.costs), tables.costs, -np.inf)
    total = tables.base + float(np.sum(np.maximum.reduceat(finite, tables.start[:-1])))
    for table in tables.pairs.values():
        total += float(np.max(table, initial=-np.inf, where=np.isfinite(table)))
    for at, peak in enumerate(gauges.peaks):
        above = [g.most - g.room for g in gauges.gauges if g.peak == at]
        total += peak.weight * (peak.floor + max([0.0, *above]))
    return total


def _aim(bound: float, cost: float, found: Marginals, excess: Column, prices: Column) -> float:
    """Return a bound to step towards: half-way to the best picks, or a little above."""
    if cost < np.inf:
        return 0.5 * (bound + cost)
    return bound + 0.05 * max(abs(bound), abs(found.least), float(np.abs(prices @ excess)))


def _projected(prices: Column, gauges: Gauges) -> Column:
    """Return the nearest prices that bound: none below 0, a bottleneck's at most its weight."""
    prices = np.maximum(prices, 0.0)
    for at, peak in enumerate(gauges.peaks):
        mine = np.array([g.peak == at for g in gauges.gauges], bool)
        if prices[mine].sum() > peak.weight:
            falling = np.sort(prices[mine])[::-1]
            over = (np.cumsum(falling) - peak.weight) / np.arange(1, len(falling) + 1)
            cut = over[np.flatnonzero(falling >= over)[-1]]
            kept = np.maximum(prices[mine] - cut, 0.0)
            prices[mine] = kept * min(1.0, peak.weight / max(float(kept.sum()), peak.weight))
    return prices
