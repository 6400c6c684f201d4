"""Predicted against measured: price runs files and say how far off, by source and group.

Each run is priced with its strategy pinned (`planner.validate.prepared`); the report is that of the
contract, section 2. Knows measurements; changes no constant. Why runs are off is for
`planner.fitting.diagnosis` to say.

Parts: `Validation`, `compare`, `validate`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.units import Column
from planner.errors import PlannerError
from planner.plan.comparable import interval, likeness
from planner.validate.prepared import Price, Priced, prepare, price
from planner.validate.ranking import Entry, rankings
from planner.validate.runs import Run, RunsFile, load_runs

__all__ = ["Validation", "compare", "validate"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Validation:
    """What came of comparing: the report as plain data, and the runs that could be priced."""

    answer: dict[str, object]
    priced: tuple[tuple[Priced, Price], ...]


def validate(paths: Sequence[Path], progress: Progress | None = None) -> dict[str, object]:
    """Price every run of the files and return the report, see `compare`."""
    return compare(paths, progress).answer


def compare(paths: Sequence[Path], progress: Progress | None = None) -> Validation:
    """Price every run of the files; nothing is skipped without a reason.

    The report holds

    runs    : one entry a run, with `error` = predicted / measured - 1 in time, or `skipped`
    summary : by source and overall, see `_summary`
    """
    entries: list[dict[str, object]] = []
    ranked: list[Entry] = []
    priced: list[tuple[Priced, Price]] = []
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
            made = price(prepared)
            priced.append((prepared, made))
            entries.append(_compared(prepared, made))
            ranked += _ranked(prepared, made)
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
    summary = {"overall": overall, "by_source": by_source}
    answer: dict[str, object] = {"runs": entries, "summary": summary}
    return Validation(answer, tuple(priced))


def _skipped(run: Run, file: RunsFile, why: str) -> dict[str, object]:
    empty = dict.fromkeys(
        ("metric", "measured", "predicted", "error", "fits", "measured_memory_bytes",
         "predicted_memory_bytes")
    )  # fmt: skip
    return {"id": run.id, "group": run.group, "source": file.source.name, **empty, "skipped": why}


def _compared(prepared: Priced, made: Price) -> dict[str, object]:
    """Return the entry of one run; `time` are predicted seconds of a step by kind of term."""
    run, measured_s, step_s = prepared.run, prepared.measured_s, made.step_s
    peak = run.measured.peak_memory_bytes
    context = prepared.context
    sure = interval(likeness(context, prepared.dims))
    timed = measured_s is not None
    return {
        "id": run.id,
        "group": run.group,
        "source": prepared.source,
        "metric": prepared.metric if timed else None,
        "measured": prepared.measured if timed else None,
        "predicted": prepared.in_metric(step_s),
        "error": None if measured_s is None else step_s / measured_s - 1.0,
        "inside_interval": None if measured_s is None
        else sure.low <= measured_s / step_s <= sure.high,
        "fits": made.fits,
        "measured_memory_bytes": peak,
        "predicted_memory_bytes": made.used_bytes if peak is None else made.logged_bytes,
        "outcome": run.measured.outcome,
        "measured_step_s": measured_s,
        "predicted_step_s": step_s,
        "machine": context.cluster.profile.name,
        "family": context.stack.family.name,
        "experts": context.spec.model.moe is not None,
        "time": made.kinds_s,
        "skipped": None,
    }  # fmt: skip


def _ranked(prepared: Priced, made: Price) -> list[Entry]:
    """Return the run as one to rank in its group, none where it has no group or no time."""
    group, measured_s = prepared.run.group, prepared.measured_s
    if group is None or measured_s is None:
        return []
    job = prepared.job.model_dump_json(exclude={"software": {"runtime"}, "name": True})
    return [Entry(prepared.source, group, job, measured_s, made.step_s)]


def _floats(entries: Iterable[dict[str, object]], key: str) -> Column:
    return np.array([float(e[key]) for e in entries if e[key] is not None])  # type: ignore[arg-type]


def _summary(
    entries: Sequence[dict[str, object]], ranked: Sequence[Entry], noise: dict[str, float]
) -> dict[str, object]:
    """Count, errors, ranking and memory of some runs.

    `mean_absolute_error`, `median_absolute_error`, `p90_absolute_error`, `bias` of time;
    `inside_interval`: share of timed runs that the interval of 90% holds;
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
        "inside_interval": stat(
            _floats([e for e in priced if e["error"] is not None], "inside_interval"), np.mean
        ),
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
