"""A step time that no order of the mesh, no algorithm and no layout of stages can beat.

Cheap enough for every candidate, so that a search prices few of them: each block is priced once
for each distinct cut, its tensor- and expert-parallel exchanges under the order of the mesh that
suits each of them best, and everything else that only adds (context-parallel exchanges, sends,
gradients between replicas, stages that differ) is left out. See `bound` for a figure that needs
no mesh at all.

Parts: `least_s`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import DUALPIPE, INTERLEAVED, ZERO_BUBBLE
from costmodels.units import Column, Num
from planner.dims import ALL_LAYERS, RECOMPUTE, ParallelDims
from planner.fold import fold
from planner.graph import Block
from planner.workloads.training import consistency, exchange
from planner.workloads.training.context import Context
from planner.workloads.training.groups import every_order
from planner.workloads.training.layer import OperatorTimes, block_time
from planner.workloads.training.modules import sets_in
from planner.workloads.training.passes import BlockTime, recomputed

__all__ = ["least_s"]

MESH = ("tp", "cp", "pp", "dp", "sites", "devices", "micro_batch")
CUT = (*MESH, "sp", "ep", "etp")
"""What decides the least time of a block."""
MARGIN = 1.0 - 1e-9
"""The sums are made in another order than the price's: a bound is below it all the same."""
FULL = RECOMPUTE.index("full")


def least_s(context: Context, dims: ParallelDims, *, own_order: bool = False) -> Column:
    """Return the least step time of every row, under any order of its mesh or its own alone.

        m t + (T - t) / v,   t = max(T / p, ceil(L / p) t_layer),

    T the seconds of one microbatch on all stages together: the slowest stage takes at least a
    p-th of it, and holds at least ceil(L / p) layers; the bubble is at least the other stages'
    time over the virtual stages v (nothing for zero-bubble and dualpipe).
    """
    if not len(dims):
        return np.zeros(0)
    folded = fold(dims, (*CUT, "order") if own_order else CUT)
    sets = sets_in(dims.recompute)
    blocks = _least_blocks(context, folded.few, own_order, sets)
    layer = np.min(np.array([_both(t) for b, t in blocks if b.layers]), axis=0)
    whole = sum(b.count * _both(t) for b, t in blocks)
    codes = [*range(len(RECOMPUTE)), *sets]
    again = np.stack([_again(blocks, code) for code in codes])
    mode = np.searchsorted(codes, dims.recompute)
    layers = float(context.spec.model.layers)
    share = _recomputed_share(dims, layers)
    total = folded.spread(whole) + share * again[mode, folded.inverse]
    total = total + _accumulate_s(context, dims)
    slowest = np.maximum(total / dims.pp, np.ceil(layers / dims.pp) * folded.spread(layer))
    idle = np.where(dims.schedule == INTERLEAVED, 1.0 / dims.vpp, 1.0)
    idle = np.where((dims.schedule == ZERO_BUBBLE) | (dims.schedule == DUALPIPE), 0.0, idle)
    step = dims.microbatches * slowest + np.maximum(0.0, total - slowest) * idle
    family = context.stack.family
    hosts = dims.devices / context.cluster.profile.host.devices
    felt = 1.0 + family.jitter.value * consistency.felt_doublings(dims, hosts)
    return np.asarray((step + family.step_s.value) * felt * MARGIN)


def _as_it_is(dims: ParallelDims) -> tuple[ParallelDims, NDArray[np.intp]]:
    return dims, np.arange(len(dims))


def _least_blocks(
    context: Context, dims: ParallelDims, own_order: bool, sets: Sequence[int]
) -> list[tuple[Block, BlockTime]]:
    """Price every block under the least of its exchanges, and as if no unit of it were sharded."""
    dims = replace(dims, zero=np.zeros(len(dims)))
    orders = _as_it_is if own_order else every_order
    mesh = fold(dims, (*MESH, "sp", "order") if own_order else (*MESH, "sp"))
    meshes, mesh_rows = orders(mesh.few)
    cuts, cut_rows = orders(dims)
    none = np.zeros(len(dims))
    mesh_spans, cut_spans = exchange.Spans(context, meshes), exchange.Spans(context, cuts)

    def exchanges(
        context: Context, block: Block, dims: ParallelDims
    ) -> Mapping[str, Mapping[str, Num]]:
        tensor = _fewest(
            exchange.tensor_traffic(context, block, meshes, mesh_spans).seconds, mesh_rows
        )
        experts = none
        if any(op.kind == "dispatch" for op in block.ops):
            experts = _fewest(
                exchange.expert_traffic(context, block, cuts, cut_spans).seconds, cut_rows
            )
        once = {"tp": mesh.spread(tensor), "cp": none, "ep": experts}
        nothing = dict.fromkeys(once, none)
        return {phase: once if block.phase(phase) else nothing for phase in ("forward", "backward")}

    times = OperatorTimes(context, dims)
    return [(b, block_time(context, b, dims, exchanges, times, sets)) for b in context.graph.blocks]


def _fewest(seconds: Num, rows: NDArray[np.intp]) -> Column:
    """Return the least of the seconds of each plan, those of one plan being neighbours."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    every = np.broadcast_to(np.asarray(seconds, float), rows.shape)
    return np.asarray(np.minimum.reduceat(every, starts))


def _both(time: BlockTime) -> Num:
    return time.forward.total_s + time.backward.total_s


def _again(blocks: list[tuple[Block, BlockTime]], mode: int) -> Num:
    """Seconds that a recompute mode runs again, all layers together.

    Without the gaps between launches, which shrink where exchanges grow, but where all is run
    again, gaps and exchanges together.
    """
    total: Num = 0.0
    for block, time in blocks:
        if block.recomputed:
            once = recomputed(time, mode)
            spent = once.total_s if mode == FULL else once.total_s - once.exposed["launch"]
            total = total + block.count * spent
    return total * np.ones(len(np.atleast_1d(_both(blocks[0][1]))))


def _recomputed_share(dims: ParallelDims, layers: float) -> Column:
    """Least share of the layers that is recomputed: whole modes all, counts of layers by stage."""
    chunks = dims.pp * dims.vpp
    held = np.maximum(0.0, dims.vpp * np.floor(layers / chunks) - dims.lean)
    share = dims.pp * np.minimum(dims.recompute_layers, held) / layers
    share = np.where(dims.recompute_layers >= ALL_LAYERS, 1.0, share)
    return np.asarray(np.where(dims.staging > 0, 0.0, share))


def _accumulate_s(context: Context, dims: ParallelDims) -> Num:
    """Read and write the accumulated gradients, where there is more than one microbatch.

    Nothing where products do it themselves: their time may cover it all.
    """
    if context.stack.fused_accumulation:
        return 0.0
    dense = expert = 0.0
    for block in context.graph.blocks:
        dense += block.count * block.weights(expert=False, trainable=True)
        expert += block.count * block.weights(expert=True, trainable=True)
    held = dense / dims.tp + expert / (dims.ep * dims.etp)
    seconds = 2.0 * context.gradient_bytes * held / context.rates.memory_bytes_per_s
    return np.where(dims.microbatches > 1, seconds, 0.0)
