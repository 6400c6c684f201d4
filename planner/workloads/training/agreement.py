"""How closely replicas may agree: the kinds of consistency that are tried, and how far apart.

Two steps of `candidates`: the kind and its sites decide which meshes are whole, so they come
right after the mesh; H and number format come last, on a coarse grid that `apart_near` fills in
near the best plans. A pinned consistency takes its own values only.

Parts: `choose_kind`, `choose_apart`, `apart_near`.
"""

import numpy as np
from numpy.typing import NDArray

from planner.dims import OUTER_PRECISION
from planner.job import Job
from planner.strategy import LocalSgd, Stale
from planner.table import Table
from planner.workloads.training.consistency import (
    ASYNCHRONOUS,
    LOCAL,
    STALE,
    SYNCHRONOUS,
    across_level,
)
from planner.workloads.training.context import Context
from planner.workloads.training.learning import searched_kinds
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.wants import Wants

__all__ = ["apart_near", "choose_apart", "choose_kind"]

COARSE_STEPS = (30.0, 100.0, 300.0)
STEPS = (1.0, 3.0, 10.0, 20.0, 30.0, 50.0, 70.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)
"""H tried of every mesh, and near the best ones."""
PRECISIONS = ("bf16", "int8", "int4")
STALENESS = (1.0, 2.0, 4.0, 8.0)


def _kinds(job: Job[TrainingSpec], context: Context) -> tuple[int, ...]:
    pinned = job.strategy.consistency
    if pinned is None:
        return searched_kinds(context)
    if isinstance(pinned, LocalSgd):
        return (LOCAL,)
    if isinstance(pinned, Stale):
        return (STALE,)
    return (ASYNCHRONOUS if pinned == "asynchronous" else SYNCHRONOUS,)


def choose_kind(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    """Pair every mesh with the kinds of consistency that it can keep; a site is a whole mesh."""
    kinds = _kinds(job, context)
    if kinds == (SYNCHRONOUS,):
        table.derive("consistency", float(SYNCHRONOUS))
        table.derive("sites", 1.0)
        return
    pinned = job.strategy.consistency
    name = pinned.local_sgd.across if isinstance(pinned, LocalSgd) else None
    level = across_level(context.cluster, name)
    sites = context.cluster.devices / level.inside
    each = np.asarray(table["dp"] / sites)
    whole = (each == np.floor(each)) & (sites > 1) & (sites == np.floor(sites))
    several = table["dp"] > 1
    masks = {SYNCHRONOUS: table["dp"] > 0, LOCAL: whole, STALE: several, ASYNCHRONOUS: several}
    if len(kinds) == 1:
        rule = f"dp is whole replicas in each of the {sites:g} sites below {level.name}"
        table.require(rule if kinds == (LOCAL,) else "replicas that may differ", masks[kinds[0]])
        table.derive("consistency", float(kinds[0]))
    else:
        table.choose("consistency", [(float(kind), masks[kind]) for kind in kinds])
    if len(table):
        table.derive("sites", np.where(table["consistency"] == LOCAL, sites, 1.0))


def choose_apart(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    """Pair local updates with H and a number format, stale gradients with a bound."""
    kind = table["consistency"]
    if not (kind > 0).any():
        table.derive("apart", 0.0)
        table.derive("outer", 0.0)
        return
    pinned = job.strategy.consistency
    steps, formats = _local_choices(job, COARSE_STEPS, PRECISIONS[:1])
    stale = (float(pinned.stale),) if isinstance(pinned, Stale) else STALENESS
    neither = np.asarray((kind != STALE) & (kind != LOCAL))
    options: list[tuple[float, NDArray[np.bool_]]] = [(0.0, neither)]
    options += [(s, np.asarray(kind == STALE)) for s in stale]
    options += [(h, np.asarray(kind == LOCAL)) for h in steps]
    table.choose("apart", options)
    local = table["consistency"] == LOCAL
    table.choose("outer", [(0.0, ~local), *((each, local) for each in formats)])


def _local_choices(
    job: Job[TrainingSpec], steps: tuple[float, ...], formats: tuple[str, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """H and codes of number formats: the pinned ones, else those given."""
    pinned = job.strategy.consistency
    local = pinned.local_sgd if isinstance(pinned, LocalSgd) else None
    if local is not None and local.steps is not None:
        steps = (float(local.steps),)
    if local is not None and local.precision is not None:
        formats = (local.precision,)
    return steps, tuple(float(OUTER_PRECISION.index(name)) for name in formats)


def apart_near(job: Job[TrainingSpec], row: dict[str, float]) -> list[dict[str, float]]:
    """Return a row of local updates with every other H and number format that is free."""
    if row["consistency"] != LOCAL:
        return []
    steps, formats = _local_choices(job, STEPS, PRECISIONS)
    made = [row | {"apart": h, "outer": each} for h in steps for each in formats]
    return [other for other in made if other != row]
