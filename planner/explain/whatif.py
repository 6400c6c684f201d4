"""What if a figure were another: the job planned again, and the plan's nerves laid open.

`what_if` plans the job as given and as changed, then turns every figure of the machine ten times
each way: the price of the same plan, the best plan then, and whether it is another one. Reads
jobs, writes nothing.

Parts: `what_if`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.units import Column, scalar
from planner import spec
from planner.errors import NoFeasiblePlan
from planner.explain.levers import Lever, levers
from planner.explain.pool import Pool, Rows, fill, objectives
from planner.objective import NEEDS_RUN
from planner.plan.prediction import prediction
from planner.planning.pricing import bound_of
from planner.workloads import training
from planner.workloads.training.spec import TrainingJob

__all__ = ["what_if"]

TIMES = (0.1, 10.0)
PART = 2048
"""Candidates that are priced at once under a changed figure."""
MOST = 24_576
"""Candidates that are priced at most under a changed figure, of those that may be better."""
SAME = 1.0 - 1e-9
"""A plan is another one where its objective is below this share of the same plan's."""


def what_if(job_path: Path, sets: Sequence[str] = ()) -> dict[str, object]:
    """Plan a job again with changed keys, and with every figure ten times each way.

    Parameters
    ----------
    sets : `hardware.devices=512`, as `spec.load` takes them

    Returns
    -------
    base, changed : {system, devices, strategy, prediction} of both plans; `base` holds
                    {infeasible} where the job as given has no plan and the changed one has;
                    `changed` is empty where nothing was set
    sensitivity   : of the changed plan (of the base without `sets`), for every figure and factor:
                    {figure, factor, step_time_s, time_to_train_s, cost_usd, goodput} of the same
                    plan, {best_step_time_s, strategy} of the best plan then, `changed`: whether
                    it is another one, `exact`: whether none of the search's candidates can be
                    better, `feasible`: whether it keeps the limits of the run
    note          : what was held and what was covered

    Raises
    ------
    SpecError      : the file or a setting is wrong
    NoFeasiblePlan : neither job has a plan, or the changed one has none
    """
    given = spec.load(job_path)
    if not sets:
        pool = _pool(given)
        return _answer(_summary(pool), {}, pool)
    changed_job = spec.load(job_path, sets=sets)
    try:
        changed = _pool(changed_job)
    except NoFeasiblePlan as error:
        raise NoFeasiblePlan(f"with {', '.join(sets)}: {error}") from None
    try:
        base = _summary(_pool(given))
    except NoFeasiblePlan as error:
        base = {"infeasible": str(error)}
    return _answer(base, _summary(changed), changed)


def _answer(base: dict[str, object], changed: dict[str, object], pool: Pool) -> dict[str, object]:
    entries = _sensitivity(pool)
    cluster = pool.context.cluster
    rough = sum(not entry["exact"] for entry in entries)
    covered = f"{MOST:,} candidates, the best as given" if rough else "every candidate that fits"
    note = (
        f"sensitivity of the {'changed' if changed else 'base'} plan on {cluster.devices} x"
        f" {cluster.profile.name}, system and count held; the best plan then is of {covered}"
    )
    return {"base": base, "changed": changed, "sensitivity": entries, "note": note}


def _pool(job: TrainingJob) -> Pool:
    """Search the job; NoFeasiblePlan where nothing is feasible."""
    pool = fill(job)
    if pool.best is None:
        raise pool.infeasible()
    return pool


def _summary(pool: Pool) -> dict[str, object]:
    assert pool.best is not None
    one, cluster = pool.best, pool.context.cluster
    return {
        "system": cluster.profile.name,
        "devices": cluster.devices,
        "strategy": training.strategy_of(pool.context, one, 0),
        "prediction": prediction(pool.job, pool.context, one),
    }


def _sensitivity(pool: Pool) -> list[dict[str, object]]:
    rows, values = pool.ranked()
    assert pool.best is not None
    turned = levers(pool.context.cluster, offload=bool(pool.best.offload[0]))
    rivals = _Rivals(pool, rows, values)
    return [_turned(rivals, lever, factor) for lever in turned for factor in TIMES]


@dataclass(frozen=True, slots=True)
class _Rivals:
    """Candidates that fit, best as given first, with their objectives as given."""

    pool: Pool
    rows: Rows
    values: Column


@dataclass(frozen=True, slots=True)
class _Best:
    """Best row under a changed figure, whether surely so, and whether it keeps the limits."""

    row: int
    exact: bool
    feasible: bool


def _turned(rivals: _Rivals, lever: Lever, factor: float) -> dict[str, object]:
    """Price the plan and its rivals with one figure multiplied."""
    pool, same = rivals.pool, int(rivals.rows[0])
    job, cluster = lever.turn(pool.job, pool.context.cluster, factor)
    context = training.rebuilt(pool.context, job, cluster)
    worse = (factor < 1.0) == lever.more_helps and pool.job.objective.metric != "reliability"
    best = _Best(same, True, True)
    if _matters(pool, lever):
        best = _best(rivals, job, context, worse=worse)
    then = pool.plan(best.row)
    entry: dict[str, object] = {"figure": lever.figure, "factor": factor}
    entry |= _figures(pool, job, context, same)
    return entry | {
        "best_step_time_s": _figures(pool, job, context, best.row)["step_time_s"],
        "strategy": training.strategy_of(context, then, 0),
        "changed": best.row != same,
        "exact": best.exact,
        "feasible": best.feasible,
    }


def _matters(pool: Pool, lever: Lever) -> bool:
    """Tell whether a figure can change which plan is best."""
    limits = pool.job.constraints
    of_run = limits.deadline_s is not None or limits.max_cost_usd is not None
    return lever.of_step or of_run or pool.job.objective.metric in NEEDS_RUN


def _best(rivals: _Rivals, job: TrainingJob, context: training.Context, *, worse: bool) -> _Best:
    """Price candidates under a changed figure, best as given first, until none can be better.

    A worse figure makes no plan better. So the first candidate whose price as given is no lower
    than the best found ends the search. Under any figure, candidates whose bound is no lower are
    left out. Both leave the answer exact; of more than `MOST` that a bound leaves, the rest is not
    priced.
    """
    pool, rows, as_given = rivals.pool, rivals.rows, rivals.values
    row, same, best = int(rows[0]), np.inf, np.inf
    bounds = bound_of(job, context, pool.dims.take(rows), own_order=True)
    left, priced = np.arange(len(rows)), 0
    while len(left) and priced < MOST:
        part, left = left[:PART], left[PART:]
        values = objectives(job, context, pool.dims, rows[part])
        if not priced:
            same = best = float(values[0])
        at = int(np.argmin(values))
        if values[at] < min(best, same * SAME):
            best, row = float(values[at]), int(rows[part[at]])
        priced += len(part)
        left = left[(bounds[left] < best) & (not worse or as_given[left] < best)]
    return _Best(row, not len(left), bool(np.isfinite(best)))


def _figures(
    pool: Pool, job: TrainingJob, context: training.Context, row: int
) -> dict[str, float | None]:
    """Step, run and money of one candidate under a changed figure."""
    one = pool.plan(row)
    price = training.cost(context, one)
    run = training.economics(job, context, one, price)
    whole = run.time_to_train_s
    return {
        "step_time_s": scalar(price.total_s),
        "time_to_train_s": None if whole is None else scalar(whole),
        "cost_usd": scalar(run.cost_usd),
        "goodput": scalar(run.run.goodput),
    }
