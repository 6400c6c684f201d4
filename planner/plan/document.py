"""plan.json: one dict from a job, the searched clusters and the best plan."""

from collections.abc import Mapping, Sequence

import numpy as np

from hardware_profiles.stack import Stack
from planner import spec
from planner.cluster import Cluster
from planner.design import checklist, patterns, slots
from planner.design.scaling import scaling
from planner.job import DeviceRange, Job
from planner.plan import alternatives
from planner.plan.notes import notes
from planner.plan.prediction import prediction
from planner.planning.cluster_search import FEW_CLUSTERS
from planner.planning.searched import Searched
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["SCHEMA_VERSION", "make", "provenance"]

SCHEMA_VERSION = 1
CLOSED = 1e-9
"""A bound this close to the objective, as a share of it, is the objective but for rounding."""


def make(
    job: Job[TrainingSpec],
    results: Sequence[Searched],
    best: Searched,
    pins: Mapping[str, object] | None,
    wall_s: float,
    version: str,
    beside: Searched | None = None,
) -> dict[str, object]:
    """Return plan.json (contract, section 4).

    `beside` is the search for the best synchronous plan, where the best plan is not synchronous.
    """
    context, dims = best.context, best.best
    assert dims is not None
    made = prediction(job, context, dims)
    strategy = training.strategy_of(context, dims, 0)
    others = alternatives.runners_up(job, best, made, beside)
    points = alternatives.frontier(job, results) if len(results) > 1 else []
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "job": _resolved(job, best),
        "provenance": provenance(context.cluster, context.stack, version),
        "checklist": checklist.fill(job, context, strategy, made),
        "design": slots.fill(job, context, strategy, made, others, points),
        "axes": patterns.axes(job, context, strategy, made),
        "patterns": patterns.patterns(job, context, strategy, made),
        "strategy": strategy,
        "prediction": made,
        "scaling": scaling(job, context, dims),
        "search": _search(job, results, best, wall_s),
        "alternatives": others,
        "frontier": points,
    }
    said = [*training.doubts(context, dims), *notes(job, context, strategy, made)]
    if said:
        document["notes"] = said
    if pins is not None:
        document["pins"] = dict(pins)
    return document


def _resolved(job: Job[TrainingSpec], best: Searched) -> dict[str, object]:
    """Return the job with the system and the device count that were chosen."""
    cluster = best.context.cluster
    if job.hardware.pools is not None:
        return spec.dump(job)
    systems = job.hardware.systems
    names = [s for s in systems if s.endswith(cluster.profile.name) or s == cluster.profile.name]
    chosen = names[0] if names else (systems[0] if len(systems) == 1 else cluster.profile.name)
    hardware = job.hardware.model_copy(update={"system": chosen, "devices": cluster.devices})
    return spec.dump(job.model_copy(update={"hardware": hardware}))


def provenance(cluster: Cluster, stack: Stack, version: str) -> dict[str, object]:
    """Version, and every figure of the machines and the stack with its basis."""
    figures: list[dict[str, object]] = []
    for each in cluster.each:
        prefix = f"{each.name}." if cluster.pools else ""
        _figures(each.profile.model_dump(), prefix, figures)
    _figures(stack.family.model_dump(), "stack.", figures)
    return {
        "version": version,
        "system": ", ".join(dict.fromkeys(each.profile.name for each in cluster.each)),
        "software": stack.name,
        "family": stack.family.name,
        "figures": figures,
    }


def _figures(node: object, path: str, found: list[dict[str, object]]) -> None:
    if isinstance(node, dict):
        if {"value", "basis", "source"} <= set(node):
            found.append({"figure": path.rstrip("."), **node})
            return
        if {"basis", "source"} <= set(node):  # lines of one fit: one basis for them all
            _alike(node, path, {name: node[name] for name in ("basis", "source")}, found)
            return
        for key, inner in node.items():
            _figures(inner, f"{path}{key}.", found)
    elif isinstance(node, list | tuple):
        for index, inner in enumerate(node):
            name = inner.get("name", index) if isinstance(inner, dict) else index
            _figures(inner, f"{path}{name}.", found)


def _alike(
    node: object, path: str, known: dict[str, object], found: list[dict[str, object]]
) -> None:
    """List the numbers of a group that has one basis and one source."""
    if isinstance(node, dict):
        for key, inner in node.items():
            _alike(inner, f"{path}{key}.", known, found)
    elif isinstance(node, list | tuple):
        for index, inner in enumerate(node):
            _alike(inner, f"{path}{index}.", known, found)
    elif isinstance(node, int | float):
        found.append({"figure": path.rstrip("."), "value": node, **known})


def _covers(job: Job[TrainingSpec], results: Sequence[Searched]) -> str:
    """Say in words what space was searched."""
    said = "every plan with stages alike that the rules allow"
    dealt = [r.dealt for r in results if r.dealt is not None]
    if sum(dealt):
        said += (
            f"; of the {sum(dealt)} pipelines that may be better, layers and recomputation of each"
            " stage"
        )
    if dealt:
        said += "; the bound is over all stages of all pipelines"
    if job.objective.metric == "energy":
        said += "; beside it, stages of their own that make a step shorter are tried"
    if isinstance(job.hardware.devices, DeviceRange):
        counts = sorted({r.context.cluster.devices for r in results})
        said += f"; of the range of devices only {', '.join(str(c) for c in counts)}"
    if job.hardware.pools is not None:
        said += (
            "; over pools, without virtual stages, every share of the batch with whole copies of"
            " the model in each pool, and the pipelines across pools with the best bounds; the"
            " bound is over all of both"
        )
    if len(results) > FEW_CLUSTERS:
        said += "; on each of these clusters a coarse grid, on the best of them all"
    return said


def _search(
    job: Job[TrainingSpec], results: Sequence[Searched], best: Searched, wall_s: float
) -> dict[str, object]:
    """How much was covered, and how far from the best the answer can be."""
    rules: dict[str, int] = {}
    for result in results:
        for rule, dropped in result.tally.items():
            rules[rule] = rules.get(rule, 0) + dropped
    limited = any(r.found.status == "time_limit" for r in results)
    coarse = len(results) > FEW_CLUSTERS
    value = best.objective
    bound = min(r.found.bound for r in results if r.eligible)
    closed = not coarse and bound >= value * (1.0 - CLOSED)
    return {
        "candidates": sum(r.candidates for r in results),
        "priced": sum(r.found.priced for r in results),
        "over_memory": sum(r.found.dropped for r in results),
        "rules": rules,
        "status": "time_limit" if limited else "optimal" if closed else "feasible",
        "objective": value,
        "bound": bound,
        "gap": float(np.maximum(0.0, value - bound) / value) if value > 0 else 0.0,
        "covers": ("as far as the time limit allowed, " if limited else "") + _covers(job, results),
        "wall_s": wall_s,
    }
