"""A job's clusters, searched: candidates, savings, prices, and the neighbours of the best.

`search` is the one way from a job to ranked plans; `recommend` makes a document of its answer,
`explain` and `what-if` ask it again. Prints and explains nothing.

Parts: `Searched`, `search`, `objective_of`, `best_of`.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import HOUR_S, Column
from hardware_profiles.load import load
from planner.choices import clusters
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import DeviceRange, Job
from planner.objective import NEEDS_RUN, objective
from planner.refined import refined
from planner.search.columns import Found, top_rows
from planner.workloads import SHAPES, training
from planner.workloads.training.spec import TrainingSpec

__all__ = [
    "FEW_CLUSTERS",
    "Progress",
    "Searched",
    "best_of",
    "bound_of",
    "name_of",
    "objective_of",
    "search",
]

KEPT = 400
"""Best rows kept of every cluster, for alternatives."""
MOST_BETWEEN = 12
"""Device counts tried between the fewest that do and the next fewer that do not."""
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
    results = _search(job, made, limit_memory, deadline, progress)
    if len(made) > FEW_CLUSTERS:
        results = _refined(job, results, limit_memory, deadline, progress)
    if job.objective.metric == "devices":
        results += _fewer(job, results, deadline, progress)
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
    scale, found = _scale(job, result.context), result.found
    if scale == 0.0 or found.status == "time_limit" or not len(result.dims):
        return result
    made = refined(
        job, result.context, result.dims, result.objective, scale,
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
    """Search the clusters that came out best on the coarse grid again, on the full one."""
    order = sorted(range(len(results)), key=lambda i: results[i].objective)
    for place in order[:REFINED]:
        if np.isfinite(results[place].objective):
            cluster = results[place].context.cluster
            (results[place],) = _search(job, [cluster], limit_memory, deadline, progress)
    return results


def _search(
    job: Job[TrainingSpec],
    made: Sequence[Cluster],
    limit_memory: bool,
    deadline: float | None,
    progress: Progress | None,
) -> list[Searched]:
    many = len(made) > FEW_CLUSTERS
    results: list[Searched] = []
    for cluster in made:
        if results and deadline is not None and time.monotonic() > deadline:
            results.append(_not_reached(results[-1]))
            break
        context = training.make(job, cluster)
        dims, tally = SHAPES[job.workload.kind].candidates(job, context, coarse=many)
        limit = context.memory_limit_bytes if limit_memory else np.inf
        dims, used = training.with_savings(
            context,
            dims,
            limit,
            offload=job.strategy.offload is None,
            partial=job.strategy.recompute is None,
        )
        found = top_rows(
            used,
            limit_bytes=limit,
            objective_of=objective_of(job, context, dims),
            bound_of=bound_of(job, context, dims),
            keep=KEPT,
            deadline=deadline,
            progress=_says(progress, f"{cluster.devices} x {cluster.profile.name}"),
        )
        if many and len(dims):  # what a coarse grid leaves out is bounded by arithmetic alone
            least = float(bound_of(job, context, dims)(np.zeros(1, np.intp))[0])
            found = dataclasses.replace(found, bound=min(found.bound, least))
        result = Searched(context, dims, tally, found, len(dims))
        for _ in range(POLISHES):
            result = _polished(job, result, limit)
        results.append(_trimmed(result) if many else result)
    return results


def _trimmed(result: Searched) -> Searched:
    """Keep the best candidates alone, or the one that missed by least: many clusters are many."""
    found = result.found
    kept = found.rows if len(found.rows) else np.array([max(0, found.least_row)])
    if not len(result.dims):
        return result
    trimmed = dataclasses.replace(found, rows=np.arange(len(found.rows)), least_row=0)
    return dataclasses.replace(result, dims=result.dims.take(kept), found=trimmed)


def _not_reached(last: Searched) -> Searched:
    """Stand for the clusters that a time limit left: nothing priced, nothing known."""
    nothing = Found(np.zeros(0, np.intp), np.zeros(0), 0, 0, np.inf, -1, 0.0, "time_limit")
    return dataclasses.replace(
        last, dims=last.dims.part(0, 0), tally={}, found=nothing, candidates=0
    )


def _polished(job: Job[TrainingSpec], result: Searched, limit_bytes: float) -> Searched:
    """Add the neighbours of the best plans that the rules of convenience left out."""
    context, found = result.context, result.found
    if not len(found.rows):
        return result
    best_rows = _one_a_mesh(result.dims, found.rows)
    near = training.neighbours(job, context, result.dims.take(best_rows))
    if not len(near):
        return result
    used = np.asarray(training.memory_of(context, near).total_bytes)
    near = near.take(np.flatnonzero(used <= limit_bytes))
    if not len(near):
        return result
    dims = result.dims.joined(near)
    added = np.arange(len(result.dims), len(dims))
    values = objective_of(job, context, dims)(added)
    rows, objectives = (
        np.concatenate([found.rows, added]),
        np.concatenate([found.objective, values]),
    )
    order = [i for i in np.argsort(objectives, kind="stable") if np.isfinite(objectives[i])]
    best = dataclasses.replace(
        found,
        rows=rows[order],
        objective=objectives[order],
        priced=found.priced + len(added),
        bound=min(found.bound, float(np.min(objectives, initial=np.inf))),
    )
    return dataclasses.replace(
        result, dims=dims, found=best, candidates=result.candidates + len(near)
    )


def _one_a_mesh(dims: ParallelDims, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Take the best rows of the POLISHED best meshes, and the very best ones beside them."""
    meshes = np.stack([getattr(dims, name)[rows] for name in MESH], axis=1)
    _, first = np.unique(meshes, axis=0, return_index=True)
    places = np.union1d(np.sort(first)[:POLISHED], np.arange(min(8, len(rows))))
    return rows[places]


