"""Exact dynamic programming over a tree decomposition of the decision graph.

Decisions go one by one (`order`): a decision's table spans the decisions that it is coupled with;
its best options, for each way to pick those, are all that the rest needs to know. What limits and
bottlenecks need is carried along: a label is a cost, the usage of every limit that has members on
both sides, the load of every such group, and the largest load of groups that are complete. Labels
that another beats in everything are dropped (`frontier`), so the answer is exact. To keep them
few, prices on the gauges give every label a bound (`prices`), and answers are looked for near the
best bound first: what is found within a target is proved.

Where tables or labels would be too many it says so, and proves what the prices prove.

Source: Bertele and Brioschi, Nonserial Dynamic Programming, 1972; Dechter, Bucket elimination,
Artificial Intelligence 113, 1999; labels as in resource-constrained shortest paths.
"""

import time

import numpy as np

from costmodels.units import Column
from planner.problem import Problem
from planner.search.gauges import Gauges, gauges_of
from planner.search.labels import Guide, Labels, TooLarge, join, settle
from planner.search.order import Order, greedy
from planner.search.prices import Priced, climb
from planner.search.solution import PRECISION, Solution, answer
from planner.search.tables import Tables, lower

__all__ = ["MOST_ENTRIES", "MOST_LABELS", "NAME", "solve"]

NAME = "elimination"
MOST_ENTRIES = 4e6
"""Entries of one table."""
FEW_LABELS, MOST_LABELS = 3_000, 100_000
"""Labels of one table: at first, and with prices on the gauges."""
MOST_TABLES = 20
"""Times as many labels that all tables may have together."""
ROUNDED = "a limit is reached up to rounding"
TARGETS = (1 / 64, 1 / 16, 1 / 4, 1.0)
"""Costs looked for, as shares of what is open between the priced bound and the best picks."""
SLACK = 1e-12
"""A limit is kept if sums of floats in another order could keep it."""


