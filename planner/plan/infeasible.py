"""Why nothing is feasible: what fell to which rule, the nearest miss, and what would fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from costmodels.units import DAY_S, GB, Num, scalar
from planner.cluster.choices import cluster_of
from planner.errors import NoFeasiblePlan
from planner.job import Job, Metric
from planner.plan.notes import LITTLE_GOODPUT
from planner.planning.pooled import search
from planner.planning.searched import Searched, best_of, system_of
from planner.strategy import Strategy
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["explain"]

MEGABYTE = 1e6


def explain(job: Job[TrainingSpec], results: Sequence[Searched]) -> NoFeasiblePlan:
    """Return the exception that says it, in one message."""
    reached = [r for r in results if r.candidates]
    limits = job.constraints
    of_run = (limits.deadline_s, limits.max_cost_usd, limits.min_tokens_per_s)
    if any(r.best is not None for r in results) and of_run == (None, None, None):
        return NoFeasiblePlan(_by_pools(results))
    if not reached:
        return NoFeasiblePlan(_by_rules(job, results))
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


def _by_rules(job: Job[TrainingSpec], results: Sequence[Searched]) -> str:
    tally: dict[str, int] = {}
    for result in results:
        for rule, dropped in result.tally.items():
            tally[rule] = tally.get(rule, 0) + dropped
    last = list(tally)[-1] if tally else "the values that the job allows"
    fell = "; ".join(f"{dropped} fail '{rule}'" for rule, dropped in tally.items())
    said = f"no mesh can be built: {fell or 'nothing to try'}. The last rule to bind: {last}"
    tp, heads = job.strategy.pinned_count("tp"), job.workload.model.heads
    if tp is None or heads % tp == 0:
        return said
    whole = [n for n in range(1, heads + 1) if heads % n == 0]
    near = f"{max(n for n in whole if n < tp)} or {min(n for n in whole if n > tp)}"
    return f"{said}; tp {tp} does not divide the model's {heads} attention heads, tp {near} would"


def _by_memory(job: Job[TrainingSpec], reached: Sequence[Searched]) -> str:
    best = min(reached, key=lambda r: r.found.least_bytes - r.context.memory_limit_bytes)
    context = best.context
    over = best.found.least_bytes - context.memory_limit_bytes
    one = best.dims.take(np.array([best.found.least_row]))
    strategy = training.strategy_of(context, one, 0)
    shown = {k: strategy[k] for k in ("tp", "cp", "pp", "ep", "zero", "recompute", "micro_batch")}
    mesh = ", ".join(f"{k} {v}" for k, v in shown.items())
    if isinstance(away := strategy["offload"], list) and away:
        mesh += f", offload {'+'.join(map(str, away))}"
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
        f" devices of {need / GB:.0f} GB{_in_bytes(job)}"
    )


def _in_bytes(job: Job[TrainingSpec]) -> str:
    """Say what `memory_bytes` counts, where it is so little that another unit was meant."""
    given = job.hardware.set.memory_bytes
    if given is None or given >= MEGABYTE:
        return ""
    return f"; hardware.set.memory_bytes {given:g} counts bytes: 80 GB is 80.0e9"


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


@dataclass(frozen=True)
class _Nearest:
    """The best plan by a metric where nothing but memory limits it."""

    context: training.Context
    step_s: float
    economics: training.Economics


def _by_limits(job: Job[TrainingSpec]) -> str:
    """Plans fit in memory, but none keeps the deadline, the budget or the rate: say the nearest."""
    limits = job.constraints
    confidence = f"with probability {limits.confidence:g}"
    said, cures = [], []
    if limits.deadline_s is not None:
        best = _best_by(job, "time_to_train")
        needs = _one(best.economics.finish_s)
        said.append(
            f"deadline_s {limits.deadline_s:.6g} s: the fastest plan needs {needs:.6g} s"
            f" ({needs / DAY_S:.3g} days) {confidence}, on {_machines(best)}"
        )
        cures.append(_faster(job, best, needs / limits.deadline_s, "more time"))
    if limits.max_cost_usd is not None:
        best = _best_by(job, "cost")
        costs = _one(best.economics.finish_cost_usd)
        said.append(f"max_cost_usd {limits.max_cost_usd:.6g} USD: the cheapest costs"
                    f" {costs:.6g} USD {confidence}, on {_machines(best)}")  # fmt: skip
        cures.append("allow more money, cheaper machines or fewer tokens")
    if limits.min_tokens_per_s is not None:
        best = _best_by(job, "step_time")
        rate = job.workload.global_batch * job.workload.sequence_length / best.step_s
        said.append(
            f"min_tokens_per_s {limits.min_tokens_per_s:.6g} tokens/s: the fastest reaches"
            f" {rate:.6g} tokens/s"
        )
        cures.append(_faster(job, best, limits.min_tokens_per_s / rate, "a lower rate"))
    text = "; ".join(dict.fromkeys(cures))
    return f"plans fit in memory, but none keeps {'; '.join(said)}. {text[0].upper()}{text[1:]}"


def _machines(best: _Nearest) -> str:
    """Say what the nearest plan runs on."""
    cluster = best.context.cluster
    return " and ".join(f"{one.devices} x {one.profile.name}" for one in cluster.each)


def _faster(job: Job[TrainingSpec], best: _Nearest, times: float, else_allow: str) -> str:
    """Say what would make the run `times` as fast: less waiting for hosts, or more devices."""
    run, now = best.economics.run, best.context.cluster.devices
    goodput = _one(run.goodput)
    if job.workload.tokens is not None and goodput < LITTLE_GOODPUT:
        return (
            f"failures and preemptions leave {goodput:.0%} of the time to the run on its {now}"
            " devices: allow failure.spare_nodes, hosts that are taken less often, or a sooner"
            " replacement"
        )
    hardware = job.hardware
    if hardware.pools is not None or hardware.levels or not 1.0 <= times <= 64.0:
        return f"allow more devices, or {else_allow}"
    first = now << max(1, ceil(log2(times)))
    for devices in (*_between(best.context, first // 2, now * times), first, 2 * first):
        if _holds(job, best.context, devices):
            return f"it would hold with {devices} devices, or allow {else_allow}"
    return f"neither {first} nor {2 * first} devices do: allow {else_allow}"


def _between(context: training.Context, half: int, needed: float) -> list[int]:
    """Return the fewest whole nodes that may do between a power of two and the next, if any."""
    cluster = context.cluster
    if cluster.levels[0].kind == "torus":
        return []  # counts of a slice are powers of two
    counts = (half * quarters // 4 for quarters in (5, 6, 7))
    return [n for n in counts if n >= needed and n % cluster.node_devices == 0][:1]


def _holds(job: Job[TrainingSpec], context: training.Context, devices: int) -> bool:
    """Tell whether some plan on a machine and a count keeps all limits."""
    system = system_of(job, context.cluster.profile.name)
    one = {"system": system, "devices": devices, "slice": None}
    hardware = job.hardware.model_copy(update=one)
    return best_of(search(job.model_copy(update={"hardware": hardware}), staged=False)) is not None


def _best_by(job: Job[TrainingSpec], metric: Metric) -> _Nearest:
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
    money = training.economics(job, best.context, best.best, price)
    return _Nearest(best.context, _one(price.total_s), money)


def _one(value: Num | None) -> float:
    return float("nan") if value is None else scalar(value)
