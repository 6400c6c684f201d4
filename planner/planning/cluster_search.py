"""Clusters searched one after the other: candidates, the best rows, and the plans near them.

Parts: `FEW_CLUSTERS`, `REFINED`, `on_full_grid`, `search_clusters`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from planner.cluster import Cluster
from planner.job import Job
from planner.planning.near_plans import polished, reordered
from planner.planning.pricing import Candidates, arithmetic_bound
from planner.planning.searched import Searched, SearchOptions
from planner.search.columns import Found, top_rows
from planner.workloads import SHAPES, training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["FEW_CLUSTERS", "REFINED", "on_full_grid", "search_clusters"]

KEPT = 400
"""Best rows kept of every cluster, for alternatives."""
FEW_CLUSTERS, REFINED = 6, 4
"""Clusters up to which each is searched on the full grid and keeps all its candidates; of more
than that, how many of the best are searched so after a coarse grid."""


def search_clusters(
    job: Job[TrainingSpec],
    made: Sequence[Cluster],
    options: SearchOptions,
    *,
    hopeful: bool = False,
) -> list[Searched]:
    """Search clusters; `hopeful`: without the rows whose bounds break a limit of the run."""
    many = len(made) > FEW_CLUSTERS
    results: list[Searched] = []
    for cluster in made:
        if results and options.passed:
            results.append(_not_reached(results[-1]))
            break
        context = training.make(job, cluster)
        dims, tally = SHAPES[job.workload.kind].candidates(job, context, coarse=many)
        limit = context.memory_limit_bytes if options.memory else np.inf
        rows = Candidates(job, context, dims, limit)
        if hopeful and np.isinf(rows.bounds).any():
            rows = rows.hopeful_ones()
        found = top_rows(
            rows.bounds,
            price=rows.price,
            keep=KEPT,
            deadline=options.deadline,
            progress=options.says(f"{cluster.devices} x {cluster.profile.name}"),
        )
        if many:  # what a coarse grid leaves out is bounded by arithmetic alone
            found = dataclasses.replace(
                found, bound=min(found.bound, arithmetic_bound(job, context))
            )
        found = polished(rows, reordered(rows, found), KEPT)
        result = Searched(context, rows.dims, tally, found, len(rows))
        results.append(_trimmed(result) if many else result)
    return results


def _trimmed(result: Searched) -> Searched:
    """Keep the best candidates alone, or the one that missed by least: many clusters are many."""
    found = result.found
    kept = found.rows if len(found.rows) else np.array([max(0, found.least_row)])
    if not len(result.dims):
        return result
    rows = np.arange(len(found.rows))
    trimmed = dataclasses.replace(found, rows=rows, fits=rows, least_row=0)
    return dataclasses.replace(result, dims=result.dims.take(kept), found=trimmed)


def _not_reached(last: Searched) -> Searched:
    """Stand for the clusters that a time limit left: nothing priced, nothing known."""
    none = np.zeros(0, np.intp)
    nothing = Found(none, np.zeros(0), none, 0, 0, np.inf, -1, 0.0, "time_limit")
    return dataclasses.replace(
        last, dims=last.dims.part(0, 0), tally={}, found=nothing, candidates=0
    )


def on_full_grid(
    job: Job[TrainingSpec],
    results: list[Searched],
    options: SearchOptions,
) -> list[Searched]:
    """Search the clusters that came out best on the coarse grid again, on the full one.

    Of the others, those that arithmetic does not close are bounded by the rows of the full grid.
    """
    order = sorted(range(len(results)), key=lambda i: results[i].objective)
    for place in order[:REFINED]:
        if np.isfinite(results[place].objective):
            cluster = results[place].context.cluster
            (results[place],) = search_clusters(job, [cluster], options)
    best = min(result.objective for result in results)
    for place in order[REFINED:]:
        if job.objective.metric == "devices":
            break  # fewer devices are searched, not bounded
        if not options.passed:
            results[place] = _bounded(job, results[place], best)
    return results


def _bounded(job: Job[TrainingSpec], result: Searched, best: float) -> Searched:
    """Bound a cluster that was searched on the coarse grid by the full grid's rows, unpriced."""
    found, context = result.found, result.context
    if found.bound >= best or found.status == "time_limit":
        return result
    dims, _ = SHAPES[job.workload.kind].candidates(job, context)
    least = float(np.min(Candidates(job, context, dims, np.inf).bounds, initial=np.inf))
    bound = min(result.objective, max(found.bound, least))
    return dataclasses.replace(result, found=dataclasses.replace(found, bound=bound))
