"""What else was near: the runners-up and why they lose, what pins cost, the frontier.

Reads searched clusters; prices the few plans that it shows with the plan's own cost function.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice

import numpy as np

from costmodels.breakdown import Breakdown
from costmodels.units import scalar
from planner.dims import ParallelDims
from planner.job import Job
from planner.plan.prediction import prediction
from planner.planning.searched import Searched
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["frontier", "pins", "runners_up"]

SHOWN = 5
MESH = ("tp", "cp", "pp", "ep", "etp", "zero", "recompute", "consistency")


def runners_up(
    job: Job[TrainingSpec],
    best: Searched,
    chosen: Mapping[str, object],
    beside: Searched | None = None,
) -> list[dict[str, object]]:
    """Best plans of other meshes on the same cluster, each with the terms that it loses by.

    Parameters
    ----------
    beside : the search for the best synchronous plan, where the chosen one is not synchronous:
             that plan is the first
    """
    others = list(islice(_other_meshes(best, beside), SHOWN))
    prices = _prices(others)
    return [
        _entry(job, context, one, price, chosen)
        for (context, one), price in zip(others, prices, strict=True)
    ]


def _other_meshes(
    best: Searched, beside: Searched | None
) -> Iterator[tuple[training.Context, ParallelDims]]:
    """Give the best plan of every mesh but the chosen plan's, best first."""
    seen = set()
    for place, (context, one) in enumerate(_in_order(best, beside)):
        mesh = _mesh(context, one)
        if mesh not in seen and place:
            yield context, one
        seen.add(mesh)


def _prices(plans: Sequence[tuple[training.Context, ParallelDims]]) -> list[Breakdown]:
    """Price plans, those of a context together."""
    prices: list[Breakdown] = []
    for _, alike in groupby(plans, key=lambda plan: id(plan[0])):
        (context, dims), *more = alike
        for _, one in more:
            dims = dims.joined(one)
        together = training.cost(context, dims)
        prices += [together.at(row) for row in range(len(dims))]
    return prices


def _in_order(
    best: Searched, beside: Searched | None
) -> Iterator[tuple[training.Context, ParallelDims]]:
    """Give the plans of a cluster, best first; after the best the one to show beside it."""
    for place, row in enumerate(best.found.rows):
        yield best.context, best.dims.take(np.array([row]))
        if not place and beside is not None and beside.best is not None:
            yield beside.context, beside.best
    yield from best.rivals


def _entry(
    job: Job[TrainingSpec],
    context: training.Context,
    one: ParallelDims,
    price: Breakdown,
    chosen: Mapping[str, object],
) -> dict[str, object]:
    made = prediction(job, context, one, price)
    delta = _delta(made, chosen)
    return {
        "strategy": training.strategy_of(context, one, 0),
        "prediction": made,
        "why_worse": _why(made, chosen, delta),
        "delta": delta,
    }


def _mesh(context: training.Context, one: ParallelDims) -> tuple[float, ...]:
    """Return what makes a mesh another one; over several pools, that of each."""
    rows = [{**one.row(0), **part.own} for part in context.parts] or [one.row(0)]
    return tuple(row[name] for row in rows for name in MESH)


def _terms(made: Mapping[str, object]) -> dict[str, float]:
    terms = made["time"]
    assert isinstance(terms, list)
    return {str(t["name"]): float(t["exposed_s"]) for t in terms}


def _delta(made: Mapping[str, object], chosen: Mapping[str, object]) -> list[dict[str, object]]:
    """Exposed seconds of each term over the chosen plan's, largest first."""
    mine, best = _terms(made), _terms(chosen)
    names = dict.fromkeys((*mine, *best))
    gaps = {name: mine.get(name, 0.0) - best.get(name, 0.0) for name in names}
    ordered = sorted(gaps.items(), key=lambda kv: (-abs(kv[1]), kv[0]))
    return [{"name": name, "exposed_s": gap} for name, gap in ordered if gap != 0.0]


def _why(
    made: Mapping[str, object], chosen: Mapping[str, object], delta: list[dict[str, object]]
) -> str:
    if _progress(made)[1] != _progress(chosen)[1]:
        return _why_later(made, chosen, delta)
    slower = float(made["step_time_s"]) / float(chosen["step_time_s"]) - 1.0  # type: ignore[arg-type]
    losses = [d for d in delta if float(d["exposed_s"]) > 0][:2]  # type: ignore[arg-type]
    said = " and ".join(f"{d['name']} (+{float(d['exposed_s']):.3g} s)" for d in losses)  # type: ignore[arg-type]
    if slower < 0:
        return f"{-slower:.1%} faster a step, but worse by the objective"
    return f"{slower:.1%} slower: more {said}" if said else "no faster, listed later"


def _why_later(
    made: Mapping[str, object], chosen: Mapping[str, object], delta: list[dict[str, object]]
) -> str:
    """Say why a plan loses where updates are not worth the same: by its time to the target."""
    (step_s, updates), (own_s, own) = _progress(made), _progress(chosen)
    later = step_s * updates / (own_s * own) - 1.0
    gaps = [d for d in delta if float(d["exposed_s"]) > 0][:2]  # type: ignore[arg-type]
    more = " and ".join(f"{d['name']} (+{float(d['exposed_s']):.3g} s)" for d in gaps)  # type: ignore[arg-type]
    said = f"a step {step_s / own_s - 1.0:+.1%}" + (f", more {more}" if more else "")
    said += f"; {updates:.3g} times the synchronous updates, not {own:.3g}"
    word = f"{later:.1%} later" if later >= 0 else f"{-later:.1%} sooner"
    return f"at the target {word}: {said}"


def _progress(made: Mapping[str, object]) -> tuple[float, float]:
    """Return seconds of a step, and updates over synchronous ones."""
    updates = made.get("updates")
    factor = updates["factor"] if isinstance(updates, Mapping) else 1.0
    return float(made["step_time_s"]), float(factor)  # type: ignore[arg-type]


def pins(best: Searched, free: Searched | None) -> dict[str, object] | None:
    """Return the best plan without pins beside the pinned one, by step time."""
    if free is None or free.best is None or best.best is None:
        return None
    one = free.best
    free_s = float(np.asarray(training.cost(free.context, one).total_s)[0])
    pinned_s = float(np.asarray(training.cost(best.context, best.best).total_s)[0])
    return {
        "step_time_s": pinned_s,
        "free_step_time_s": free_s,
        "cost_s": pinned_s - free_s,
        "cost_share": pinned_s / free_s - 1.0,
        "free_strategy": training.strategy_of(free.context, one, 0),
    }


def frontier(job: Job[TrainingSpec], results: Sequence[Searched]) -> list[dict[str, object]]:
    """Best plan of every cluster and pool that has one, with its step time and cost."""
    points: list[dict[str, object]] = []
    for result in results:
        if result.best is None:
            continue
        price = training.cost(result.context, result.best).at(0)
        run = training.economics(job, result.context, result.best, price)
        seconds = run.time_to_train_s
        cluster = result.context.cluster
        points.append(
            {
                **({"pool": cluster.name} if cluster.name else {}),
                "system": ", ".join(dict.fromkeys(c.profile.name for c in cluster.each)),
                "devices": cluster.devices,
                "strategy": training.strategy_of(result.context, result.best, 0),
                "step_time_s": float(np.asarray(price.total_s)),
                "cost_usd": scalar(run.cost_usd),
                "time_to_train_s": (None if seconds is None else scalar(seconds)),
                "energy_j": scalar(run.energy_j),
            }
        )
    return points