def bound_of(
    job: Job[TrainingSpec], context: training.Context, dims: ParallelDims
) -> Callable[[NDArray[np.intp]], Column]:
    """Return a value that the objective of no given row is below, in the metric's own unit."""
    metric, scale = job.objective.metric, _scale(job, context)

    def of(rows: NDArray[np.intp]) -> Column:
        few = dims.take(rows)
        if metric == "devices":
            return few.devices
        return scale * training.bound_s(context, few)

    return of


def _scale(job: Job[TrainingSpec], context: training.Context) -> float:
    """Return what a second of the step is worth at least, in the metric's own unit; 0: nothing."""
    spec = job.workload
    tokens = float(spec.global_batch * spec.sequence_length)
    steps = 1.0 if spec.tokens is None else float(np.ceil(spec.tokens / tokens))
    usd_per_s = context.cluster.devices * context.cluster.usd_per_device_hour / HOUR_S
    worth = {
        "step_time": 1.0,
        "latency": 1.0,
        "throughput": context.cluster.devices / tokens,
        "time_to_train": steps,
        "cost": steps * usd_per_s,
    }
    return worth.get(job.objective.metric, 0.0)


def _says(progress: Progress | None, phase: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(phase, done, total)


def objective_of(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
) -> Callable[[NDArray[np.intp]], Column]:
    """Return the objective of given rows: infinite where a limit of the run is broken.

    A step counts for what it learns: its time is multiplied by the updates that the plan's
    consistency takes over synchronous ones.
    """
    limits = job.constraints
    run_limits = limits.deadline_s is not None or limits.max_cost_usd is not None
    tokens = float(job.workload.global_batch * job.workload.sequence_length)
    metric = job.objective.metric

    def of(rows: NDArray[np.intp]) -> Column:
        few = dims.take(rows)
        price = training.times_of(context, few)
        raw_s = np.asarray(price.total_s)
        step = raw_s * training.updates_factor(context, few)  # of a synchronous step's progress
        figures: dict[str, Column] = {
            "step_time_s": step,
            "device_seconds_per_token": step * few.devices / tokens,
            "devices": few.devices,
        }
        broken = np.zeros(len(rows), bool)
        if limits.min_tokens_per_s is not None:
            broken |= tokens / raw_s < limits.min_tokens_per_s
        if run_limits or metric in NEEDS_RUN:
            run = training.economics(job, context, few, price)
            whole = step if run.time_to_train_s is None else run.time_to_train_s
            figures |= {
                "cost_usd": np.asarray(run.cost_usd),
                "energy_j": np.asarray(run.energy_j),
                "time_to_train_s": np.asarray(whole),
                "goodput": np.broadcast_to(np.asarray(run.run.goodput), step.shape),
            }
            if limits.deadline_s is not None and run.finish_s is not None:
                broken |= run.finish_s > limits.deadline_s
            if limits.max_cost_usd is not None:
                broken |= run.finish_cost_usd > limits.max_cost_usd
        return np.where(broken, np.inf, objective(metric, figures))

    return of


def best_of(results: list[Searched]) -> Searched | None:
    """Cluster with the best plan; the first where several tie."""
    best = min((s for s in results if s.eligible), key=lambda s: s.objective, default=None)
    return best if best is not None and np.isfinite(best.objective) else None


def _fewer(
    job: Job[TrainingSpec],
    results: list[Searched],
    deadline: float | None,
    progress: Progress | None,
) -> list[Searched]:
    """Search whole nodes between the fewest devices that do and the next fewer that do not."""
    more: list[Searched] = []
    for system in job.hardware.systems:
        own = [r for r in results if r.context.cluster.profile.name in (system, name_of(system))]
        enough = [r.context.cluster.devices for r in own if r.best is not None]
        if not enough or not isinstance(job.hardware.devices, DeviceRange):
            continue
        first = min(enough)
        below = [r.context.cluster.devices for r in own if r.context.cluster.devices < first]
        node = own[0].context.cluster.profile.network[0].devices or 1
        counts = [c for c in range(first - node, max(below, default=first), -node)]
        chosen = counts[:: max(1, len(counts) // MOST_BETWEEN)]
        if chosen:
            hardware = job.hardware.model_copy(
                update={"system": system, "devices": tuple(sorted(chosen))}
            )
            one = job.model_copy(update={"hardware": hardware})
            more += search(one, deadline=deadline, progress=progress)
    return more


def name_of(system: str) -> str:
    """Name of the profile that a system of the job is, which a path is not."""
    return load(system).name
