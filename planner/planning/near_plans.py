"""Plans near the best rows of a cluster: other orders of the mesh, and neighbours.

The grid of candidates holds one order of the mesh axes, and only values that the rules of
convenience leave. What could still beat the best row is priced here and ranked among the others.

Parts: `polished`, `reordered`.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from planner.dims import ParallelDims
from planner.fold import fold
from planner.planning.pricing import Candidates, bound_of, objective_of
from planner.search.columns import Found
from planner.workloads import training

__all__ = ["polished", "reordered"]

POLISHES, POLISHED = 2, 48
"""Rounds in which neighbours are tried, and the best meshes of a cluster whose neighbours are."""
MESH = ("tp", "cp", "pp", "ep", "etp", "zero", "schedule", "recompute", "consistency", "sites")


def reordered(rows: Candidates, found: Found) -> Found:
    """Price the other orders of the mesh of all plans that one of them could make the best.

    Those are the plans whose least time, under any order, is below the best objective so far:
    what is chosen is the best of all candidates in all orders. The best plans of the best meshes
    are tried in all orders as well.
    """
    if not len(found.rows) or not training.orders_are_free(rows.job):
        return found
    best = float(found.objective[0])
    hopeful = rows.hopeful(found.fits, best)
    tried = np.union1d(hopeful, _one_a_mesh(rows, found))
    more, _ = training.unlike_orders(rows.context, rows.take(tried))
    more = more.take(more.order != 0.0)
    return _joined(rows, found, more.take(_below(rows, more, best)))


def polished(rows: Candidates, found: Found, keep: int) -> Found:
    """Add the neighbours of the best plans, and theirs, which the rules of convenience left out.

    `keep`: a neighbour worse than this many rows found is not priced.
    """
    tried = np.zeros(0, np.intp)
    for _ in range(POLISHES):
        if not len(found.rows):
            break
        fresh = np.setdiff1d(_one_a_mesh(rows, found), tried)
        tried = np.union1d(tried, fresh)
        found = _with_neighbours(rows, found, fresh, keep)
    return found


def _with_neighbours(rows: Candidates, found: Found, seeds: NDArray[np.intp], keep: int) -> Found:
    """Add the neighbours of some of the best plans."""
    near = training.neighbours(rows.job, rows.context, rows.take(seeds))
    worst = float(found.objective[keep - 1]) if len(found.rows) >= keep else np.inf
    near = near.take(_below(rows, near, worst))
    if not len(near):
        return found
    used = np.asarray(training.memory_of(rows.context, near).total_bytes)
    return _joined(rows, found, near.take(used <= rows.limit_bytes))


def _below(rows: Candidates, more: ParallelDims, objective: float) -> NDArray[np.bool_]:
    """Tell which plans, in their own orders of the mesh, could be below an objective."""
    return bound_of(rows.job, rows.context, more, own_order=True) < objective


def _joined(rows: Candidates, found: Found, more: ParallelDims) -> Found:
    """Price more plans that fit, and rank them among those found."""
    if not len(more):
        return found
    added = rows.add(more)
    values = objective_of(rows.job, rows.context, more)(np.arange(len(more)))
    every = np.concatenate([found.rows, added])
    objectives = np.concatenate([found.objective, values])
    order = np.argsort(objectives, kind="stable")
    order = order[np.isfinite(objectives[order])]
    return dataclasses.replace(
        found,
        rows=every[order],
        objective=objectives[order],
        priced=found.priced + len(added),
        bound=min(found.bound, float(np.min(objectives, initial=np.inf))),
    )


def _one_a_mesh(rows: Candidates, found: Found) -> NDArray[np.intp]:
    """Take the best rows of the POLISHED best meshes, and the very best ones beside them."""
    best = rows.take(found.rows)
    _, first = np.unique(fold(best, MESH).inverse, return_index=True)
    places = np.union1d(np.sort(first)[:POLISHED], np.arange(min(8, len(best))))
    return found.rows[places]
