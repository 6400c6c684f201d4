"""Predicted against measured: price runs files and say how far off, by source and group.

Each run is priced with its strategy pinned. `prepare_all` gives what a fit of constants needs;
`validate` the report of the contract, section 2. Knows measurements; changes no constant.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.units import Column
from planner.choices import clusters
from planner.dims import ParallelDims
from planner.errors import PlannerError
from planner.job import Job
from planner.ranking import Entry, rankings
from planner.runs import Run, RunsFile, job_of, load_runs
from planner.workloads import training
from planner.workloads.training.graph import flop_per_token
from planner.workloads.training.spec import TrainingSpec

__all__ = ["Priced", "prepare_all", "validate"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Priced:
    """A run ready to be priced: its job on its cluster, and the rows that its pins leave open.

    `measured_s` is the step time that the judged metric means, None where nothing was timed;
    `to_metric` turns a step time into that metric and back.
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


def _with_defaults(job: Job[TrainingSpec]) -> Job[TrainingSpec]:
    """Fill `zero`, `sp` and `schedule` with the stack's defaults."""
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
    if given.zero_group is None and given.pinned_count("dp") is None:
        devices = job.hardware.fixed_devices or 1
        stages = given.pinned_count("pp") or 1
        filled["zero_group"] = max(1, devices // tensor // stages)
    return job.model_copy(update={"strategy": given.model_copy(update=filled)})


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
    context = training.make(job, made[0])
    dims, tally = training.candidates(job, context)
    if not len(dims):
        raise PlannerError("cannot be built: " + "; ".join(tally))
    dims, _ = training.with_savings(
        context,
        dims,
        context.memory_bytes,
        offload=False,
        partial=job.strategy.recompute is None,
    )
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


def price(run: Priced) -> tuple[float, float, bool]:
    """Return step time, bytes and whether it fits: of the fastest open row that fits, if any."""
    columns = training.cost(run.context, run.dims)
    step, used = np.asarray(columns.total_s), np.asarray(columns.total_bytes)
    fit = used <= run.context.memory_bytes
    best = int(np.argmin(np.where(fit, step, np.inf) if fit.any() else step))
    return float(step[best]), float(used[best]), bool(fit.any())


def validate(paths: Sequence[Path], progress: Progress | None = None) -> dict[str, object]:
    """Price every run of the files; nothing is skipped without a reason.

    Returns
    -------
    runs    : one entry a run, with `error` = predicted / measured - 1 in time, or `skipped`
    summary : by source and overall, see `_summary`
    """
    entries: list[dict[str, object]] = []
    ranked: list[Entry] = []
    noise: dict[str, float] = {}
    for path in paths:
        file = load_runs(path)
        noise[file.source.name] = file.source.noise or 0.0
        for number, run in enumerate(file.runs):
            if progress:
                progress(file.source.name, number + 1, len(file.runs))
            try:
                prepared = prepare(run, file)
            except PlannerError as error:
                entries.append(_skipped(run, file, str(error)))
                continue
            entry, rank = _compare(prepared)
            entries.append(entry)
            if rank is not None:
                ranked.append(rank)
    sources = list(dict.fromkeys(str(e["source"]) for e in entries))
    by_source = {
        source: _summary(
            [e for e in entries if e["source"] == source],
            [r for r in ranked if r.source == source],
            noise,
        )
        for source in sources
    }
    overall = _summary(entries, ranked, noise)
    timed = [s["mean_absolute_error"] for s in by_source.values() if s["timed"]]
    overall["mean_over_sources"] = float(np.mean(timed)) if timed else None  # type: ignore[arg-type]
    return {"runs": entries, "summary": {"overall": overall, "by_source": by_source}}


def _skipped(run: Run, file: RunsFile, why: str) -> dict[str, object]:
    empty = dict.fromkeys(
        ("metric", "measured", "predicted", "error", "fits", "measured_memory_bytes",
         "predicted_memory_bytes")
    )  # fmt: skip
    return {"id": run.id, "group": run.group, "source": file.source.name, **empty, "skipped": why}


def _compare(prepared: Priced) -> tuple[dict[str, object], Entry | None]:
    step_s, used, fits = price(prepared)
    run, measured_s = prepared.run, prepared.measured_s
    error = None if measured_s is None else step_s / measured_s - 1.0
    entry: dict[str, object] = {
        "id": run.id,
        "group": run.group,
        "source": prepared.source,
        "metric": prepared.metric if measured_s is not None else None,
        "measured": prepared.measured if measured_s is not None else None,
        "predicted": prepared.in_metric(step_s),
        "error": error,
        "fits": fits,
        "measured_memory_bytes": run.measured.peak_memory_bytes,
        "predicted_memory_bytes": used,
        "outcome": run.measured.outcome,
        "skipped": None,
    }
    rank = None
    if run.group is not None and measured_s is not None:
        spec = prepared.job.model_dump_json(exclude={"software": {"runtime"}, "name": True})
        rank = Entry(prepared.source, run.group, spec, measured_s, step_s)
    return entry, rank


def _floats(entries: Iterable[dict[str, object]], key: str) -> Column:
    return np.array([float(e[key]) for e in entries if e[key] is not None])  # type: ignore[arg-type]


def _summary(
    entries: Sequence[dict[str, object]], ranked: Sequence[Entry], noise: dict[str, float]
) -> dict[str, object]:
    """Count, errors, ranking and memory of some runs.

    `mean_absolute_error`, `median_absolute_error`, `p90_absolute_error`, `bias` of time;
    `kendall_tau` and `top1_regret` over groups of four distinct jobs and more;
    `memory_error` of peaks; `oom_right`, `oom_wrong` of runs that ran out of memory, and
    `false_alarms` of runs that did not.
    """
    priced = [e for e in entries if e["skipped"] is None]
    reasons: dict[str, int] = defaultdict(int)
    for entry in entries:
        if entry["skipped"] is not None:
            reasons[str(entry["skipped"])] += 1
    errors = _floats(priced, "error")
    size = np.abs(errors)
    weighed = [e for e in priced if e["measured_memory_bytes"] is not None]
    memory = _floats(weighed, "predicted_memory_bytes") / _floats(weighed, "measured_memory_bytes")
    oom = [e for e in priced if e["outcome"] == "oom"]
    ran = [e for e in priced if e["outcome"] != "oom"]
    ranking = rankings(ranked, noise)

    def stat(values: Column, of: Callable[[Column], object]) -> float | None:
        return float(of(values)) if len(values) else None  # type: ignore[arg-type]

    return {
        "count": len(entries),
        "priced": len(priced),
        "skipped": dict(reasons),
        "timed": len(errors),
        "mean_absolute_error": stat(size, np.mean),
        "median_absolute_error": stat(size, np.median),
        "p90_absolute_error": stat(size, lambda v: np.quantile(v, 0.9)),
        "bias": stat(errors, np.mean),
        "groups_ranked": len(ranking),
        "kendall_tau": stat(np.array([r.tau for r in ranking]), np.mean),
        "top1_regret_mean": stat(np.array([r.regret for r in ranking]), np.mean),
        "top1_regret_median": stat(np.array([r.regret for r in ranking]), np.median),
        "rankings": [{"group": r.group, "tau": r.tau, "regret": r.regret} for r in ranking],
        "memory_count": len(memory),
        "memory_error": stat(np.abs(memory - 1.0), np.mean),
        "memory_bias": stat(memory - 1.0, np.mean),
        "oom_right": sum(1 for e in oom if not e["fits"]),
        "oom_wrong": sum(1 for e in oom if e["fits"]),
        "false_alarms": sum(1 for e in ran if not e["fits"]),
    }
