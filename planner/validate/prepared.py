"""Measured runs made ready to be priced: the job of each on its cluster, strategy pinned.

What `validate` compares and what a fit of constants prices again and again. Knows measurements;
judges nothing and changes no constant.

Parts: `Priced`, `prepare`, `prepare_all`, `Price`, `price`, `logged_stages`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.units import Column
from hardware_profiles.runtime import recompute_of
from planner.cluster.choices import clusters
from planner.cluster.levels import Cluster
from planner.dims import ParallelDims
from planner.errors import PlannerError
from planner.job import Job
from planner.strategy import Strategy
from planner.validate.runs import Run, RunsFile, job_of, load_runs
from planner.workloads import training
from planner.workloads.training.graph import flop_per_token
from planner.workloads.training.module_pins import modules_are_there
from planner.workloads.training.recipes import recipes_for
from planner.workloads.training.spec import Lora, TrainingSpec
from planner.workloads.training.stages import last_layout, short_layout

__all__ = ["Price", "Priced", "logged_stages", "prepare", "prepare_all", "price"]


@dataclass(frozen=True)
class Priced:
    """A run ready to be priced: its job on its cluster, and the rows that its pins leave open.

    `measured_s` is the step time that the judged metric means, None where nothing was timed;
    `in_metric` turns a step time into that metric and back.
    """

    run: Run
    source: str
    job: Job[TrainingSpec]
    context: training.Context
    dims: ParallelDims
    metric: str
    measured: float | None
    measured_s: float | None
    per_step: float

    def in_metric(self, step_s: float) -> float:
        """Return a step time in the judged metric."""
        return step_s if self.metric == "step_time_s" else self.per_step / step_s

    def that_fit(self) -> "Priced":
        """Keep the open rows that fit in memory, or the leanest: those that a run could use."""
        return dataclasses.replace(self, dims=_usable(self)[0])


def _with_defaults(job: Job[TrainingSpec]) -> Job[TrainingSpec]:
    """Fill in what the stack does by default: `zero`, `sp`, `schedule`, layers, adapters."""
    from hardware_profiles.stack import load_stack

    stack, given = load_stack(job.software.preset), job.strategy
    tensor, virtual = given.pinned_count("tp") or 1, given.pinned_count("vpp") or 1
    filled: dict[str, object] = {}
    if given.zero is None:
        filled["zero"] = stack.default_zero
    if given.sp is None:
        filled["sp"] = tensor > 1 and stack.supports.sequence_parallel != "never"
    if given.schedule is None:
        filled["schedule"] = "interleaved" if virtual > 1 else "1f1b"
    stages = given.pinned_count("pp") or 1
    if given.zero_group is None and given.pinned_count("dp") is None:
        devices = job.hardware.fixed_devices or 1
        filled["zero_group"] = max(1, devices // tensor // stages)
    work = job.workload
    if given.layers_per_stage is None and given.stages is None:
        layout = _layout(stack.extra_layers, work.model.layers, stages, virtual)
        filled["layers_per_stage"] = layout
    if work.task == "lora" and work.lora is None:
        work = work.model_copy(update={"lora": Lora(targets=stack.default_adapters)})
    return job.model_copy(update={"strategy": given.model_copy(update=filled), "workload": work})


def _with_recipe(job: Job[TrainingSpec], machine: str) -> Job[TrainingSpec]:
    """Fill in what the recipes of the run's runtime recompute, where the run does not say.

    A run that did not fit so was not by the recipe: see `prepare`.
    """
    given, said = job.strategy, recompute_of(recipes_for(job, machine))
    if said is None or given.recompute is not None or given.stages is not None:
        return job
    mode = Strategy.model_validate({"recompute": said}).recompute
    made = job.model_copy(update={"strategy": given.model_copy(update={"recompute": mode})})
    return job if modules_are_there(made) else made


def _layout(extra_layers: str, layers: int, stages: int, virtual: int) -> tuple[int, ...] | None:
    """Return how a stack deals layers that its stages do not divide, None for as it comes."""
    chunks = stages * virtual
    if extra_layers == "last" and virtual == 1 and layers % chunks:
        return last_layout(layers, chunks)
    if extra_layers == "but-last" and layers % chunks:
        return short_layout(layers, chunks, virtual > 1)
    return None


def _measured(run: Run, file: RunsFile, job: Job[TrainingSpec]) -> tuple[str, float | None, float]:
    """Judged metric, its measured value, and what a step amounts to in it per device."""
    spec, m = job.workload, run.measured
    tokens = spec.global_batch * spec.sequence_length / (job.hardware.fixed_devices or 1)
    if m.step_time_s is not None:
        return "step_time_s", m.step_time_s, 1.0
    if m.tokens_per_s_per_device is not None:
        return "tokens_per_s_per_device", m.tokens_per_s_per_device, tokens
    full = file.source.attention_flop == "full"
    flop = flop_per_token(spec.model, spec.sequence_length, causal=not full)
    return "model_flop_per_s_per_device", m.model_flop_per_s_per_device, tokens * flop


def _open_rows(
    job: Job[TrainingSpec], cluster: Cluster
) -> tuple[training.Context, ParallelDims, bool]:
    """Return a job on its cluster, the rows that its pins leave open, and whether one fits."""
    context = training.make(job, cluster)
    dims, tally = training.candidates(job, context)
    if not len(dims):
        raise PlannerError("cannot be built: " + "; ".join(tally))
    dims, used = training.with_savings(
        context,
        dims,
        context.memory_bytes,
        offload=False,
        partial=job.strategy.recompute is None,
    )
    return context, dims, bool(used.min() <= context.memory_bytes)


def prepare(run: Run, file: RunsFile) -> Priced:
    """Resolve one run.

    Raises
    ------
    PlannerError : the job is wrong, of another kind, or nothing can be built from its pins
    """
    job = _with_defaults(job_of(run, file))
    made = clusters(job.hardware)
    if len(made) != 1:
        raise PlannerError(f"a run is on one machine: its hardware allows {len(made)}")
    recipe = _with_recipe(job, made[0].profile.name)
    context, dims, fits = _open_rows(recipe, made[0])
    if recipe is job or fits:
        job = recipe
    else:
        context, dims, _ = _open_rows(job, made[0])
    metric, measured, per_step = _measured(run, file, job)
    timed = None
    if measured is not None:
        timed = measured if metric == "step_time_s" else per_step / measured
    if run.measured.outcome == "oom":
        timed = None
    return Priced(run, file.source.name, job, context, dims, metric, measured, timed, per_step)


def prepare_all(paths: Iterable[Path]) -> list[Priced]:
    """Resolve every run of the files that can be priced."""
    prepared = []
    for path in paths:
        file = load_runs(path)
        for run in file.runs:
            try:
                prepared.append(prepare(run, file))
            except PlannerError:
                continue
    return prepared


@dataclass(frozen=True, slots=True)
class Price:
    """What a run is predicted to take and hold.

    Parameters
    ----------
    used_bytes   : of the fullest device
    logged_bytes : the peak that the stack's log prints: the same, or that of the first stage, or
                   what the allocator holds of it
    kinds_s      : exposed seconds of a step by kind
    """

    step_s: float
    used_bytes: float
    logged_bytes: float
    fits: bool
    kinds_s: dict[str, float]


def price(run: Priced) -> Price:
    """Price the fastest open row that fits, or the leanest where none does."""
    row, fits = _chosen(run)
    price = training.cost(run.context, row).at(0)
    used = float(price.total_bytes)
    stack = run.context.stack
    as_used = (stack.logged_stage, stack.logged_bytes) == ("fullest", "device")
    logged = used if as_used else float(logged_stages(run).max())
    kinds = {kind: float(seconds) for kind, seconds in price.by_kind().items()}
    return Price(float(price.total_s), used, logged, fits, kinds)


def logged_stages(run: Priced) -> Column:
    """Return what the stack's log prints of memory, of all stages or of the first."""
    row, _ = _chosen(run)
    held = np.array(training.stage_bytes(_as_logged(run.context), row))
    return held[:1] if run.context.stack.logged_stage == "first" else held


def _as_logged(context: training.Context) -> training.Context:
    """Return the context without what the stack's log leaves out."""
    stack = context.stack
    if stack.logged_bytes == "device":
        return context
    stack = stack.with_values({"base_bytes": 0.0, "group_bytes": 0.0})
    return dataclasses.replace(context, stack=stack)


def _usable(run: Priced) -> tuple[ParallelDims, bool]:
    """Return the open rows that fit, or the leanest, and whether any fits.

    What ran did fit: where the footprint says that nothing does, what saved most is nearest to it.
    """
    used = np.asarray(training.memory_of(run.context, run.dims).total_bytes)
    fit = np.flatnonzero(used <= run.context.memory_bytes)
    if not len(fit):
        return run.dims.take(np.array([np.argmin(used)])), False
    return run.dims.take(fit), True


def _chosen(run: Priced) -> tuple[ParallelDims, bool]:
    """Return the fastest open row that fits, or the leanest, and whether it fits."""
    dims, fits = _usable(run)
    if len(dims) > 1:
        step_s = np.asarray(training.times_of(run.context, dims).total_s)
        dims = dims.take(np.array([np.argmin(step_s)]))
    return dims, fits
