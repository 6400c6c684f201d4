"""Bytes that one device sends in a step, by mesh axis and network level.

The same exchanges that the price is made of, counted instead of timed. What an axis sends is
dealt to the levels that it crosses as a hierarchical collective would: (r - 1)/r of what is left
at each, shared by the ranks inside.
"""

import numpy as np

from planner.dims import ParallelDims
from planner.workloads.training import consistency, exchange, pools, sharing, states, stretch
from planner.workloads.training.context import Context

__all__ = ["traffic"]

SPANS = {"tp": "tp", "cp": "cp", "ep": "ep", "pp": "pp", "dp": "replicas"}


def traffic(context: Context, dims: ParallelDims) -> list[dict[str, object]]:
    """Return `{axis, level, bytes}` of one plan, innermost level first, nothing of zero bytes.

    Over several pools, of a device of the pool that sets the step.
    """
    if context.parts:
        own, row = pools.slowest(context, dims)
        axis, across = "dp", sharing.across_bytes(own) / own.cluster.devices
        if own.stretch is not None:  # each microbatch, on or back, from a stage at the border
            axis = "pp"
            one = exchange.stage_boundary_s(own, row).sent_bytes
            across = float(np.asarray(row.microbatches * one)[0])
        between = {"axis": axis, "level": context.cluster.levels[-1].name, "bytes": across}
        return [*traffic(own, row), between]
    sent = _sent(context, dims)
    entries: list[dict[str, object]] = []
    for axis, total in sent.items():
        hops = exchange.axis_span(context, dims, SPANS[axis])
        weights, inside = [], 1.0
        for hop in hops:
            ranks = float(np.asarray(hop.ranks).reshape(-1)[0])
            weights.append((ranks - 1.0) / ranks / inside)
            inside *= ranks
        whole = sum(weights)
        for hop, weight in zip(hops, weights, strict=True):
            if weight > 0 and total > 0:
                share = total * weight / whole
                entries.append({"axis": axis, "level": hop.name, "bytes": share})
    return entries + _between_sites(context, dims)


def _between_sites(context: Context, dims: ParallelDims) -> list[dict[str, object]]:
    """Return a step's share of what local updates exchange across their level."""
    if dims.sites[0] <= 1:
        return []
    slots = stretch.slots_at(context, dims)
    parameters = states.parameters_of(context, dims, slots).fullest()
    sent = consistency.outer_sent_bytes(dims, parameters) / dims.apart
    level = next(x for x in context.cluster.levels if x.inside * dims.sites[0] == dims.devices[0])
    return [{"axis": "dp", "level": level.name, "bytes": float(np.asarray(sent)[0])}]


def _sent(context: Context, dims: ParallelDims) -> dict[str, float]:
    """Bytes per axis of the busiest kind of stage: all its microbatches, both passes."""
    m = float(dims.microbatches[0])
    layers_per_stage = context.spec.model.layers / float(dims.pp[0])
    sent = dict.fromkeys(SPANS, 0.0)
    for block in context.layer_blocks:
        share = layers_per_stage * len(block.layers) / context.spec.model.layers
        for phase in ("forward", "backward"):
            for axis, exchanged in exchange.inside_block(context, block, dims, phase).items():
                sent[axis] += m * share * float(np.asarray(exchanged.sent_bytes).reshape(-1)[0])
    boundary = exchange.stage_boundary_s(context, dims)
    sent["pp"] = 2.0 * m * float(dims.vpp[0]) * float(boundary.sent_bytes[0])  # type: ignore[index]
    slots = stretch.slots_at(context, dims)
    parameters = states.parameters_of(context, dims, slots).fullest()
    shared = sharing.share(context, dims, parameters, 0.0, 0.0, np.array([layers_per_stage]))
    sent["dp"] = float(np.asarray(shared.sent_bytes).reshape(-1)[0])
    return sent