Picks = tuple[int, ...]


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Eliminate every decision; unknown or feasible, with the reason, where labels are too many.

    The seed is not used.
    """
    deadline = np.inf if time_limit_s is None else time.monotonic() + time_limit_s
    tables = lower(problem)
    if tables.least() == np.inf:
        return answer(problem, None, np.inf)
    order = greedy(tables.sizes, tables.pairs, MOST_ENTRIES)
    if order is None:
        return answer(problem, None, reason=f"a table of more than {MOST_ENTRIES:.0f} entries")
    gauges = gauges_of(tables, SLACK)
    if gauges.hopeless:
        return answer(problem, None, np.inf)
    bound, picks, reason = _searched(problem, tables, order, gauges, deadline)
    if reason == ROUNDED:
        _, tight, _ = _searched(problem, tables, order, gauges_of(tables, -SLACK), deadline)
        found = [one for one in (picks, tight) if one is not None]
        picks = min(found, key=lambda one: float(problem.cost(one).total_s), default=None)
    return answer(problem, picks, bound, reason)


def _searched(
    problem: Problem, tables: Tables, order: Order, gauges: Gauges, deadline: float
) -> tuple[float, Picks | None, str]:
    """Return a bound, picks that are allowed, and what is wrong with them if anything is.

    All labels first, if they are few; then only those that prices do not rule out.
    """
    try:
        most = FEW_LABELS if gauges.gauges else int(MOST_ENTRIES)
        bound, picks = _eliminate(tables, order, gauges, deadline, most)
        if picks is not None and problem.broken(picks):
            return bound, None, ROUNDED
        return bound, picks, ""
    except TooLarge as reason:
        if not gauges.gauges or time.monotonic() > deadline:
            return -np.inf, None, str(reason)
    priced = climb(problem, tables, order, gauges, deadline)
    if priced.bound == np.inf:
        return np.inf, None, ""
    return _targeted(problem, tables, order, gauges, priced, deadline)


def _targeted(
    problem: Problem,
    tables: Tables,
    order: Order,
    gauges: Gauges,
    priced: Priced,
    deadline: float,
) -> tuple[float, Picks | None, str]:
    """Look for picks near the priced bound first, then further above: few labels get so far."""
    bound, best, cost = priced.bound, priced.picks, priced.cost
    known = best is not None
    span = cost - bound if known else abs(bound) + float(np.ptp(_finite(tables.costs)))
    for share in TARGETS if known else (*TARGETS, np.inf):
        slack = 0.0 if best is None else PRECISION * max(abs(cost), abs(bound))
        if cost - bound <= slack:
            break
        target = priced.bound + share * span + slack
        guide = Guide(priced.prices, priced.found, priced.shift, target + priced.hidden)
        try:
            least, picks = _eliminate(tables, order, gauges, deadline, MOST_LABELS, guide)
        except TooLarge as too_large:
            return min(bound, cost), best, str(too_large)
        bound = max(bound, min(target - slack, least))
        if picks is not None and problem.broken(picks):
            return min(bound, cost), best, ROUNDED
        if picks is not None and float(problem.cost(picks).total_s) < cost:
            best, cost = picks, float(problem.cost(picks).total_s)
    return min(bound, cost), best, ""


def _finite(costs: Column) -> Column:
    return costs[np.isfinite(costs)]


def _eliminate(
    tables: Tables,
    order: Order,
    gauges: Gauges,
    deadline: float,
    most: int,
    guide: Guide | None = None,
) -> tuple[float, Picks | None]:
    """Return the least cost and its picks; infinite and None where nothing is allowed."""
    if gauges.hopeless:
        return np.inf, None
    waiting: dict[int, list[Labels]] = {}
    place = {d: at for at, d in enumerate(order.decisions)}
    couplings = _by_first_to_go(tables, place)
    work = 0
    for decision, bag in zip(order.decisions, order.bags, strict=True):
        labels = _table(tables, decision, bag, couplings.get(decision, []), guide)
        for message in sorted(waiting.pop(decision, []), key=lambda m: len(m.cost)):
            join(tables, gauges, labels, message, most)
        for at in gauges.of.get(decision, ()):
            usage = gauges.gauges[at].members[decision]
            here = labels.gauge(at)
            labels.used[:, here] += usage[labels.option]
            labels.count(at, 1, float(usage.max()))
        labels.key = labels.key // int(tables.sizes[decision])
        labels.scope = bag
        message = settle(tables, gauges, labels, guide)
        work += len(message.cost)
        if work > most * max(MOST_TABLES, len(order.decisions)):
            raise TooLarge(f"tables of more than {most} labels on average")
        if time.monotonic() > deadline:
            raise TooLarge("time limit")
        waiting.setdefault(min(bag, key=place.__getitem__, default=-1), []).append(message)
    return _root(tables, gauges, waiting.get(-1, []), most)


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
    tables: Tables,
    decision: int,
    bag: tuple[int, ...],
    couplings: list[tuple[int, Column]],
    guide: Guide | None,
) -> Labels:
    """Return one label for each way to pick the bag and the decision that is not forbidden."""
    scope = (*bag, decision)
    shape = [int(tables.sizes[d]) for d in scope]
    grid = np.broadcast_to(tables.of(tables.costs, decision), shape)
    for other, table in couplings:
        own = [1] * len(scope)
        own[scope.index(other)], own[-1] = table.shape
        grid = grid + table.reshape(own)
    kept = np.isfinite(grid)
    if guide is not None:
        kept &= guide.found.beliefs[decision] + guide.shift <= guide.target
    key = np.flatnonzero(kept)
    labels = Labels(scope, key, grid.reshape(-1)[key], [], np.zeros((len(key), 0)))
    labels.decision, labels.option = decision, key % shape[-1]
    return labels


def _root(
    tables: Tables, gauges: Gauges, messages: list[Labels], most: int
) -> tuple[float, Picks | None]:
    """Join what is left of every part of the graph; return its least cost and its picks."""
    labels = Labels((), np.zeros(1, np.intp), np.zeros(1), [], np.zeros((1, 0)))
    labels.option = np.zeros(1, np.intp)
    for message in sorted(messages, key=lambda m: len(m.cost)):
        join(tables, gauges, labels, message, most)
        settle(tables, gauges, labels)
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
