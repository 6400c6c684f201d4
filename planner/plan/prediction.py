"""The `prediction` of one plan, as plan.json holds it.

Every number is read from the breakdown that chose the plan, or follows from it by a formula of
`costmodels`. Prices nothing anew.
"""

import numpy as np

from costmodels.breakdown import Breakdown
from costmodels.units import scalar
from hardware_profiles.lookup import peak_flop_per_s
from planner.dims import ParallelDims
from planner.errors import InternalError
from planner.graph import WorkloadGraph
from planner.job import Job
from planner.plan.comparable import Interval, interval, likeness
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.traffic import traffic

__all__ = ["interval_figures", "prediction", "run_figures", "time_terms"]

_LEVELS = tuple((i + 0.5) / 10.0 for i in range(10))
"""Quantiles of a run's time that stand for all of it."""


def _model_flop_per_token(graph: WorkloadGraph) -> float:
    """Count what the model needs: the backward of attention is two forwards, as everywhere else.

    The fused kernel's backward computes the scores again; that is recomputation and not counted.
    """
    total = 0.0
    for block, op in graph.ops():
        if op.kind != "attention":
            total += block.count * op.flop
        elif op.phase == "forward":
            total += block.count * 3.0 * op.flop
    return total


def _peak_flop_per_s(context: training.Context) -> float:
    """Peak of a device at the job's precision; the mean of them where they are unlike."""
    fleet = context.cluster.each
    peaks = [peak_flop_per_s(c.profile, context.spec.precision).value for c in fleet]
    if len(fleet) == 1:
        return peaks[0]
    whole = sum(c.devices * peak for c, peak in zip(fleet, peaks, strict=True))
    return whole / context.cluster.devices


def prediction(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
    price: Breakdown | None = None,
) -> dict[str, object]:
    """Price one plan (`dims` of length one) and return its figures.

    Parameters
    ----------
    price : the plan's, where it was priced among others

    Raises
    ------
    InternalError : a figure is not a number
    """
    price = training.cost(context, dims).at(0) if price is None else price
    run = training.economics(job, context, dims, price)
    step_s, used = scalar(price.total_s), scalar(price.total_bytes)
    spec, cluster = job.workload, context.cluster
    tokens_per_s = spec.global_batch * spec.sequence_length / step_s / cluster.devices
    flop_per_s = tokens_per_s * _model_flop_per_token(context.graph)
    limit = scalar(training.limit_bytes(context, dims))
    sure = interval(likeness(context, dims))
    made: dict[str, object] = {
        "step_time_s": step_s,
        **interval_figures(sure, step_s, run),
        "tokens_per_s_per_device": tokens_per_s,
        "model_flop_per_s_per_device": flop_per_s,
        "mfu": flop_per_s / _peak_flop_per_s(context),
        **run_figures(run, job.constraints.confidence),
        "time": time_terms(price),
        "memory": [
            {"name": m.name, "kind": m.kind, "bytes": scalar(m.bytes), "source": m.source}
            for m in price.memory
        ],
        "memory_bytes": used,
        "memory_limit_bytes": limit,
        "fits": used <= limit,
        "memory_by_stage": training.stage_memory(context, dims),
        "traffic": traffic(context, dims),
    }
    if job.constraints.deadline_s is not None and run.finish_s is not None:
        made["deadline_chance"] = _deadline_chance(job, context, dims, price, sure)
    if dims.consistency[0]:
        made["updates"] = _updates(context, dims)
    if context.parts:
        made["pools"] = training.pool_figures(context, dims)
    if not np.isfinite(step_s) or not np.isfinite(used):
        raise InternalError(f"the price of {dims.row(0)} is not a number")
    return made


def interval_figures(sure: Interval, step_s: float, run: training.Economics) -> dict[str, object]:
    """Return the interval of the step time, and of what follows from it: the run's time and cost.

    Those of the run are around the mean over failures.
    """
    mean_s = run.time_to_train_s
    return {
        "interval_s": sure.around(step_s),
        "interval_coverage": sure.coverage,
        "interval_basis": sure.basis,
        "time_to_train_interval_s": None if mean_s is None else sure.around(scalar(mean_s)),
        "cost_usd_interval": sure.around(scalar(run.cost_usd)),
    }


def _deadline_chance(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
    price: Breakdown,
    sure: Interval,
) -> float:
    """Return the probability that the run keeps its deadline: failures and prediction together.

    The mean, over quantiles of the time that failures give, of the chance that the steps are fast
    enough to keep the deadline then. A run's time is taken to grow as its steps do.
    """
    deadline_s = job.constraints.deadline_s
    assert deadline_s is not None
    chances = []
    for level in _LEVELS:
        limits = job.constraints.model_copy(update={"confidence": level})
        asked = job.model_copy(update={"constraints": limits})
        finish_s = training.economics(asked, context, dims, price).finish_s
        assert finish_s is not None  # a deadline needs a number of tokens
        chances.append(sure.chance(deadline_s / scalar(finish_s)))
    return float(np.mean(chances))


def _updates(context: training.Context, dims: ParallelDims) -> dict[str, object]:
    """Return updates to the target over synchronous ones: as priced, by the law, their range."""
    found = training.updates(context, dims)
    return {
        "factor": scalar(found.factor),
        "law": scalar(found.law),
        "range": [scalar(found.least), scalar(found.factor)],
        "source": "training.learning; costmodels.staleness",
    }


def run_figures(run: training.Economics, confidence: float) -> dict[str, object]:
    """Return what the run of a plan costs and how often it fails, as plan.json holds it."""
    return {
        "cost_usd": scalar(run.cost_usd),
        "energy_j": scalar(run.energy_j),
        "time_to_train_s": None if run.time_to_train_s is None else scalar(run.time_to_train_s),
        "finish_s": None if run.finish_s is None else scalar(run.finish_s),
        "finish_confidence": confidence,
        "steps": None if run.steps is None else scalar(run.steps),
        "goodput": scalar(run.run.goodput),
        "checkpoint_interval_s": scalar(run.run.checkpoint_interval_s),
        "checkpoint_s": scalar(run.run.checkpoint_s),
        "mtbf_s": scalar(run.run.mtbf_s),
        "failures_expected": (
            None if run.run.failures_expected is None else scalar(run.run.failures_expected)
        ),
        "preemptions_expected": (
            None if run.run.preemptions_expected is None else scalar(run.run.preemptions_expected)
        ),
    }


def time_terms(price: Breakdown) -> list[dict[str, object]]:
    """Terms of a step, in the order in which they are summed."""
    return [
        {
            "name": term.name,
            "kind": term.kind,
            "exposed_s": scalar(term.time_s),
            "hidden_s": scalar(term.hidden_s),
            "source": term.source,
        }
        for term in price.terms
    ]
