"""A job on one kind of device: every cluster that it allows, searched, stages and savings included.

`search` is the one way from such a job to ranked plans; `planner.planning.pooled` asks it for each
pool. Prints and explains nothing.

Parts: `search`.
"""

import dataclasses

import numpy as np

from costmodels.units import Column
from planner.cluster.choices import clusters
from planner.dims import ParallelDims
from planner.job import Job
from planner.planning.cluster_search import FEW_CLUSTERS, REFINED, on_full_grid, search_clusters
from planner.planning.fewest_devices import fewest
from planner.planning.pricing import longest_step_s, objective_of, worth_of_a_step
from planner.planning.refined import Refined, refined
from planner.planning.searched import DEFAULTS, Searched, SearchOptions
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["search"]

HOPELESS = 2.0
"""Smallest plan over the memory limit from which on no dealing of layers is tried: what the ends
of a pipeline hold beside their layers is less than the layers of a stage (assumed)."""


def search(
    job: Job[TrainingSpec], options: SearchOptions = DEFAULTS, *, staged: bool = True
) -> list[Searched]:
    """Search every cluster that the job allows.

    `staged`: stages of a pipeline may differ where the job does not pin them; else they are as
    even as can be.

    For the fewest devices of a range, whole nodes between the counts tried first are searched too.
    Where nothing fits (savings included, see `training.savings`), what else the software stack
    can offload is tried: one kind after the other, then all. If still nothing fits, what came
    nearest to it is returned.
    """
    made = clusters(job.hardware)
    if len(made) > FEW_CLUSTERS:
        results = search_clusters(job, made, options, hopeful=True)
        if all(np.isinf(result.objective) for result in results):  # to say why
            results = search_clusters(job, made, options)
        results = on_full_grid(job, results, options)
    else:
        results = search_clusters(job, made, options)
    if job.objective.metric == "devices":
        results = fewest(job, results, options)
    staged = staged and options.memory
    if staged:
        results = _staged(job, results, options.deadline)
    if job.strategy.offload is not None or any(len(r.found.rows) for r in results):
        return results
    none_fits = not any(r.found.priced for r in results)
    supported = results[0].context.stack.supports.offload if results else ()
    tries = [(what,) for what in supported] + ([supported] if len(supported) > 1 else [])
    for offload in tries:
        pinned = job.strategy.model_copy(update={"offload": offload})
        again = search_clusters(job.model_copy(update={"strategy": pinned}), made, options)
        if any(len(r.found.rows) for r in again):
            return _staged(job, again, options.deadline) if staged else again
        results = min(results, again, key=_missed_bytes) if none_fits else results
    return results


def _missed_bytes(results: list[Searched]) -> float:
    """Bytes by which the smallest plan of any cluster exceeds the limit."""
    reached = [r for r in results if r.candidates]
    return min(
        (r.found.least_bytes - r.context.memory_limit_bytes for r in reached), default=np.inf
    )


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
    by_energy = job.objective.metric == "energy"
    aim = _by_time(job) if by_energy else job
    scale, found = worth_of_a_step(aim, result.context), result.found
    if scale == 0.0 or found.status == "time_limit" or not len(result.dims):
        return result
    if found.least_bytes > HOPELESS * result.context.memory_limit_bytes:
        return result
    hope = result.objective
    if by_energy:
        hope = np.inf if result.best is None else _values(aim, result.context, result.best)[0]
    made = refined(
        aim, result.context, result.dims, hope, scale, longest_step_s(job, result.context),
        lambda context, dims: _values(aim, context, dims), deadline, result.best,
    )  # fmt: skip
    if not by_energy:
        joined = _joined(result, made, made.objective, made.bound)
        return dataclasses.replace(joined, dealt=made.dealt)
    energy = _values(job, made.context, made.dims)
    joined = _joined(result, made, energy, float(energy.min(initial=np.inf)))
    if joined.found.bound == found.bound:
        return joined
    open_ = dataclasses.replace(joined.found, status="feasible")
    return dataclasses.replace(joined, found=open_)


def _joined(result: Searched, made: Refined, values: Column, bound: float) -> Searched:
    """Return a search with the plans that dealing found, of objectives `values`."""
    found, added = result.found, len(result.dims) + np.arange(len(made.dims))
    rows = np.concatenate([found.rows, added])
    objective = np.concatenate([found.objective, values])
    order = np.argsort(objective, kind="stable")
    order = order[np.isfinite(objective[order])]
    better = dataclasses.replace(
        found,
        rows=rows[order],
        objective=objective[order],
        priced=found.priced + len(added),
        bound=min(found.bound, bound),
    )
    return dataclasses.replace(
        result,
        context=made.context,
        dims=result.dims.joined(made.dims),
        found=better,
        candidates=result.candidates + len(added),
    )


def _by_time(job: Job[TrainingSpec]) -> Job[TrainingSpec]:
    """Return the job for the shortest step: idle power bounds energy from too far below to deal by.

    What draws energy is mostly time; what is found is judged by its energy.
    """
    shortest = job.objective.model_copy(update={"metric": "step_time"})
    return job.model_copy(update={"objective": shortest})


def _values(job: Job[TrainingSpec], context: training.Context, dims: ParallelDims) -> Column:
    return objective_of(job, context, dims)(np.arange(len(dims))) if len(dims) else np.zeros(0)
