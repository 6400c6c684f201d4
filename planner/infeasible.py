"""Why nothing is feasible: what fell to which rule, the nearest miss, and what would fit."""

from collections.abc import Sequence

import numpy as np

from costmodels.units import GB, Num, scalar
from planner.choices import cluster_of
from planner.errors import NoFeasiblePlan
from planner.job import Job, Metric
from planner.pooled import search
from planner.searched import Searched, best_of
from planner.strategy import Strategy
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["explain"]


def explain(job: Job[TrainingSpec], results: Sequence[Searched]) -> NoFeasiblePlan:
    """Return the exception that says it, in one message."""
    reached = [r for r in results if r.candidates]
    limits = job.constraints
    of_run = (limits.deadline_s, limits.max_cost_usd, limits.min_tokens_per_s)
    if any(r.best is not None for r in results) and of_run == (None, None, None):
        return NoFeasiblePlan(_by_pools(results))
    if not reached:
        return NoFeasiblePlan(_by_rules(results))
    priced = [r for r in reached if r.found.priced]
    if priced:
        return NoFeasiblePlan(_by_limits(job))
    return NoFeasiblePlan(_by_memory(job, reached))


def _by_pools(results: Sequence[Searched]) -> str:
    """Pools alone have plans, but no plan is over all that the job must use."""
    able = [r.context.cluster.name for r in results if r.best is not None]
    unable = [r.context.cluster.name for r in results if r.best is None]
    said = "no plan over all pools can be built or fits in memory, side by side or end to end"
    alone = f"; {', '.join(able)} alone can run the job"
    cannot = f", {', '.join(unable)} cannot" if unable else ""
    return f"{said}{alone}{cannot}. Allow hardware.use: any, or pools that divide batch and model"


def _by_rules(results: Sequence[Searched]) -> str:
    tally: dict[str, int] = {}
    for result in results:
        for rule, dropped in result.tally.items():
            tally[rule] = tally.get(rule, 0) + dropped
    last = list(tally)[-1] if tally else "the values that the job allows"
    fell = "; ".join(f"{dropped} fail '{rule}'" for rule, dropped in tally.items())
    return f"no mesh can be built: {fell or 'nothing to try'}. The last rule to bind: {last}"


def _by_memory(job: Job[TrainingSpec], reached: Sequence[Searched]) -> str:
    best = min(reached, key=lambda r: r.found.least_bytes - r.context.memory_limit_bytes)
    context = best.context
    over = best.found.least_bytes - context.memory_limit_bytes
    one = best.dims.take(np.array([best.found.least_row]))
    strategy = training.strategy_of(context, one, 0)
    shown = {k: strategy[k] for k in ("tp", "cp", "pp", "ep", "zero", "recompute", "micro_batch")}
    mesh = ", ".join(f"{k} {v}" for k, v in shown.items())
    held = training.memory_of(context, one).at(0).memory
    largest = max(held, key=lambda m: float(m.bytes))
    need = best.found.least_bytes / (1.0 - context.memory_reserve)
    enough = _devices_enough(job, context)
    more = f"{enough} devices" if enough else "a shorter sequence or a smaller model"
    count = sum(r.candidates for r in reached)
    return (
        f"{count} candidates, all exceed the memory limit; the closest by {over / GB:.1f} GB"
        f" ({best.found.least_bytes / GB:.1f} of {context.memory_limit_bytes / GB:.1f} GB on"
        f" {context.cluster.devices} x {context.cluster.profile.name}: {mesh}); most of it is"
        f" {largest.name}, {float(largest.bytes) / GB:.1f} GB. It would fit with {more}, or with"
        f" devices of {need / GB:.0f} GB"
    )


def _devices_enough(job: Job[TrainingSpec], context: training.Context) -> int | None:
    """Double the devices until some plan fits in memory, at most sixty-four times as many."""
    free = job.model_copy(update={"strategy": Strategy()})
    for doubling in range(1, 7):
        devices = context.cluster.devices << doubling
        cluster = cluster_of(
            job.hardware.model_copy(update={"slice": None}), context.cluster.profile, devices
        )
        larger = training.make(free, cluster)
        dims, _ = training.candidates(free, larger)
        _, used = training.with_savings(
            larger, dims, larger.memory_limit_bytes, offload=True, partial=False
        )
        if bool(np.any(used <= larger.memory_limit_bytes)):
            return devices
    return None


def _by_limits(job: Job[TrainingSpec]) -> str:
    """Plans fit in memory, but none keeps the deadline, the budget or the rate: say the nearest."""
    limits = job.constraints
    confidence = f"with probability {limits.confidence:g}"
    said = []
    if limits.deadline_s is not None:
        _, run = _best_by(job, "time_to_train")
        said.append(
            f"deadline_s {limits.deadline_s:.6g}: the fastest plan needs"
            f" {_one(run.finish_s):.6g} s {confidence}"
        )
    if limits.max_cost_usd is not None:
        _, run = _best_by(job, "cost")
        said.append(
            f"max_cost_usd {limits.max_cost_usd:.6g}: the cheapest costs"
            f" {_one(run.finish_cost_usd):.6g} {confidence}"
        )
    if limits.min_tokens_per_s is not None:
        step_s, _ = _best_by(job, "step_time")
        rate = job.workload.global_batch * job.workload.sequence_length / step_s
        said.append(
            f"min_tokens_per_s {limits.min_tokens_per_s:.6g}: the fastest reaches {rate:.6g}"
        )
    return "plans fit in memory, but none keeps " + "; ".join(said) + ". Allow more devices or time"


def _best_by(job: Job[TrainingSpec], metric: Metric) -> tuple[float, training.Economics]:
    """Step time and run of the best plan by a metric when nothing but memory limits it."""
    limits = {"deadline_s": None, "max_cost_usd": None, "min_tokens_per_s": None}
    free = job.model_copy(
        update={
            "constraints": job.constraints.model_copy(update=limits),
            "objective": job.objective.model_copy(update={"metric": metric}),
        }
    )
    best = best_of(search(free))
    assert best is not None and best.best is not None  # some plan fits in memory
    price = training.cost(best.context, best.best).at(0)
    return _one(price.total_s), training.economics(job, best.context, best.best, price)


def _one(value: Num | None) -> float:
    return float("nan") if value is None else scalar(value)
