"""Bytes that one device sends in a step, by mesh axis and network level.

The same exchanges that the price is made of, counted instead of timed, each on the stage that
sends most of it. What a group sends is dealt to the levels that it crosses as a hierarchical
collective would: (r - 1)/r of what is left at each, shared by the ranks inside.

Parts: `traffic`, `sent_bytes` (before it is dealt to levels), `inside_stages`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import scalar
from planner.dims import RECOMPUTE, ParallelDims
from planner.graph import Block
from planner.workloads.training import consistency, exchange, pools, sharing, states, stretch
from planner.workloads.training.context import Context
from planner.workloads.training.modules import exchanged, sets_in
from planner.workloads.training.passes import RECOMPUTED
from planner.workloads.training.stages import Slots

__all__ = ["InsideStages", "inside_stages", "sent_bytes", "traffic"]


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
    entries: list[dict[str, object]] = []
    for axis, groups in sent_bytes(context, dims).items():
        levels: dict[str, float] = {}
        for group, total in groups.items():
            for level, share in _dealt(context, dims, group, total).items():
                levels[level] = levels.get(level, 0.0) + share
        order = [level.name for level in context.cluster.levels if level.name in levels]
        entries += [{"axis": axis, "level": name, "bytes": levels[name]} for name in order]
    return entries + _between_sites(context, dims)


def _dealt(context: Context, dims: ParallelDims, group: str, total: float) -> Mapping[str, float]:
    """Deal what a group sends to the levels that it crosses."""
    hops = exchange.axis_span(context, dims, group)
    weights, inside = [], 1.0
    for hop in hops:
        ranks = scalar(hop.ranks)
        weights.append((ranks - 1.0) / ranks / inside)
        inside *= ranks
    whole = sum(weights)
    return {
        hop.name: total * weight / whole
        for hop, weight in zip(hops, weights, strict=True)
        if weight > 0 and total > 0
    }


def _between_sites(context: Context, dims: ParallelDims) -> list[dict[str, object]]:
    """Return a step's share of what local updates exchange across their level."""
    if dims.sites[0] <= 1:
        return []
    slots = stretch.slots_at(context, dims)
    parameters = states.parameters_of(context, dims, slots).fullest()
    sent = consistency.outer_sent_bytes(dims, parameters) / dims.apart
    level = next(x for x in context.cluster.levels if x.inside * dims.sites[0] == dims.devices[0])
    return [{"axis": "dp", "level": level.name, "bytes": float(np.asarray(sent)[0])}]


def sent_bytes(context: Context, dims: ParallelDims) -> dict[str, dict[str, float]]:
    """Bytes that a device of one plan sends in a step, by axis and group of ranks (`segments`).

    All microbatches, both passes, and what is recomputed of the forward pass.
    """
    slots = stretch.slots_at(context, dims)
    m = float(dims.microbatches[0])
    inside = inside_stages(context, dims, slots)
    sent = {axis: m * float(np.max(held.layers + held.ends)) for axis, held in inside.items()}
    boundary = (
        m * _sends(context, dims) * scalar(exchange.stage_boundary_s(context, dims).sent_bytes)
    )
    if context.stack.scatters_boundaries and not dims.sp[0]:
        sent["tp"] += (float(dims.tp[0]) - 1.0) * boundary  # gathered where it arrives
    parameters = states.parameters_of(context, dims, slots).fullest()
    shared = sharing.sent_bytes(context, dims, parameters)
    return {
        "tp": {"tp": sent["tp"]},
        "cp": {"cp": sent["cp"]},
        "ep": _experts(dims, sent["ep"]),
        "pp": {"pp": boundary},
        "dp": {group: scalar(held) for group, held in shared.items()},
    }


@dataclass(frozen=True, slots=True)
class InsideStages:
    """Bytes of one microbatch on every stage slot: of its layers, and of what stands at an end."""

    layers: NDArray[np.float64]
    ends: NDArray[np.float64]


def inside_stages(context: Context, dims: ParallelDims, slots: Slots) -> dict[str, InsideStages]:
    """Bytes that a device sends inside the blocks of its stage, by axis: tp, cp, ep.

    Of one microbatch: both passes, and what is recomputed of the forward pass.
    """
    again = np.minimum(slots.recompute_layers, np.maximum(slots.layers, 1.0))
    again = again / np.maximum(slots.layers, 1.0)
    kinds = iter(slots.counts)
    nothing = np.zeros_like(slots.multiplicity)
    sent = {axis: InsideStages(nothing, nothing) for axis in ("tp", "cp", "ep")}
    for block in context.graph.blocks:
        count = next(kinds) if block.layers else block.count * slots.end(block.at)
        count = np.where(slots.multiplicity > 0, count, 0.0)
        forward = exchange.inside_block(context, block, dims, "forward")
        backward = exchange.inside_block(context, block, dims, "backward")
        for axis, before in sent.items():
            share = _recomputed(slots, block, axis) * again if block.recomputed else 0.0
            more = (1.0 + share) * forward[axis].sent_bytes + backward[axis].sent_bytes
            more = np.asarray(count * more)
            layers, ends = (more, nothing) if block.layers else (nothing, more)
            sent[axis] = InsideStages(before.layers + layers, before.ends + ends)
    return sent


def _recomputed(slots: Slots, block: Block, axis: str) -> NDArray[np.float64]:
    """Share of a block's exchanges on an axis, in the forward pass, that each slot runs again."""
    sets = sets_in(slots.recompute)
    whole = [RECOMPUTED[name].get(axis, 0.0) for name in RECOMPUTE]
    share = np.array([*whole, *(exchanged(block, code, axis) for code in sets)])
    return np.asarray(share[np.searchsorted([*range(len(whole)), *sets], slots.recompute)])


def _sends(context: Context, dims: ParallelDims) -> float:
    """Count the sends of a microbatch to neighbours in the pool, of the stage that sends most.

    Each chunk is sent on and back, but for the ends of the pipeline: of two stages, each lacks
    one send.
    """
    stages = dims.pp[0] if context.stretch is None else float(context.stretch.stages)
    if stages <= 1:
        return 0.0
    return float(2.0 * dims.vpp[0] - (stages == 2.0))


def _experts(dims: ParallelDims, total: float) -> dict[str, float]:
    """Part what expert ranks and the expert-tensor ranks beside them send."""
    ep, etp = float(dims.ep[0]), float(dims.etp[0])
    swapped, gathered = (ep - 1.0) / ep, etp - 1.0
    both = swapped + gathered
    return {"ep": total * swapped / both, "etp": total * gathered / both} if both else {}
