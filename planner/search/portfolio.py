"""Solvers in turn, the likely ones first, until one proves its answer.

Which ones, and in what order, follows from a problem's structure and size: all combinations where
they are few; the interval search where one sequence holds everything; elimination where the
decision graph is narrow; toulbar2 for cost networks; CP-SAT for bottlenecks and many limits; the
local solver for what is large. The best picks and the best bound of all are the answer.

Parts: `ranked`, the solvers for a problem; `solve`.
"""

import time

import numpy as np

from planner.problem import Problem
from planner.search import cpsat, elimination, exhaustive, intervals, local, priced, wcsp
from planner.search.order import Order, greedy
from planner.search.solution import Solution, Solver, answer
from planner.search.tables import Tables, lower

__all__ = ["ENOUGH", "NAME", "ranked", "solve"]

NAME = "portfolio"
FEW = 20_000
"""Combinations that are simply tried."""
NARROW = 1e6
"""Entries of the largest table that elimination is asked to make."""
MANY, MANY_GAUGES = 1000, 40
"""Decisions, and limits and groups of bottlenecks, that exact solvers are asked for first."""
MOST_OPEN = 3
"""Limits and groups that labels carry at one time; with more, elimination is not asked first."""
CPSAT_ENTRIES, WCSP_ENTRIES = 2e5, 5e6
"""Entries of all pairs together that these solvers are asked to read."""
ENOUGH = 1e-5
"""A gap that is not worth another solver's time."""


def ranked(problem: Problem, tables: Tables) -> tuple[Solver, ...]:
    """Return the solvers to ask, in order."""
    if problem.combinations <= FEW:
        return (exhaustive,)
    found: list[Solver] = []
    count, gauges = (
        len(problem.decisions),
        len(tables.rows) + sum(len(x.groups) for x in tables.loads),
    )
    everything = set(range(count))
    if any(set(one.items) == everything for one in problem.sequences):
        found.append(intervals)
    small = count <= MANY and gauges <= MANY_GAUGES
    order = greedy(tables.sizes, tables.pairs, NARROW)
    narrow: list[Solver] = []
    if order is not None and (small or not gauges):
        narrow = [elimination]
        if not tables.loads and len(tables.rows) <= 1:
            narrow.insert(0, priced)
    entries = sum(table.size for table in tables.pairs.values()) + len(tables.costs)
    exact: list[Solver] = []
    if entries <= WCSP_ENTRIES and count <= MANY and wcsp.available():
        exact.append(wcsp)
    if entries <= CPSAT_ENTRIES:
        exact.insert(0 if tables.loads else len(exact), cpsat)
    if not tables.loads and wcsp.available():
        exact.insert(len(exact) if small else 0, local)
    if order is not None and _open(tables, order) > MOST_OPEN:
        return (*found, *exact[:1], *narrow, *exact[1:])
    return (*found, *narrow, *exact)


def _open(tables: Tables, order: Order) -> int:
    """Return how many limits and groups have members on both sides of a place in the order."""
    place = np.argsort(np.array(order.decisions, np.intp))
    members = [row.members for row in tables.rows]
    members += [np.array(list(group), np.intp) for x in tables.loads for group in x.groups]
    change = np.zeros(len(place) + 1, np.intp)
    for own in members:
        if len(own) > 1:
            change[place[own].min()] += 1
            change[place[own].max()] -= 1
    return int(np.cumsum(change).max())


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Ask the solvers in turn; each gets an equal share of the time that is left."""
    tables = lower(problem)
    if tables.least() == np.inf:
        return answer(problem, None, np.inf)
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    best: Solution = answer(problem, None, tables.least(), "too large for every solver")
    solvers = ranked(problem, tables)
    for at, solver in enumerate(solvers):
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        share = None if left is None else left / (len(solvers) - at)
        best = _better(problem, best, solver.solve(problem, time_limit_s=share, seed=seed))
        if best.status in ("optimal", "infeasible") or best.gap <= ENOUGH:
            break
    return best


def _better(problem: Problem, one: Solution, other: Solution) -> Solution:
    """Return the best picks and the best bound of two answers."""
    found = [s.picks for s in (one, other) if s.picks is not None]
    picks = min(found, key=lambda p: float(problem.cost(p).total_s), default=None)
    return answer(problem, picks, max(one.bound, other.bound), other.reason or one.reason)
