"""Axes that a job keeps inside a level of the network: the orders of a mesh that do so.

A step of `candidates`. Distinct meshes are laid out once, before their rows are paired with orders.

Parts: `keep_inside`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from planner.dims import ParallelDims
from planner.fields import Axis
from planner.fold import fold
from planner.table import Table
from planner.workloads.training.context import Context
from planner.workloads.training.groups import distinct_orders, segments

__all__ = ["keep_inside"]

LAID_OUT = ("tp", "cp", "dp", "pp", "ep", "etp", "zero_group", "sites", "devices", "order")
"""What decides where the ranks of an axis lie."""


def keep_inside(table: Table, context: Context, levels: Mapping[Axis, str], *, free: bool) -> None:
    """Keep the orders of every row whose axes stay inside their levels; of distinct meshes once.

    `free`: every order is tried, else the one of the row alone.
    """
    names = [level.name for level in context.cluster.levels]
    folded = fold(ParallelDims.from_columns(table.columns), LAID_OUT)
    few = folded.few
    masks = distinct_orders(few) if free else np.ones((1, len(few)), bool)
    codes = np.arange(float(len(masks))) if free else np.zeros(1)
    for axis, level in levels.items():
        limit = names.index(level) if level in names else len(names)
        before = masks.copy()
        for code, mask in zip(codes, masks, strict=True):
            own = replace(few, order=np.full(len(few), code)) if free else few
            outermost = context.cluster.outermost(*segments(own, axis))
            mask &= np.broadcast_to(outermost <= limit, mask.shape)
        many = np.bincount(folded.inverse, minlength=len(few))
        dropped = int(((before & ~masks).sum(axis=0) * many).sum())
        if dropped:
            table.count(f"{axis} stays inside {level}", dropped)
    if not free:
        table.filter(masks[0][folded.inverse])
    else:
        spread = masks[:, folded.inverse]
        table.choose("order", list(zip(codes, spread, strict=True)))
