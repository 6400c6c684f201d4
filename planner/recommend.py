"""The one-way path from a job to its plan: search, the best, the document.

`plan` searches, `predict` prices what is pinned. Both return plan.json as a dict. The price that
chose a plan is the price that it shows. Knows the order of the steps; each step is elsewhere.
"""

import time
from collections.abc import Mapping

import planner
from planner.errors import TimeLimitReached
from planner.job import Job
from planner.plan import alternatives, document, infeasible
from planner.planning.pooled import resolved, search
from planner.planning.searched import Progress, Searched, SearchOptions, best_of, system_of
from planner.strategy import Strategy
from planner.workloads.training.function import FunctionJob, FunctionSpec
from planner.workloads.training.spec import TrainingSpec

__all__ = ["plan", "predict"]


def plan(
    job: Job[TrainingSpec] | FunctionJob,
    *,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Search for the best plan of a job.

    Raises
    ------
    NoFeasiblePlan   : nothing meets the rules, the memory and the limits of the run
    TimeLimitReached : the limit ended the search before any plan was priced
    """
    if isinstance(job.workload, FunctionSpec):
        from planner.functions import path  # imports JAX when it is used

        return path.plan(job, time_limit_s=time_limit_s, progress=progress)
    start = time.monotonic()
    deadline = None if time_limit_s is None else start + time_limit_s
    results = search(job, SearchOptions(deadline=deadline, progress=progress))
    best = best_of(results)
    if best is None:
        if any(r.found.status == "time_limit" for r in results):
            raise TimeLimitReached("no plan was priced within the time limit; allow more seconds")
        raise infeasible.explain(job, results)
    job = resolved(job, best)
    pins = _pin_price(job, best, deadline)
    beside = _synchronous(job, best, deadline)
    wall_s = time.monotonic() - start
    return document.make(job, results, best, pins, wall_s, planner.__version__, beside)


def predict(job: Job[TrainingSpec] | FunctionJob) -> dict[str, object]:
    """Price a pinned strategy; what is left free takes its best value.

    A strategy that does not fit in memory is priced all the same, with `fits: false`.

    Raises
    ------
    NoFeasiblePlan : the pinned values contradict each other or the model
    """
    if isinstance(job.workload, FunctionSpec):
        from planner.functions import path

        return path.predict(job)
    start = time.monotonic()
    free = job.model_copy(update={"constraints": job.constraints.model_copy(update={
        "deadline_s": None, "max_cost_usd": None, "min_tokens_per_s": None})})  # fmt: skip
    results = search(free, staged=False)
    best = best_of(results)
    if best is None:
        results = search(free, SearchOptions(memory=False))
        best = best_of(results)
    if best is None:
        raise infeasible.explain(job, results)
    beside = _synchronous(free, best, None)
    wall_s = time.monotonic() - start
    job = resolved(job, best)
    return document.make(job, results, best, None, wall_s, planner.__version__, beside)


def _pin_price(
    job: Job[TrainingSpec], best: Searched, deadline: float | None
) -> Mapping[str, object] | None:
    """Search without the job's pins, on the chosen cluster, and say what they cost."""
    if not job.strategy.model_dump(exclude_none=True):
        return None
    free = _on_cluster(job, best).model_copy(update={"strategy": Strategy()})
    return alternatives.pins(best, best_of(search(free, SearchOptions(deadline=deadline))))


def _synchronous(job: Job[TrainingSpec], best: Searched, deadline: float | None) -> Searched | None:
    """Search the best synchronous plan of the chosen cluster, where the best one is not."""
    if best.best is None or not best.best.consistency[0]:
        return None
    strategy = job.strategy.model_copy(update={"consistency": "synchronous"})
    pinned = _on_cluster(job, best).model_copy(update={"strategy": strategy})
    return best_of(search(pinned, SearchOptions(deadline=deadline)))


def _on_cluster(job: Job[TrainingSpec], best: Searched) -> Job[TrainingSpec]:
    """Return the job on the chosen cluster alone."""
    cluster = best.context.cluster
    hardware = job.hardware
    if hardware.pools is None:
        system = system_of(job, cluster.profile.name)
        hardware = hardware.model_copy(update={"system": system, "devices": cluster.devices})
    return job.model_copy(update={"hardware": hardware})
