"""The price of a training step: every second named, and the footprint of the fullest device.

`cost` is the only way to price a plan, one or a column of them. The slowest pipeline stage sets
the pace; what the others add is the bubble. Terms are of that stage, summed over the step's
microbatches, left to right.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from costmodels.breakdown import Breakdown, Term
from costmodels.pipeline import bubble_s
from costmodels.units import Column, Num
from planner.dims import ParallelDims
from planner.workloads.training import exchange, footprint, sharing, stages, states
from planner.workloads.training.context import Context
from planner.workloads.training.graph import layer_kinds
from planner.workloads.training.layer import BlockTime, Pass, block_time, combine

__all__ = ["cost", "memory_of", "stage_bytes"]

FOLDED = ("tp", "sp", "cp", "cp_comm", "pp", "dp", "ep", "etp", "micro_batch", "recompute")
"""Columns that decide a block's time: rows that agree in them are priced once."""
HOST_ADAM_BYTES_PER_S = 50e9
"""What a host's memory gives one device's share of an offloaded optimizer step (assumed)."""


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Time of every block for one microbatch, on folded rows."""

    kinds: tuple[BlockTime, ...]
    ends: dict[str, BlockTime]
    boundary: exchange.Traffic


def _fold(dims: ParallelDims) -> tuple[ParallelDims, "np.ndarray[tuple[int], np.dtype[np.intp]]"]:
    """Distinct rows in the columns that matter to a block, and where each row went."""
    code = np.zeros(len(dims))
    for name in FOLDED:
        _, index = np.unique(getattr(dims, name), return_inverse=True)
        code = code * (index.max() + 1) + index
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return dims.take(first), inverse


def _blocks(context: Context, dims: ParallelDims) -> _Blocks:
    few, inverse = _fold(dims)

    def spread(value: Num) -> Num:
        return value if np.ndim(value) == 0 else np.asarray(value)[inverse]

    def spread_pass(p: Pass) -> Pass:
        return Pass(
            {c: spread(v) for c, v in p.exposed.items()},
            {c: spread(v) for c, v in p.hidden.items()},
        )

    def timed(block: "exchange.Block") -> BlockTime:
        t = block_time(context, block, few)
        return BlockTime(
            spread_pass(t.forward), spread_pass(t.backward), spread_pass(t.recompute),
            spread(t.weight_s),
        )  # fmt: skip

    boundary = exchange.stage_boundary_s(context, few)
    return _Blocks(
        tuple(timed(block) for block in context.layer_blocks),
        {b.name: timed(b) for b in context.graph.blocks if not b.layers},
        exchange.Traffic(spread(boundary.sent_bytes), spread(boundary.seconds)),
    )


def _slots(context: Context, dims: ParallelDims, pinned: tuple[int, ...] | None) -> stages.Slots:
    order = {block.name: i for i, block in enumerate(context.layer_blocks)}
    kinds = [order[kind.name] for kind in layer_kinds(context.spec.model)]
    return stages.slots_of(kinds, dims, pinned)


def memory_of(
    context: Context, dims: ParallelDims, layout: tuple[int, ...] | None = None
) -> Breakdown:
    """Footprint alone, without the times: what the search drops plans by."""
    slots = _slots(context, dims, layout)
    held = states.state_bytes(context, dims, states.parameters_of(context, dims, slots))
    return Breakdown((), footprint.footprint(context, dims, slots, held).memory())


def stage_bytes(
    context: Context, dims: ParallelDims, layout: tuple[int, ...] | None = None
) -> list[float]:
    """Bytes of every pipeline stage of one plan, first to last."""
    slots = _slots(context, dims, layout)
    held = states.state_bytes(context, dims, states.parameters_of(context, dims, slots))
    total = footprint.footprint(context, dims, slots, held).total()[:, 0]
    pp, vpp = int(dims.pp[0]), int(dims.vpp[0])
    by_stage: list[float] = []
    order = {block.name: i for i, block in enumerate(context.layer_blocks)}
    kinds = [order[kind.name] for kind in layer_kinds(context.spec.model)]
    chunks = layout or stages.even_layout(len(kinds), pp * vpp)
    for stage in range(pp):
        counts = np.zeros(len(order))
        for chunk in range(stage, pp * vpp, pp):
            start = sum(chunks[:chunk])
            for kind in kinds[start : start + chunks[chunk]]:
                counts[kind] += 1
        same = (
            (slots.counts[:, :, 0] == counts[:, None]).all(axis=0)
            & (slots.first[:, 0] == float(stage == 0))
            & (slots.last[:, 0] == float(stage == pp - 1))
            & (slots.multiplicity[:, 0] > 0)
        )
        by_stage.append(float(total[int(np.argmax(same))]))
    return by_stage


def cost(
    context: Context, dims: ParallelDims, layout: tuple[int, ...] | None = None
) -> Breakdown:
    """Price every plan: exposed and hidden seconds by name, and bytes of the fullest device.

    Parameters
    ----------
    layout : `layers_per_stage`, where the job pins it

    Notes
    -----
    step = m t + bubble + sharing of gradients and weights + optimizer + stragglers, with t the
    slowest stage's time for one microbatch and m the microbatches.
    """
    slots = _slots(context, dims, layout)
    parameters = states.parameters_of(context, dims, slots)
    held = states.state_bytes(context, dims, parameters)
    blocks = _blocks(context, dims)
    send_s = _exposed_sends_s(context, dims, blocks)
    accumulate_s = _accumulate_s(context, dims, parameters)
    each = _stage_seconds(context, dims, blocks, slots)
    total = each.forward + each.backward + send_s + accumulate_s
    total = np.where(slots.multiplicity > 0, total, 0.0)
    critical = np.argmax(total, axis=0)[None, :]

    def at(values: Num) -> Column:
        spread = np.broadcast_to(np.asarray(values, np.float64), total.shape)
        return np.asarray(np.take_along_axis(spread, critical, axis=0)[0])

    others = (total * slots.multiplicity).sum(axis=0) - at(total)
    terms = _stage_terms(context, dims, blocks, slots, at)
    m = dims.microbatches
    terms += [
        Term("gradient accumulation", "hbm", m * at(accumulate_s), "states; memory bandwidth"),
        Term(
            "stage boundary sends", "pp", m * at(send_s), "collectives.point_to_point_s",
            m * (2.0 * dims.vpp * blocks.boundary.seconds - at(send_s)),
        ),
        Term(
            "pipeline bubble", "bubble",
            bubble_s(
                dims.schedule, dims.pp, dims.vpp, others, at(each.forward), at(each.backward),
                at(each.weight),
            ),
            "pipeline.bubble_s",
        ),
    ]  # fmt: skip
    shared = sharing.share(
        context, dims, parameters, at(each.forward_device), at(each.backward_device),
        np.maximum(1.0, at(slots.layers)),
    )  # fmt: skip
    terms += [
        Term("gradient reduction", "dp", shared.reduce_exposed_s,
             "sharing.share; collectives", shared.reduce_hidden_s),
        Term("parameter gathering", "dp", shared.gather_exposed_s,
             "sharing.share; collectives", shared.gather_hidden_s),
    ]  # fmt: skip
    terms += _step_terms(context, dims, held, parameters)
    subtotal = Breakdown(tuple(terms)).total_s
    jitter = context.stack.family.jitter
    doublings = np.log2(np.maximum(1.0, dims.devices / context.cluster.profile.host.devices))
    terms.append(
        Term("stragglers", "other", subtotal * jitter.value * doublings,
             f"stack jitter per doubling; {jitter.basis}")
    )  # fmt: skip
    return Breakdown(tuple(terms), footprint.footprint(context, dims, slots, held).memory())


@dataclass(frozen=True, slots=True)
class _StageSeconds:
    """Seconds of one microbatch on every slot; backward includes recomputation."""

    forward: Num
    backward: Num
    weight: Num
    forward_device: Num
    backward_device: Num


def _stage_seconds(
    context: Context, dims: ParallelDims, blocks: _Blocks, slots: stages.Slots
) -> _StageSeconds:
    forward = backward = weight = forward_device = backward_device = np.zeros_like(
        slots.multiplicity
    )
    for count, share, time in _placed(context, dims, blocks, slots):
        forward = forward + count * time.forward.total_s
        again = share * time.recompute.total_s
        backward = backward + count * (time.backward.total_s + again)
        weight = weight + count * time.weight_s
        forward_device = forward_device + count * time.forward.device_s
        device = time.backward.device_s + share * time.recompute.device_s
        backward_device = backward_device + count * device
    return _StageSeconds(forward, backward, weight, forward_device, backward_device)


def _placed(
    context: Context, dims: ParallelDims, blocks: _Blocks, slots: stages.Slots
) -> list[tuple[Num, Num, BlockTime]]:
    """How often each block runs on every slot, the share of it recomputed, and its time."""
    layers = np.maximum(slots.layers, 1.0)
    share = np.minimum(dims.recompute_layers, layers) / layers
    placed: list[tuple[Num, Num, BlockTime]] = [
        (slots.counts[kind], share, time) for kind, time in enumerate(blocks.kinds)
    ]
    placed.append((slots.first, np.zeros_like(share), blocks.ends["embedding"]))
    placed.append((slots.last, np.zeros_like(share), blocks.ends["head"]))
    if "mtp" in blocks.ends:
        mtp = float(context.spec.model.mtp_layers)
        placed.append((mtp * slots.last, share, blocks.ends["mtp"]))
    return placed


def _stage_terms(
    context: Context,
    dims: ParallelDims,
    blocks: _Blocks,
    slots: stages.Slots,
    at: Callable[[Num], Column],
) -> list[Term]:
    """Terms of the critical stage, for all microbatches."""
    m = dims.microbatches
    layers = len(blocks.kinds)
    placed = [(at(c) * m, at(s), t) for c, s, t in _placed(context, dims, blocks, slots)]
    forward = combine(t.forward.scaled(c) for c, _, t in placed[:layers])
    backward = combine(t.backward.scaled(c) for c, _, t in placed[:layers])
    again = combine(t.recompute.scaled(c * s) for c, s, t in placed)
    ends = combine(
        p.scaled(c) for c, _, t in placed[layers:] for p in (t.forward, t.backward)
    )
    return [*_compute_terms(forward, backward, again, ends), *_comm_terms(forward, backward, ends)]


def _compute_terms(forward: Pass, backward: Pass, again: Pass, ends: Pass) -> list[Term]:
    f, b, e = forward.exposed, backward.exposed, ends.exposed
    kernels = "roofline; chip's kernel constants"
    return [
        Term("matrix products, forward", "compute", f["matmul"], kernels),
        Term("matrix products, backward", "compute", b["matmul"], kernels),
        Term("expert products", "compute", f["experts"] + b["experts"], kernels),
        Term("attention, forward", "compute", f["attention"], kernels),
        Term("attention, backward", "compute", b["attention"], kernels),
        Term("norms and elementwise", "hbm", f["memory"] + b["memory"], kernels),
        Term("recomputation", "compute", again.total_s, "layer.RECOMPUTED share of forward"),
        Term("embedding, logits and loss", "compute",
             e["matmul"] + e["experts"] + e["attention"] + e["memory"], kernels),
        Term("launch gaps", "host", f["launch"] + b["launch"] + e["launch"],
             "stack launch time"),
    ]  # fmt: skip


def _comm_terms(forward: Pass, backward: Pass, ends: Pass) -> list[Term]:
    names = {
        "tp": "tensor-parallel collectives",
        "cp": "context-parallel exchange",
        "ep": "expert all-to-all",
    }
    return [
        Term(
            name,
            axis,
            forward.exposed[axis] + backward.exposed[axis] + ends.exposed[axis],
            "collectives; links of the cluster",
            forward.hidden[axis] + backward.hidden[axis] + ends.hidden[axis],
        )
        for axis, name in names.items()
    ]


def _exposed_sends_s(context: Context, dims: ParallelDims, blocks: _Blocks) -> Num:
    """Activations and gradients of one microbatch to the neighbours, forward and backward."""
    return 2.0 * dims.vpp * blocks.boundary.seconds * (1.0 - context.overlap_frac("pp"))


def _accumulate_s(context: Context, dims: ParallelDims, parameters: states.Parameters) -> Num:
    """Read and write of the accumulated gradients, where there is more than one microbatch."""
    traffic = 2.0 * context.gradient_bytes * parameters.trainable
    return np.where(dims.microbatches > 1, traffic / context.rates.memory_bytes_per_s, 0.0)


def _step_terms(
    context: Context,
    dims: ParallelDims,
    held: states.StateBytes,
    parameters: states.Parameters,
) -> list[Term]:
    """Optimizer step and host-link transfers, once a step."""
    family, rates = context.stack.family, context.rates
    mine = (parameters.dense / dims.shards + parameters.expert / dims.expert_shards).max(axis=0)
    state = context.master_bytes + context.moment_bytes
    if family.shards_master:
        state = state + context.parameter_bytes
    traffic = mine * (2.0 * state + 2.0 * context.gradient_bytes + context.activation_bytes)
    device_s = traffic / (
        context.cluster.profile.memory_bytes_per_s.value * family.optimizer_efficiency.value
    )
    down_up = mine * (context.gradient_bytes + context.activation_bytes)
    host_s = traffic / HOST_ADAM_BYTES_PER_S + down_up / rates.host_bytes_per_s
    on_host = footprint.offloaded(dims, "optimizer")
    serial_s: Num = 0.0
    if context.stack.serial_broadcast:
        serial_s = family.shard_rank_s.value * np.where(dims.zero > 0, dims.shards - 1.0, 0.0)
    fetch = np.where(
        footprint.offloaded(dims, "parameters"),
        2.0 * held.weights.max(axis=0) * dims.microbatches,
        0.0,
    )
    return [
        Term("optimizer step", "hbm",
             np.where(on_host, host_s, device_s) + family.step_s.value + serial_s,
             f"states over memory bandwidth; stack step_s {family.step_s.basis}"),
        Term("host-link transfers", "host", fetch / rates.host_bytes_per_s,
             "offloaded bytes over the host link"),
    ]  # fmt: skip
