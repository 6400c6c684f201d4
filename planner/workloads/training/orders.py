"""The orders of a mesh that make a difference: those under which some axis crosses other links.

Two orders are alike on a cluster where every group of ranks has as many members on each level of
the network and the same share of its links; then every price is the same. Prices nothing.

Parts: `unlike_orders`, `orders_are_free`.
"""

import numpy as np
from numpy.typing import NDArray

from planner.dims import ParallelDims
from planner.fold import mixed
from planner.job import Job
from planner.workloads.training.context import Context
from planner.workloads.training.exchange import axis_span
from planner.workloads.training.groups import every_order
from planner.workloads.training.spec import TrainingSpec

__all__ = ["orders_are_free", "unlike_orders"]

GROUPS = ("tp", "cp", "pp", "replicas", "shards", "copies")
EXPERT_GROUPS = ("ep", "etp", "expert replicas", "expert shards", "expert copies")


def unlike_orders(context: Context, dims: ParallelDims) -> tuple[ParallelDims, NDArray[np.intp]]:
    """Return every plan in the orders of its mesh that price it differently, and whose each is.

    Of orders that are alike the first of the table stands for all.
    """
    many, rows = every_order(dims)
    if not len(many):
        return many, rows
    columns = [rows.astype(float)]
    moe = context.spec.model.moe is not None
    for group in GROUPS + (EXPERT_GROUPS if moe else ()):
        for hop in axis_span(context, many, group):
            for figure in (hop.ranks, hop.bytes_per_s):
                columns.append(np.broadcast_to(np.asarray(figure, float), rows.shape))
    _, first = np.unique(mixed(columns), return_index=True)
    kept = np.sort(first)
    return many.take(kept), rows[kept]


def orders_are_free(job: Job[TrainingSpec]) -> bool:
    """Whether the job leaves the order to the search; pinned levels list their orders anyway."""
    return job.strategy.mesh_order is None and not job.strategy.placement
