"""Why nothing is feasible: what fell to which rule, the nearest miss, and what would fit."""

from collections.abc import Sequence

import numpy as np

from costmodels.units import GB
from planner.choices import cluster_of
from planner.errors import NoFeasiblePlan
from planner.job import Job
from planner.searched import Searched
from planner.strategy import Strategy
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["explain"]


def explain(job: Job[TrainingSpec], results: Sequence[Searched]) -> NoFeasiblePlan:
    """Return the exception that says it, in one message."""
    reached = [r for r in results if len(r.dims)]
    if not reached:
        return NoFeasiblePlan(_by_rules(results))
    priced = [r for r in reached if r.found.priced]
    if priced:
        return NoFeasiblePlan(_by_limits(job, priced))
    return NoFeasiblePlan(_by_memory(job, reached))


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
    strategy = training.strategy_of(context, one, 0, best.layout)
    shown = {k: strategy[k] for k in ("tp", "cp", "pp", "ep", "zero", "recompute", "micro_batch")}
    mesh = ", ".join(f"{k} {v}" for k, v in shown.items())
    held = training.memory_of(context, one, best.layout).at(0).memory
    largest = max(held, key=lambda m: float(m.bytes))
    need = best.found.least_bytes / (1.0 - context.memory_reserve)
    enough = _devices_enough(job, context)
    more = f"{enough} devices" if enough else "a shorter sequence or a smaller model"
    count = sum(len(r.dims) for r in reached)
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
            larger, dims, None, larger.memory_limit_bytes, offload=True, partial=False
        )
        if bool(np.any(used <= larger.memory_limit_bytes)):
            return devices
    return None


def _by_limits(job: Job[TrainingSpec], priced: Sequence[Searched]) -> str:
    """Plans fit in memory, but none keeps the deadline, the budget or the rate."""
    limits = job.constraints
    tokens = float(job.workload.global_batch * job.workload.sequence_length)
    fastest, dearest = np.inf, np.inf
    rate = 0.0
    for result in priced:
        dims = result.dims
        used = np.asarray(training.memory_of(result.context, dims, result.layout).total_bytes)
        fit = dims.take(np.flatnonzero(used <= result.context.memory_limit_bytes))
        price = training.cost(result.context, fit, result.layout)
        run = training.economics(job, result.context, fit, price)
        rate = max(rate, float(np.max(tokens / price.total_s)))
        if run.finish_s is not None:
            fastest = min(fastest, float(np.min(run.finish_s)))
        dearest = min(dearest, float(np.min(run.finish_cost_usd)))
    confidence = f"with probability {limits.confidence:g}"
    said = []
    if limits.deadline_s is not None:
        said.append(
            f"deadline_s {limits.deadline_s:.6g}: the fastest plan needs {fastest:.6g} s"
            f" {confidence}"
        )
    if limits.max_cost_usd is not None:
        said.append(
            f"max_cost_usd {limits.max_cost_usd:.6g}: the cheapest costs {dearest:.6g} {confidence}"
        )
    if limits.min_tokens_per_s is not None:
        said.append(
            f"min_tokens_per_s {limits.min_tokens_per_s:.6g}: the fastest reaches {rate:.6g}"
        )
    return "plans fit in memory, but none keeps " + "; ".join(said) + ". Allow more devices or time"
