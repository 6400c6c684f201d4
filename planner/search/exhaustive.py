"""Try every combination: the oracle that every other solver is judged by.

It reads the problem itself, not the tables that other solvers share, and sums what the form
says, in the form's own order. Parts: `solve`, the price and the limits of a block of
combinations as columns.
"""

import time

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.problem import Problem
from planner.search.solution import Solution, answer

__all__ = ["MOST", "NAME", "solve"]

NAME = "exhaustive"
MOST = 10_000_000
"""Most combinations that are tried."""
BLOCK = 1 << 16

Picks = tuple[NDArray[np.intp], ...]


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Price every combination; ties go to the first in lexicographic order.

    Above `MOST` combinations nothing is tried. The seed is not used.
    """
    if problem.combinations > MOST:
        return answer(problem, None, reason=f"more than {MOST} combinations")
    sizes = tuple(len(d.options) for d in problem.decisions)
    count = int(np.prod(sizes, dtype=np.int64))
    deadline = np.inf if time_limit_s is None else time.monotonic() + time_limit_s
    best, at = np.inf, -1
    for start in range(0, count, BLOCK):
        if time.monotonic() > deadline:
            break
        numbers = np.arange(start, min(count, start + BLOCK))
        picks = np.unravel_index(numbers, sizes) if sizes else ()
        cost = np.where(_kept(problem, picks, len(numbers)), _cost(problem, picks), np.inf)
        least = int(np.argmin(cost))
        if cost[least] < best:
            best, at = float(cost[least]), start + least
    else:
        return answer(problem, _picks(at, sizes), best)
    return answer(problem, _picks(at, sizes), reason="time limit")


def _picks(at: int, sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the picks of one combination, by its number; -1 is none."""
    if at < 0:
        return None
    return tuple(int(pick) for pick in np.unravel_index(at, sizes)) if sizes else ()


def _cost(problem: Problem, picks: Picks) -> Column:
    """Cost of every row of picks."""
    total = np.asarray(float(problem.base.total_s))
    for decision, pick in zip(problem.decisions, picks, strict=True):
        total = total + decision.time_s[pick]
    for one in problem.couplings:
        table = np.asarray(one.cost.total_s, float)
        total = total + table[picks[one.first], picks[one.second]]
    for bottleneck in problem.bottlenecks:
        base = bottleneck.base or (0.0,) * len(bottleneck.loads)
        loads = []
        for start, load in zip(base, bottleneck.loads, strict=True):
            group = np.asarray(start)
            for decision_at, column in load.items():
                group = group + np.asarray(column, float)[picks[decision_at]]
            loads.append(group)
        total = total + bottleneck.weight * np.max(np.broadcast_arrays(*loads), axis=0)
    return total


def _kept(problem: Problem, picks: Picks, rows: int) -> NDArray[np.bool_]:
    """Tell which rows keep every limit and every sequence."""
    kept = np.ones(rows, bool)
    for limit in problem.limits:
        used = np.zeros(rows)
        for member in limit.members:
            used = used + problem.decisions[member].usage(limit.resource)[picks[member]]
        kept &= ~(used > limit.capacity)
    for sequence in problem.sequences:
        of = zip(sequence.items, sequence.group_of, strict=True)
        groups = [np.asarray(group)[picks[item]] for item, group in of]
        for here, after in zip(groups, groups[1:], strict=False):
            kept &= (here <= after) if sequence.empty else (here == after) | (here + 1 == after)
        if not sequence.empty:
            kept &= (groups[0] == 0) & (groups[-1] == sequence.groups - 1)
    return kept
