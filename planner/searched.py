"""A job's clusters, searched: candidates, orders of the mesh, and the neighbours of the best.

`search` is the one way from a job to ranked plans; `recommend` makes a document of its answer,
`explain` and `what-if` ask it again. Prints and explains nothing.

Parts: `Searched`, `search`, `best_of`.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.load import load
from planner.choices import between, clusters
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.fold import fold
from planner.job import DeviceRange, Job
from planner.pricing import (
    Candidates,
    arithmetic_bound,
    bound_of,
    longest_step_s,
    objective_of,
    worth_of_a_step,
)
from planner.refined import refined
from planner.search.columns import Found, top_rows
from planner.workloads import SHAPES, training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["FEW_CLUSTERS", "Progress", "Searched", "best_of", "system_of", "search"]

KEPT = 400
"""Best rows kept of every cluster, for alternatives."""
FEW_CLUSTERS, REFINED = 6, 4
"""Clusters up to which each is searched on the full grid and keeps all its candidates; of more
than that, how many of the best are searched so after a coarse grid."""
POLISHES, POLISHED = 2, 48
"""Rounds in which neighbours are tried, and the best meshes of a cluster whose neighbours are."""
MESH = ("tp", "cp", "pp", "ep", "etp", "zero", "schedule", "recompute", "consistency", "sites")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Searched:
    """One cluster, searched.

    `dims` are its candidates, or only the best of them where there are many clusters; `found`
    counts rows of `dims`; `candidates` is how many there were. `dealt` counts the meshes whose
    stages were searched one by one; None: stages are alike. A plan over several pools stands
    in a context of its own, so `dims` is the best one alone and `rivals` are the next ones.
    `eligible`: may be the answer; a pool alone is not, where the job asks for all.
    """

    context: training.Context
    dims: ParallelDims
    tally: dict[str, int]
    found: Found
    candidates: int
    rivals: tuple[tuple[training.Context, ParallelDims], ...] = ()
    eligible: bool = True
    dealt: int | None = None

    @property
    def best(self) -> ParallelDims | None:
        """The best plan, or None."""
        return self.dims.take(self.found.rows[:1]) if len(self.found.rows) else None

    @property
    def objective(self) -> float:
        """Objective of the best plan, infinite without one."""
        return float(self.found.objective[0]) if len(self.found.rows) else np.inf


def search(
    job: Job[TrainingSpec],
    *,
    limit_memory: bool = True,
    staged: bool = True,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> list[Searched]:
    """Search every cluster that the job allows.

    `staged`: stages of a pipeline may differ where the job does not pin them; else they are as
    even as can be.

    For the fewest devices of a range, whole nodes between the counts tried first are searched too.
    Where nothing fits (savings included, see `training.savings`), what else the software stack
    can offload is tried: one kind after the other, then all.
    """
    made = clusters(job.hardware)
    if len(made) > FEW_CLUSTERS:
        results = _search(job, made, limit_memory, deadline, progress, hopeful=True)
        if all(np.isinf(result.objective) for result in results):  # to say why
            results = _search(job, made, limit_memory, deadline, progress)
        results = _refined(job, results, limit_memory, deadline, progress)
    else:
        results = _search(job, made, limit_memory, deadline, progress)
    if job.objective.metric == "devices":
        results = _fewest(job, results, limit_memory, deadline, progress)
    staged = staged and limit_memory
    if staged:
        results = _staged(job, results, deadline)
    if job.strategy.offload is not None or any(len(r.found.rows) for r in results):
        return results
    supported = results[0].context.stack.supports.offload if results else ()
    tries = [(what,) for what in supported] + ([supported] if len(supported) > 1 else [])
    for offload in tries:
        pinned = job.strategy.model_copy(update={"offload": offload})
        again = _search(
            job.model_copy(update={"strategy": pinned}), made, limit_memory, deadline, progress
        )
        if any(len(r.found.rows) for r in again):
            return _staged(job, again, deadline) if staged else again
    return results


def _staged(
    job: Job[TrainingSpec], results: list[Searched], deadline: float | None
) -> list[Searched]:
    """Deal layers to stages one by one on the best clusters, where the job leaves them free."""
    given = job.strategy
    if given.layers_per_stage is not None or given.stages is not None:
        return results
    made = list(results)
    few = len(made) if len(made) <= FEW_CLUSTERS else REFINED
    for place in sorted(range(len(made)), key=lambda i: made[i].objective)[:few]:
        made[place] = _dealt(job, made[place], deadline)
    return made


def _dealt(job: Job[TrainingSpec], result: Searched, deadline: float | None) -> Searched:
    scale, found = worth_of_a_step(job, result.context), result.found
    if scale == 0.0 or found.status == "time_limit" or not len(result.dims):
        return result
    made = refined(
        job, result.context, result.dims, result.objective, scale,
        longest_step_s(job, result.context),
        lambda context, dims: objective_of(job, context, dims)(np.arange(len(dims))), deadline,
    )  # fmt: skip
    added = len(result.dims) + np.arange(len(made.dims))
    rows = np.concatenate([found.rows, added])
    values = np.concatenate([found.objective, made.objective])
    order = [i for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    better = dataclasses.replace(
        found,
        rows=rows[order],
        objective=values[order],
        priced=found.priced + len(added),
        bound=min(found.bound, made.bound),
    )
    return dataclasses.replace(
        result,
        context=made.context,
        dims=result.dims.joined(made.dims),
        found=better,
        candidates=result.candidates + len(added),
        dealt=made.dealt,
    )


def _refined(
    job: Job[TrainingSpec],
    results: list[Searched],
    limit_memory: bool,
    deadline: float | None,
    progress: Progress | None,
) -> list[Searched]:
    """Search the clusters that came out best on the coarse grid again, on the full one.

    Of the others, those that arithmetic does not close are bounded by the rows of the full grid.
    """
    order = sorted(range(len(results)), key=lambda i: results[i].objective)
    for place in order[:REFINED]:
        if np.isfinite(results[place].objective):
            cluster = results[place].context.cluster
            (results[place],) = _search(job, [cluster], limit_memory, deadline, progress)
    best = min(result.objective for result in results)
    for place in order[REFINED:]:
        if job.objective.metric == "devices":
            break  # fewer devices are searched, not bounded
        if deadline is None or time.monotonic() < deadline:
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


def _search(
    job: Job[TrainingSpec],
    made: Sequence[Cluster],
    limit_memory: bool,
    deadline: float | None,
    progress: Progress | None,
    *,
    hopeful: bool = False,
) -> list[Searched]:
    """Search clusters; `hopeful`: without the rows whose bounds break a limit of the run."""
    many = len(made) > FEW_CLUSTERS
    results: list[Searched] = []
    for cluster in made:
        if results and deadline is not None and time.monotonic() > deadline:
            results.append(_not_reached(results[-1]))
            break
        context = training.make(job, cluster)
        dims, tally = SHAPES[job.workload.kind].candidates(job, context, coarse=many)
        limit = context.memory_limit_bytes if limit_memory else np.inf
        rows = Candidates(job, context, dims, limit)
        if hopeful and np.isinf(rows.bounds).any():
            rows = rows.hopeful_ones()
        found = top_rows(
            rows.bounds,
            price=rows.price,
            keep=KEPT,
            deadline=deadline,
            progress=_says(progress, f"{cluster.devices} x {cluster.profile.name}"),
        )
        if many:  # what a coarse grid leaves out is bounded by arithmetic alone
            found = dataclasses.replace(
                found, bound=min(found.bound, arithmetic_bound(job, context))
            )
        found = _reordered(rows, found)
        seeds = none = np.zeros(0, np.intp)
        for _ in range(POLISHES):
            fresh = np.setdiff1d(_one_a_mesh(rows, found) if len(found.rows) else none, seeds)
            seeds = np.union1d(seeds, fresh)
            found = _polished(rows, found, fresh)
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


def _reordered(rows: Candidates, found: Found) -> Found:
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


def _polished(rows: Candidates, found: Found, seeds: NDArray[np.intp]) -> Found:
    """Add the neighbours of some of the best plans, which the rules of convenience left out."""
    near = training.neighbours(rows.job, rows.context, rows.take(seeds))
    worst = float(found.objective[KEPT - 1]) if len(found.rows) >= KEPT else np.inf
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


def _says(progress: Progress | None, phase: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(phase, done, total)


def best_of(results: list[Searched]) -> Searched | None:
    """Cluster with the best plan; the first where several tie."""
    best = min((s for s in results if s.eligible), key=lambda s: s.objective, default=None)
    return best if best is not None and np.isfinite(best.objective) else None


def _fewest(
    job: Job[TrainingSpec],
    results: list[Searched],
    limit_memory: bool,
    deadline: float | None,
    progress: Progress | None,
) -> list[Searched]:
    """Search the counts below the fewest that do, with the rows that may keep the run's limits.

    Of a range, whole nodes or slices between the counts tried are added.
    """
    made = list(results)
    for system in job.hardware.systems:
        own = {
            r.context.cluster.devices: i
            for i, r in enumerate(results)
            if system_of(job, r.context.cluster.profile.name) == system
        }
        enough = min((n for n, i in own.items() if results[i].best is not None), default=0)
        if not enough:
            continue
        counts = [n for n, i in own.items() if n < enough and results[i].found.bound < np.inf]
        if isinstance(job.hardware.devices, DeviceRange):
            counts += between(job.hardware, system, list(own), enough)
        if not counts:
            continue
        fewer = {"system": system, "devices": tuple(counts)}
        for cluster in clusters(job.hardware.model_copy(update=fewer)):
            (result,) = _search(job, [cluster], limit_memory, deadline, progress, hopeful=True)
            if cluster.devices in own:
                made[own[cluster.devices]] = result
            else:
                made.append(result)
    return made


def system_of(job: Job[TrainingSpec], name: str) -> str:
    """Return the system of the job whose profile has a name; a path is a system, but no name."""
    return next((s for s in job.hardware.systems if load(s).name == name), name)
