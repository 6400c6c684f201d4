"""One limit, priced: the best price on its resource, then exact search among what can still win.

For a price p >= 0 on the resource, dropping the limit and paying p (usage - capacity) bounds the
optimum from below, and without a limit a narrow problem is solved exactly by min-sum elimination.
The price of the best bound is met in a few steps, each the crossing of two lines: one of picks
that keep the limit, one of picks that break it. At that price every option has its least priced
cost (its min-marginal): what exceeds a target cannot be part of an answer within the target. So
targets are tried from near the bound upwards; among the options that are left, `elimination`
carries the limit exactly, and an answer within its target is proved optimal.

Takes problems with one limit, no bottleneck and narrow tables; of others it says so and proves
nothing. Source: Handler and Zang, A dual algorithm for the constrained shortest path problem,
Networks 10, 1980 (crossing lines); reduced-cost fixing as in branch and bound.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Breakdown, Memory, Term
from costmodels.units import Column
from planner.problem import Coupling, Decision, Limit, Problem
from planner.search import elimination
from planner.search.min_sum import min_sum
from planner.search.order import Order, greedy
from planner.search.solution import PRECISION, Solution, answer
from planner.search.tables import Row, Tables, lower

__all__ = ["NAME", "solve"]

NAME = "priced"
MOST_ENTRIES = 4e6
"""Entries of one table."""
MOST_PRICES = 40
"""Prices tried; each at least halves what is left in practice."""
TARGETS = (1 / 64, 1 / 16, 1 / 4, 1.0)
"""Targets, as shares of the gap that is left."""


@dataclass(frozen=True, slots=True)
class _Priced:
    """What pricing found: the best bound with its min-marginals, and the best picks."""

    bound: float
    marginals: Column
    picks: tuple[int, ...] | None
    cost: float


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Price the limit, then search what is left; the seed is not used."""
    deadline = np.inf if time_limit_s is None else time.monotonic() + time_limit_s
    tables = lower(problem)
    if tables.least() == np.inf:
        return answer(problem, None, np.inf)
    if len(tables.rows) > 1 or tables.loads:
        return answer(problem, None, reason="more than one limit, or a bottleneck")
    order = greedy(tables.sizes, tables.pairs, MOST_ENTRIES)
    if order is None:
        return answer(problem, None, reason=f"a table of more than {MOST_ENTRIES:.0f} entries")
    if not tables.rows:
        found = min_sum(tables, tables.costs, order)
        picks = found.picks if np.isfinite(found.least) else None
        return answer(problem, picks, found.least)
    priced = _price(tables, order, tables.rows[0], deadline)
    if priced.picks is None:
        return answer(problem, None, priced.bound)
    return _search(problem, tables, priced, deadline)


def _cost(tables: Tables, picks: Sequence[int]) -> float:
    return tables.cost(picks)


def _used(tables: Tables, row: Row, picks: Sequence[int]) -> float:
    return float(sum(tables.of(row.usage, int(d))[picks[d]] for d in row.members))


def _price(tables: Tables, order: Order, row: Row, deadline: float) -> _Priced:
    """Find the price of the best bound (see the module)."""
    usage = np.zeros(len(row.usage))
    for member in row.members:
        here = slice(tables.start[member], tables.start[member + 1])
        usage[here] = row.usage[here]
    free = min_sum(tables, tables.costs, order)
    if not np.isfinite(free.least):
        return _Priced(np.inf, free.marginals, None, np.inf)
    if _used(tables, row, free.picks) <= row.capacity:
        return _Priced(free.least, free.marginals, free.picks, _cost(tables, free.picks))
    bare = np.where(np.isfinite(tables.costs), usage, np.inf)
    least = min_sum(tables, bare, order, forbid_only=True)
    low = free.picks
    if not np.isfinite(least.least) or _used(tables, row, least.picks) > row.capacity:
        return _Priced(np.inf, free.marginals, None, np.inf)
    high = best = least.picks
    bound, marginals = free.least, free.marginals
    for _ in range(MOST_PRICES):
        saved = _used(tables, row, low) - _used(tables, row, high)
        price = (_cost(tables, high) - _cost(tables, low)) / saved
        found = min_sum(tables, tables.costs + price * usage, order)
        bounded = found.least - price * row.capacity
        if bounded > bound:
            bound, marginals = bounded, found.marginals - price * row.capacity
        line = _cost(tables, high) + price * _used(tables, row, high)
        if _used(tables, row, found.picks) <= row.capacity:
            high = found.picks
            best = min(best, high, key=lambda picks: _cost(tables, picks))
        else:
            low = found.picks
        if found.least >= line - PRECISION * abs(line) or time.monotonic() > deadline:
            break
    return _Priced(bound, marginals, best, _cost(tables, best))


def _search(problem: Problem, tables: Tables, priced: _Priced, deadline: float) -> Solution:
    """Try targets from the bound upwards; exact among the options that can meet each."""
    picks, cost, bound = priced.picks, priced.cost, priced.bound
    assert picks is not None
    slack = PRECISION * abs(cost)
    reason = ""
    for share in TARGETS:
        if cost - bound <= slack or time.monotonic() > deadline:
            break
        target = priced.bound + share * (cost - priced.bound)
        kept = [
            np.flatnonzero(tables.of(priced.marginals, d) <= target + slack)
            for d in range(len(tables.sizes))
        ]
        if any(len(options) == 0 for options in kept):
            bound = max(bound, target)
            continue
        left = None if deadline == np.inf else max(0.0, deadline - time.monotonic())
        found = elimination.solve(_restricted(problem, tables, kept), time_limit_s=left)
        if found.status == "unknown":
            reason = found.reason
            break
        bound = max(bound, min(target, found.bound))
        if found.picks is not None:
            mine = tuple(int(kept[d][pick]) for d, pick in enumerate(found.picks))
            if _cost(tables, mine) < cost:
                picks, cost = mine, _cost(tables, mine)
    return answer(problem, picks, min(bound, cost), reason)


def _restricted(problem: Problem, tables: Tables, kept: Sequence[NDArray[np.intp]]) -> Problem:
    """Return the problem with some options of each decision, its price as one term."""
    (row,) = tables.rows  # limits that it implies are not there, whatever their resources
    decisions = []
    for d, rows in enumerate(kept):
        names = tuple(problem.decisions[d].options[r] for r in rows)
        cost = Breakdown(
            (Term("cost", "other", tables.of(tables.costs, d)[rows], ""),),
            (Memory("usage", "usage", tables.of(row.usage, d)[rows], ""),),
        )
        decisions.append(Decision(problem.decisions[d].name, names, cost))
    couplings = tuple(
        Coupling(a, b, Breakdown((Term("cost", "other", table[np.ix_(kept[a], kept[b])], ""),)))
        for (a, b), table in tables.pairs.items()
    )
    limit = Limit(row.name, "usage", tuple(int(d) for d in row.members), row.capacity)
    return Problem(tuple(decisions), couplings, (limit,), base=problem.base)
