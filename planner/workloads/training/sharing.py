"""Gradients and parameters between data-parallel ranks: seconds alone, exposed and hidden.

    zero 0    all-reduce of gradients over the replicas, once a step
    zero 1,2  reduce-scatter over the shards, all-reduce over their copies, all-gather of weights
    zero 3    all-gather for the forward and for the backward pass, reduce-scatter

Where a stack gathers per microbatch and there is no pipeline, zero 2 and 3 pay for every
microbatch; else once a step. Under zero 2 it may keep parameters whole (`Family.keeps_whole`), and
by units (`Stack.sharded_units`) copies of the shards reduce once a step, after the last microbatch.
Where pools of unlike devices each hold whole copies of the model, their gradients are then reduced
across the pools, once a step. Source: Rajbhandari et al., ZeRO,
2020; Zhao et al., FSDP, 2023.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives
from costmodels.overlap import exposed_s, hidden_s
from costmodels.units import Num
from planner.dims import ParallelDims
from planner.workloads.training.context import Context
from planner.workloads.training.exchange import axis_span
from planner.workloads.training.groups import segments
from planner.workloads.training.states import Fullest
from planner.workloads.training.units import by_units

__all__ = ["Sharing", "across_bytes", "across_s", "calls_of", "sent_bytes", "share"]

BUCKET_PARAMETERS = 40e6
"""Parameters of a gradient bucket (Megatron-Core's default), at least 1e6 for each replica."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Seconds a step; `across`: between pools."""

    reduce_exposed_s: Num
    reduce_hidden_s: Num
    gather_exposed_s: Num
    gather_hidden_s: Num
    across_exposed_s: Num
    across_hidden_s: Num


@dataclass(frozen=True, slots=True)
class _Volume:
    """Seconds of one reduction, the part of it over copies of the shards, and of one gather."""

    reduce_s: Num
    copies_s: Num
    gather_s: Num


def _volume(
    context: Context, dims: ParallelDims, parameters: Num, experts: bool, calls: Num
) -> _Volume:
    """One reduction and one gather of a stage's parameters, dense or of experts."""
    prefix = "expert " if experts else ""
    copies_axis = "expert copies" if experts else "copies"
    everyone = axis_span(context, dims, f"{prefix}replicas")
    shards = axis_span(context, dims, f"{prefix}shards")
    copies = axis_span(context, dims, copies_axis)
    share = dims.expert_shards if experts else dims.shards
    gradients = parameters * context.gradient_bytes / calls
    weights = parameters * context.activation_bytes / calls
    algorithm = context.algorithm("dp")
    whole_s = collectives.all_reduce_s(gradients, everyone, algorithm)
    scatter_s = collectives.reduce_scatter_s(gradients, shards)
    copies_s = collectives.all_reduce_s(gradients / share, copies, algorithm)
    scatter_s = scatter_s + copies_s
    gather_s = collectives.all_gather_s(weights, shards)
    plain = dims.zero == 0
    reduce_s = np.where(plain, whole_s, scatter_s) * calls
    gathered = np.where(plain, 0.0, gather_s * calls)
    return _Volume(reduce_s, np.where(plain, 0.0, copies_s * calls), gathered)


def calls_of(context: Context, dims: ParallelDims, dense: Num, layers: Num) -> Num:
    """Messages that the gradients of a stage travel in: layer by layer under zero 3, or buckets."""
    buckets = np.maximum(1.0, dense / np.maximum(BUCKET_PARAMETERS, 1e6 * dims.replicas))
    buckets = np.where(_between_sites(context, dims), 1.0, buckets)
    by_layer = context.stack.family.gather_per_microbatch
    return np.where(dims.zero >= 3, layers, buckets) if by_layer else buckets


def share(
    context: Context,
    dims: ParallelDims,
    parameters: Fullest,
    forward_s: Num,
    backward_s: Num,
    layers: Num,
) -> Sharing:
    """Seconds of gradient reduction and parameter gathering in one step.

    Parameters
    ----------
    parameters            : of the fullest stage, which sets the time
    forward_s, backward_s : compute of one microbatch that the communication can run beside
    layers                : of a stage: parameters travel layer by layer under zero 3
    """
    dense, expert = parameters.dense, parameters.expert
    calls = calls_of(context, dims, dense, layers)
    parts = [_volume(context, dims, dense, False, calls)]
    if context.spec.model.moe is not None:
        parts.append(_volume(context, dims, expert, True, calls))
    reduce_s: Num = 0.0
    copies_s: Num = 0.0
    gather_s: Num = 0.0
    for part in parts:
        reduce_s = reduce_s + part.reduce_s
        copies_s = copies_s + part.copies_s
        gather_s = gather_s + part.gather_s
    gather_s = gather_s + _frozen_gather_s(context, dims, parameters, layers)
    often, gathers = _often(context, dims)
    again_s = np.where(dims.zero >= 3, gather_s, 0.0)  # gathered for the backward pass as well
    frac, gather_frac = context.overlap_frac("dp"), context.overlap_frac("gather")
    # the backward pass has first call for its weights; gradients run under what is left of it
    again_hidden_s = hidden_s(again_s, backward_s, gather_frac)
    left_s = backward_s - again_hidden_s
    each_s = reduce_s - np.where(by_units(context, dims), copies_s, 0.0)
    shown_s, under_s = exposed_s(each_s, left_s, frac), hidden_s(each_s, left_s, frac)
    last_s, under_last_s = exposed_s(reduce_s, left_s, frac), hidden_s(reduce_s, left_s, frac)
    both_s = reduce_s + across_s(context)
    return Sharing(
        shown_s * often + (last_s - shown_s),
        under_s * often + (under_last_s - under_s),
        (exposed_s(gather_s, forward_s, gather_frac) + again_s - again_hidden_s) * gathers,
        (hidden_s(gather_s, forward_s, gather_frac) + again_hidden_s) * gathers,
        exposed_s(both_s, left_s, frac) - last_s,
        hidden_s(both_s, left_s, frac) - under_last_s,
    )


def _often(context: Context, dims: ParallelDims) -> tuple[Num, Num]:
    """How often in a step gradients are reduced, and parameters gathered."""
    family = context.stack.family
    if not family.gather_per_microbatch:
        return np.ones(len(dims)), np.ones(len(dims))
    often = np.where((dims.pp <= 1) & (dims.zero >= 2), dims.microbatches, 1.0)
    return often, np.where(dims.zero >= 3, often, 1.0) if family.keeps_whole else often


def sent_bytes(context: Context, dims: ParallelDims, parameters: Fullest) -> dict[str, Num]:
    """Bytes that one rank sends in a step, by the group of ranks that share (see `segments`).

        zero 0     2 (n - 1)/n G over the n replicas
        zero 1, 2  (k - 1)/k (G + W) over the k shards, 2 (c - 1)/c G/k over their c copies
        zero 3     (k - 1)/k (G + 2 W + 2 F), and the same over the copies

    with G and W the bytes of a stage's gradients and weights, F of its frozen weights, each for
    dense parameters and for experts; as often in a step as `share` pays for them.
    """
    often, gathers = _often(context, dims)
    sent: dict[str, Num] = {}
    kinds = [("", parameters.dense, dims.shards, dims.replicas)]
    if context.spec.model.moe is not None:
        kinds.append(("expert ", parameters.expert, dims.expert_shards, dims.expert_replicas))
    for prefix, count, shards, replicas in kinds:
        plain, copies = dims.zero == 0, replicas / shards
        gradients = often * count * context.gradient_bytes
        weights = np.where(dims.zero >= 3, 2.0, 1.0) * gathers * count * context.activation_bytes
        whole = 2.0 * (replicas - 1.0) / replicas * gradients
        sharded = (shards - 1.0) / shards * (gradients + weights)
        last = np.where(by_units(context, dims), 1.0, often) * count * context.gradient_bytes
        across = 2.0 * (copies - 1.0) / copies * last / shards
        sent[f"{prefix}replicas"] = np.where(plain, whole, 0.0)
        sent[f"{prefix}shards"] = np.where(plain, 0.0, sharded)
        sent[f"{prefix}copies"] = np.where(plain, 0.0, across)
    frozen = 2.0 * gathers * parameters.frozen * context.frozen_bytes
    frozen = (dims.shards - 1.0) / dims.shards * frozen
    sent["shards"] = sent["shards"] + np.where(dims.zero >= 3, frozen, 0.0)
    return sent


def across_bytes(context: Context) -> float:
    """Bytes that a pool sends to the others in a step: a ring over the pools that hold copies."""
    beside = context.beside
    if beside is None:
        return 0.0
    trained = sum(block.count * block.weights(trainable=True) for block in context.graph.blocks)
    return 2.0 * (beside.copies - 1.0) / beside.copies * trained * context.gradient_bytes


def across_s(context: Context) -> float:
    """Seconds to reduce a step's gradients across pools, alone.

        T = 2 (k - 1) alpha + 2 (k - 1)/k n / beta

    with k pools, n the bytes of all gradients and beta what the narrowest pool sends: inside a
    pool gradients are reduced and scattered, so that each device sends its own part, all at once.

    Notes
    -----
    A pool's devices take part evenly, whatever its mesh; that unlike meshes cut the gradients
    unlike moves no more bytes. Source: hierarchical all-reduce, Jia et al., 2018.
    """
    beside = context.beside
    if beside is None or beside.copies <= 1.0:
        return 0.0
    steps_s = 2.0 * (beside.copies - 1.0) * beside.latency_s
    return steps_s + across_bytes(context) / beside.bytes_per_s


def _between_sites(context: Context, dims: ParallelDims) -> NDArray[np.bool_]:
    """Tell where replicas reduce across sites: buckets are then made as large as can be.

    Each bucket pays the latency of every site; a stack's bucket size is the user's to set.
    """
    wide = [index for index, level in enumerate(context.cluster.levels) if level.wide]
    if not wide:
        return np.zeros(len(dims), bool)
    outermost = context.cluster.outermost(*segments(dims, "replicas"))
    return np.asarray(outermost >= wide[0])


def _frozen_gather_s(context: Context, dims: ParallelDims, parameters: Fullest, layers: Num) -> Num:
    """Frozen weights are gathered under zero 3 and never reduced."""
    frozen = parameters.frozen
    message = frozen * context.frozen_bytes / layers
    seconds = layers * collectives.all_gather_s(message, axis_span(context, dims, "shards"))
    return np.where((dims.zero >= 3) & (frozen > 0), seconds, 0.0)
