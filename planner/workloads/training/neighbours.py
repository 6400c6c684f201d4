"""Plans next to a good one that the rules of convenience leave out of the search.

The search tries even virtual stages, micro-batches of powers of two, and shard groups of a node,
of eight nodes and of all. Near the best plans every number of virtual stages, every micro-batch of
up to twice the size and every group are tried as well, so that what a user might pin by hand is
not better than what the search gives; and fewer layers on the last stage, which has the head.
"""

import numpy as np

from costmodels.pipeline import INTERLEAVED
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training.agreement import apart_near
from planner.workloads.training.context import Context
from planner.workloads.training.spec import TrainingSpec

__all__ = ["neighbours", "regrouped"]

MOST_LEAN = 4
"""Layers that the last chunk gives up at most."""


def neighbours(job: Job[TrainingSpec], context: Context, dims: ParallelDims) -> ParallelDims:
    """Vary `vpp`, `zero_group`, `micro_batch`, the last stage, H, one at a time, where free."""
    made: list[dict[str, float]] = []
    for index in range(len(dims)):
        row = dims.row(index)
        made += [row | {"vpp": v} for v in _virtual(job, context, row)]
        made += _regrouped(job, context, row)
        made += _batches(job, row)
        made += [row | {"lean": lean} for lean in _lean(job, context, row)]
        made += apart_near(job, row)
    return _columns(made, dims)


def regrouped(job: Job[TrainingSpec], context: Context, dims: ParallelDims) -> ParallelDims:
    """Vary `zero_group` alone, where it is free: states shared by other numbers of ranks."""
    rows = [dims.row(index) for index in range(len(dims))]
    return _columns([one for row in rows for one in _regrouped(job, context, row)], dims)


def _columns(made: list[dict[str, float]], dims: ParallelDims) -> ParallelDims:
    if not made:
        return dims.part(0, 0)
    return ParallelDims.from_columns(
        {name: np.array([row[name] for row in made]) for name in ParallelDims.names()}
    )


def _regrouped(
    job: Job[TrainingSpec], context: Context, row: dict[str, float]
) -> list[dict[str, float]]:
    return [row | {"zero_group": group} for group in _groups(job, context, row)]


def _virtual(job: Job[TrainingSpec], context: Context, row: dict[str, float]) -> list[float]:
    if job.strategy.vpp is not None or row["schedule"] != INTERLEAVED:
        return []
    if row["staging"]:
        return []
    # every chunk keeps a layer: layers // (pp vpp) - lean >= 1
    most = int(context.spec.model.layers // (row["pp"] * (row["lean"] + 1.0)))
    return [float(v) for v in range(2, most + 1) if v != row["vpp"]]


def _lean(job: Job[TrainingSpec], context: Context, row: dict[str, float]) -> list[float]:
    if row["staging"] or row["pp"] == 1:
        return []
    last = int(context.spec.model.layers // (row["pp"] * row["vpp"]))
    return [float(n) for n in range(min(last, MOST_LEAN + 1)) if n != row["lean"]]


def _groups(job: Job[TrainingSpec], context: Context, row: dict[str, float]) -> list[float]:
    if job.strategy.zero_group is not None or row["zero"] == 0:
        return []
    if not context.stack.supports.partial_group:
        return []
    ranks = int(row["dp"] * row["cp"] / row["sites"])
    small = [d for d in range(1, int(ranks**0.5) + 1) if ranks % d == 0]
    divisors = sorted({*small, *(ranks // d for d in small)})
    experts = row["ep"] * row["etp"]  # whole copies of what they share, as the search has them
    divisors = [d for d in divisors if d * row["tp"] % experts == 0]
    return [float(d) for d in divisors if d > 1 and d != row["zero_group"]]


def _batches(job: Job[TrainingSpec], row: dict[str, float]) -> list[dict[str, float]]:
    if job.strategy.micro_batch is not None or job.strategy.microbatches is not None:
        return []
    share = int(row["micro_batch"] * row["microbatches"])
    sizes = range(max(1, int(row["micro_batch"] // 2)), int(2 * row["micro_batch"]) + 1)
    made = []
    for size in sizes:
        microbatches = share // size
        whole = share % size == 0 and size != row["micro_batch"]
        if whole and (row["vpp"] == 1 or microbatches % row["pp"] == 0):
            made.append(row | {"micro_batch": float(size), "microbatches": float(microbatches)})
    return made
