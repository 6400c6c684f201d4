"""Which collective algorithm carries each axis of one plan, and in messages of what size.

The sizes and the network are those that the price is made of, and the names are of the algorithms
that `costmodels.collectives` priced as cheapest, or that the job pins. Prices nothing itself.

Parts: `Carried`, `carried`.
"""

from dataclasses import dataclass

import numpy as np

from costmodels.collectives import all_gather_choice, all_reduce_choice
from costmodels.units import scalar
from planner.dims import ParallelDims
from planner.workloads.training import exchange, sharing, stages, states
from planner.workloads.training.context import Context

__all__ = ["Carried", "carried"]


@dataclass(frozen=True, slots=True)
class Carried:
    """One kind of collective: `what` ranks of an axis do, with how many bytes, by which algorithm.

    `among` are the ranks where they are not the whole axis: "copies", "experts", "copies of
    experts".
    """

    axis: str
    what: str
    message_bytes: float
    algorithm: str
    among: str = ""


def carried(context: Context, dims: ParallelDims) -> list[Carried]:
    """List the collectives of one plan that reduce or gather, tensor-parallel ones first."""
    made: list[Carried] = []
    if dims.tp[0] > 1:
        block = max(context.layer_blocks, key=lambda b: b.count)
        message = scalar(exchange.tensor_message_bytes(context, block, dims))
        made.append(_pair(context, dims, "tp", "tp", message, bool(dims.sp[0] > 0)))
    if context.parts:  # pools share gradients by a ring of their own
        return made
    slots = stages.slots_of(context.kinds, dims, context.stagings)
    parameters = states.parameters_of(context, dims, slots).fullest()
    layers = np.maximum(1.0, slots.layers.max(axis=0))
    calls = sharing.calls_of(context, dims, parameters.dense, layers)
    made += _shared(context, dims, scalar(parameters.dense / calls), False)
    if context.spec.model.moe is not None:
        made += _shared(context, dims, scalar(parameters.expert / calls), True)
    return made


def _shared(
    context: Context, dims: ParallelDims, parameters: float, experts: bool
) -> list[Carried]:
    """List what replicas do with the gradients and weights of one message."""
    ranks = dims.expert_replicas if experts else dims.replicas
    shards = dims.expert_shards if experts else dims.shards
    prefix, among = ("expert ", "experts") if experts else ("", "")
    gradients = parameters * context.gradient_bytes
    if scalar(ranks) <= 1.0:
        return []
    if scalar(dims.zero) == 0.0:
        return [_pair(context, dims, "dp", f"{prefix}replicas", gradients, False, among)]
    made = []
    if scalar(shards) > 1.0:
        made.append(_pair(context, dims, "dp", f"{prefix}shards", gradients, True, among))
    if scalar(ranks / shards) > 1.0:
        reduced = gradients / scalar(shards)
        among = "copies of experts" if experts else "copies"
        made.append(_pair(context, dims, "dp", f"{prefix}copies", reduced, False, among))
    return made


def _pair(
    context: Context, dims: ParallelDims, axis: str, group: str, message_bytes: float,
    apart: bool, among: str = "",
) -> Carried:  # fmt: skip
    """Name what carries a reduction: a scatter and a gather `apart`, or one all-reduce."""
    span = exchange.axis_span(context, dims, group)
    if apart:
        algorithm = all_gather_choice(span)
        return Carried(axis, "reduce-scatter and all-gather", message_bytes, algorithm, among)
    algorithm = all_reduce_choice(message_bytes, span, context.algorithm(axis))
    return Carried(axis, "all-reduce", message_bytes, algorithm, among)
