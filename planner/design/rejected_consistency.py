"""How closely a plan's replicas agree, why, and what other consistency would cost.

A looser consistency is two numbers: the time of a step, from the plan's own cost functions with
its consistency changed, and the updates to the target, from `training.updates`. Their product is
the time that a synchronous step's progress takes, by which plans are compared. Knows one plan and
the best synchronous plan beside it; searches nothing.

Parts: `said`, `because`, `others`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from planner.design import rejected
from planner.design.one_plan import OnePlan
from planner.design.rejected import Alternative
from planner.dims import ParallelDims
from planner.workloads import training
from planner.workloads.training.consistency import across_level, columns_of

__all__ = ["because", "others", "said"]

UNKNOWN = "what it costs in learning is priced when the job gives a statistical model"
Plan = Mapping[str, object]


def said(consistency: object) -> str:
    """Say a strategy's `consistency` in words: ``local updates: 50 steps, then across wide``."""
    if not isinstance(consistency, Mapping):
        return str(consistency or "synchronous")
    if "stale" in consistency:
        return f"bounded staleness of {consistency['stale']} steps"
    local = consistency["local_sgd"]
    return f"local updates: {local['steps']} steps, then across {local['across']} in" + (
        f" {local['precision']}"
    )


def because(plan: OnePlan, beside: Plan | None) -> str:
    """Say why the plan's replicas agree as they do, with the best synchronous plan beside it."""
    if plan.degree("dp") == 1:
        return "There is one replica: nothing can differ."
    share = plan.seconds("dp") / plan.step_s
    updates = plan.prediction.get("updates")
    if not isinstance(updates, Mapping):
        return (
            "Every step ends with equal replicas and learns as one device would; waiting for the"
            f" replicas' exchange takes {share:.1%} of the step."
        )
    low, high = updates["range"]
    progress_s = plan.step_s * float(updates["factor"])
    told = (
        f"A step takes {plan.step_s:.4g} s, {share:.1%} of it waiting for the replicas' exchange,"
        f" and the target takes {updates['factor']:.3g} times the synchronous updates ({low:.3g} to"
        f" {high:.3g}; {updates['law']:.3g} by the law alone): {progress_s:.4g} s for the progress"
        " of a synchronous step."
    )
    if beside is None:
        return f"{told} No synchronous plan fits."
    sync_s = _figure(beside, "step_time_s")
    verdict = f"{sync_s / progress_s:.3g} times as long" if sync_s > progress_s else "less"
    return f"{told} The best synchronous plan takes {sync_s:.4g} s, {verdict}."


def others(plan: OnePlan, beside: Plan | None) -> list[Alternative]:
    """Return other kinds of consistency with what they cost, the best synchronous plan first.

    Where the job does not say how learning is priced, and over several pools, local and
    asynchronous steps are told with the most that they could save.
    """
    if plan.degree("dp") == 1:
        return []
    priced = len(training.searched_kinds(plan.context)) > 1 and not plan.context.parts
    if "updates" not in plan.prediction and not priced:
        return _at_most(plan)
    made = [] if beside is None else [_beside(plan, beside)]
    tried = _tried(plan)
    if not tried:
        return made
    rows = list(tried.values())
    dims = ParallelDims.from_columns({key: np.array([r[key] for r in rows]) for key in rows[0]})
    steps = np.asarray(training.cost(plan.context, dims).total_s)
    factors = np.broadcast_to(training.updates(plan.context, dims).factor, steps.shape)
    for name, step_s, factor in zip(tried, steps, factors, strict=True):
        made.append(_entry(plan, name, float(step_s), float(factor)))
    return made


def _figure(other: Plan, key: str) -> float:
    prediction = other["prediction"]
    assert isinstance(prediction, Mapping)
    return float(prediction[key])


def _progress_s(plan: OnePlan) -> float:
    updates = plan.prediction.get("updates")
    factor = float(updates["factor"]) if isinstance(updates, Mapping) else 1.0
    return plan.step_s * factor


def _entry(plan: OnePlan, choice: str, step_s: float, factor: float) -> Alternative:
    """Return an entry: a step's difference, and that of the progress of a synchronous step."""
    more_s = step_s * factor - _progress_s(plan)
    told = f"a step of {step_s:.4g} s, {factor:.3g} times the updates"
    word = "longer" if more_s >= 0 else "shorter"
    return rejected.rejected(
        choice,
        f"{told}: {abs(more_s):.3g} s {word} for the progress of a synchronous step",
        step_time_s=step_s - plan.step_s,
        progress_s=more_s,
    )


def _beside(plan: OnePlan, beside: Plan) -> Alternative:
    return _entry(plan, "synchronous, its best plan", _figure(beside, "step_time_s"), 1.0)


def _tried(plan: OnePlan) -> dict[str, dict[str, float]]:
    """Rows of the plan's own mesh under other kinds of consistency, by name."""
    cluster, own = plan.context.cluster, plan.dims().row(0)
    level = across_level(cluster)
    sites = cluster.devices / level.inside
    kinds: list[object] = ["synchronous", {"stale": 1}, {"stale": 4}, "asynchronous"]
    if sites > 1 and own["dp"] % sites == 0:
        local = {"across": level.name, "precision": "bf16"}
        kinds += [{"local_sgd": {"steps": steps, **local}} for steps in (30, 100, 300)]
    rows: dict[str, dict[str, float]] = {}
    for kind in kinds:
        plain = {"consistency": 0.0, "sites": 1.0, "apart": 0.0, "outer": 0.0}
        row = {**own, **plain, **columns_of(cluster, kind)}
        inside = own["dp"] * own["cp"] / row["sites"]
        row["zero_group"] = min(own["zero_group"], inside)
        whole = inside % row["zero_group"] == 0
        if kind != plan.strategy.get("consistency") and row["dp"] > 1 and whole:
            rows[f"{said(kind)}, same mesh"] = row
    return rows


def _at_most(plan: OnePlan) -> list[Alternative]:
    """Return local and asynchronous steps with the most that they could save.

    Local steps save at most the exposed exchange of gradients and parameters; asynchronous ones
    that and the wait for stragglers. Neither is bought: what they cost in learning is not known.
    """
    local_s = plan.seconds("dp")
    free_s = local_s + plan.named_s("stragglers")
    saved: Sequence[tuple[str, float]] = (
        ("local steps between exchanges", local_s),
        ("asynchronous", free_s),
    )
    return [
        rejected.rejected(
            choice,
            f"saves at most {saved_s / plan.step_s:.1%} of a step; {UNKNOWN}",
            step_time_s=-saved_s,
        )
        for choice, saved_s in saved
    ]
