"""Why the plan is what it is: what binds, what else would cost, what a faster link would buy.

Works from plan.json alone: the plan's job is read again, its strategy priced, its space searched.
Every answer is {what, because, numbers}, and every number an evaluation of the plan's own cost
functions. Writes nothing and formats nothing.

Parts: `explain`.
"""

from collections.abc import Mapping, Sequence

from planner.explain.binds import axes_by_level, binds
from planner.explain.chosen import Chosen, rebuild, step_s
from planner.explain.levers import Lever, levers
from planner.explain.pool import Pool, fill
from planner.explain.why_not import why_not
from planner.plan import alternatives
from planner.plan.findings import Finding, against, amount, changes, delta, finding, losses

__all__ = ["explain"]

TWICE = 2.0


def explain(plan: Mapping[str, object], questions: Sequence[str] = ()) -> dict[str, object]:
    """Explain a plan.

    Parameters
    ----------
    plan      : plan.json, as `plan` or `predict` wrote it
    questions : `tp=4`, or several values with commas, `tp=4,pp=2`: why not these? Of a plan whose
                replicas do not agree every step, why not synchronous is asked as well

    Returns
    -------
    binds, alternatives, faster_link, why_not : lists of {what, because, numbers}

    Raises
    ------
    SpecError      : the file is not a plan, or a question names no key or no value
    NoFeasiblePlan : the strategy in the file cannot be built
    """
    chosen = rebuild(plan)
    if chosen.strategy["consistency"] != "synchronous":
        questions = (*questions, "consistency=synchronous")
    answers = [why_not(chosen, question) for question in dict.fromkeys(questions)]
    pool = fill(chosen.job)
    return {
        "binds": binds(chosen, pool),
        "alternatives": _alternatives(chosen, pool),
        "faster_link": _faster(chosen),
        "why_not": answers,
    }


def _alternatives(chosen: Chosen, pool: Pool) -> list[Finding]:
    """Best plans of other meshes, each with what it loses by."""
    if pool.best is None:
        return []
    found: list[Finding] = []
    for other in alternatives.runners_up(chosen.job, pool.searched, chosen.prediction):
        strategy, made = other["strategy"], other["prediction"]
        assert isinstance(strategy, Mapping) and isinstance(made, Mapping)
        if strategy == chosen.strategy:
            continue
        gaps = delta(made, chosen.prediction)
        found.append(
            finding(
                changes(strategy, chosen.strategy),
                losses(gaps) or "the same terms; it stands later in the list",
                against(made, chosen.prediction),
                strategy=dict(strategy),
                delta=gaps,
            )
        )
    return found


def _faster(chosen: Chosen) -> list[Finding]:
    """Price the plan with each figure of the machine twice as good, the best buy first."""
    now = chosen.one.step_s
    crossing = axes_by_level(chosen)
    found: list[tuple[float, Finding]] = []
    for lever in levers(chosen.cluster, offload=bool(chosen.strategy["offload"])):
        if not lever.of_step:
            continue
        factor = lever.factor(TWICE)
        job, cluster = lever.turn(chosen.job, chosen.cluster, factor)
        then = step_s(chosen, job, cluster)
        numbers = {
            "factor": factor,
            "step_time_s": then,
            "gain_s": now - then,
            "gain_share": 1.0 - then / now,
        }
        what = f"{lever.words} x {factor:g}"
        because = _carries(chosen, lever, crossing)
        found.append((now - then, finding(what, because, numbers, figure=lever.figure)))
    found.sort(key=lambda gain: -gain[0])
    return [each for _, each in found]


def _carries(chosen: Chosen, lever: Lever, crossing: Mapping[str, Sequence[str]]) -> str:
    """Say what of the step depends on a figure."""
    one = chosen.one
    if lever.level:
        axes = crossing[lever.level]
        if not axes:
            return "no axis ends there; those that reach farther cross it too"
        shown, hidden = one.seconds(*axes), one.seconds(*axes, hidden=True)
        named = ", ".join(axes)
        return f"the farthest link of {named}: {amount(shown)} exposed, {amount(hidden)} hidden"
    if lever.figure.startswith("memory"):
        return f"work bound by memory takes {amount(one.seconds('hbm'))}, beside kernels' own reads"
    if lever.figure.startswith("peak"):
        return f"arithmetic takes {amount(one.seconds('compute'))}"
    return f"the host takes {amount(one.seconds('host'))}"
