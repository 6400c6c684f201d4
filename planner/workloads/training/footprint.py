"""Memory of the fullest device: states, activations in flight, logits, buffers, reserve.

Activations are those that `kept` counts of a layer, times the microbatches that the schedule
keeps in flight. Knows bytes; no seconds.

Source: Narayanan et al. 2021 (in flight).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Memory
from costmodels.pipeline import DUALPIPE, in_flight_chunks
from costmodels.units import Column, Num
from planner.dims import OFFLOAD, RECOMPUTE, ParallelDims
from planner.fold import Folding
from planner.graph import Block
from planner.workloads.training.context import Context
from planner.workloads.training.kept import FULL, SELECTIVE, kept_bytes, result_bytes
from planner.workloads.training.layer import Rows
from planner.workloads.training.stages import Slots
from planner.workloads.training.states import Fullest, StateBytes

__all__ = [
    "OUTER_STATES",
    "Activations",
    "Footprint",
    "activations_of",
    "fetched_bytes",
    "footprint",
    "offloaded",
]

LOSS_CHUNKS = 8.0
OUTER_STATES = "outer optimizer states"


def offloaded(bits: Column, what: str) -> NDArray[np.bool_]:
    """Tell which plans, or stages, keep `what` in the host's memory, by their `offload`."""
    bit = float(1 << OFFLOAD.index(what))
    return np.asarray(np.floor(bits / bit) % 2 == 1)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Footprints by name, each (slots, rows), and the slot that is fullest."""

    names: tuple[tuple[str, str, str], ...]
    bytes: tuple[NDArray[np.float64], ...]
    fullest: NDArray[np.intp]

    def memory(self) -> tuple[Memory, ...]:
        """Return the footprints of the fullest device."""
        pick = self.fullest[None, :]
        return tuple(
            Memory(name, kind, np.take_along_axis(each, pick, axis=0)[0], source)
            for (name, kind, source), each in zip(self.names, self.bytes, strict=True)
        )

    def total(self) -> NDArray[np.float64]:
        """Bytes of every slot, summed left to right."""
        total = np.zeros_like(self.bytes[0])
        for each in self.bytes:
            total = total + each
        return total


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes of activations on every slot: in flight, of one layer's worth, at work, at the loss.

    `crossing` are those that a pipeline's framework holds for stage boundaries.
    """

    in_flight: NDArray[np.float64]
    one_layer: NDArray[np.float64]
    working: NDArray[np.float64]
    loss: NDArray[np.float64]
    crossing: NDArray[np.float64]

    def spread(self, folded: Folding) -> "Activations":
        """Return the bytes of all rows, from those of the distinct ones."""
        parts = (self.in_flight, self.one_layer, self.working, self.loss, self.crossing)
        return Activations(*(np.asarray(folded.spread(part)) for part in parts))


def activations_of(context: Context, dims: ParallelDims, slots: Slots) -> Activations:
    """Count the activations of every stage slot."""
    layers = np.maximum(slots.layers, 1.0)
    recomputed = np.minimum(slots.recompute_layers, layers) / layers
    kept = np.zeros_like(slots.multiplicity)
    working: Num = 0.0
    for kind, block in enumerate(context.layer_blocks):
        one, at_work = _layer_bytes(context, block, dims, slots.recompute, recomputed)
        kept = kept + slots.counts[kind] * one
        working = np.maximum(working, at_work)
    chunks = in_flight_chunks(dims.schedule, dims.pp, slots.position, dims.vpp, dims.microbatches)
    loss = _loss_bytes(context, dims, slots.recompute) * slots.last
    tower, at_work = _tower_bytes(context, dims, slots, recomputed)
    working = np.maximum(working, at_work * slots.first)
    # the loss is over before the layers' backward passes begin: the larger of the two counts
    working = np.maximum(0.0, np.ones_like(kept) * working - loss)
    # the tower is part of the first chunk, of which the first stage keeps most
    first = np.where(dims.vpp > 1, np.minimum(dims.microbatches, 2.0 * dims.pp - 1.0), chunks)
    in_flight = kept * chunks / dims.vpp + tower * first
    crossing = np.zeros_like(kept) + _crossing_bytes(context, dims, chunks)
    return Activations(in_flight, (kept + tower) / layers, working, loss, crossing)


def _crossing_bytes(context: Context, dims: ParallelDims, chunks: Num) -> Num:
    """Bytes for stage boundaries: a gradient received for every microbatch, outputs in flight.

    PyTorch's pipelines allocate the first before a step and keep the second to the backward pass.
    """
    if not context.stack.family.keeps_boundaries:
        return 0.0
    each = context.spec.model.hidden * Rows.of(context, dims).sequence * context.activation_bytes
    return np.where(dims.pp > 1, each * (dims.microbatches * dims.vpp + chunks), 0.0)


def _loss_bytes(context: Context, dims: ParallelDims, mode: Num) -> Num:
    """Bytes at the loss of one microbatch: of its logits, and what the head keeps of its input.

    `mode` is the recompute mode of the stage: a preset may tell by it whose loss runs.
    """
    logits = dims.micro_batch * context.tokens / dims.cp * context.spec.model.vocab / dims.tp
    logits = logits * _logit_bytes(context, dims, mode)
    if context.switches.chunked_loss:
        logits = logits / LOSS_CHUNKS
    heads = [block for block in context.graph.blocks if block.name == "head"]
    return logits + sum(kept_bytes(context, head, dims, dims.recompute)[2] for head in heads)


def _logit_bytes(context: Context, dims: ParallelDims, mode: Num) -> Num:
    family, stack = context.stack.family, context.stack
    plain = np.where(dims.tp > 1, family.logit_bytes_split.value, family.logit_bytes.value)
    if not context.switches.fused_loss:
        return plain
    fused: Num = family.logit_bytes_fused.value
    for name in stack.unfused_loss_under:
        fused = np.where(mode == RECOMPUTE.index(name), plain, fused)
    return fused


def _layer_bytes(
    context: Context, block: Block, dims: ParallelDims, mode: Num, recomputed: Num
) -> tuple[Num, Num]:
    """Bytes that one copy of a block keeps under a recompute mode, and those at work."""
    tokens = Rows.of(context, dims)
    chosen, entry, every = kept_bytes(context, block, dims, mode)
    largest: Num = 0.0
    for op in block.phase("forward"):
        largest = np.maximum(largest, result_bytes(context, op, tokens, dims))
    # gradients of the largest operator's result and of its input; a compiler works in place
    largest = largest * (1.0 if context.switches.compile else 2.0)
    largest = np.maximum(largest, _summed_bytes(context, block, tokens, dims))
    if not block.recomputed:
        return every, largest
    partly = recomputed * entry + (1.0 - recomputed) * every
    again = np.where(mode > SELECTIVE, every - chosen, 0.0)
    return np.where(mode == FULL, partly, chosen), again + largest


def _summed_bytes(context: Context, block: Block, tokens: Rows, dims: ParallelDims) -> Num:
    """Bytes of the gradients at work in a product whose columns tensor ranks share.

    That of its input is whole on every rank, before it is summed over them.
    """
    most: Num = 0.0
    for op in block.phase("forward"):
        if op.kind == "matmul" and op.split and op.cols.name == op.split:
            rows = op.rows.size * tokens.whole
            whole = op.inner.size * rows * context.activation_bytes
            most = np.maximum(most, result_bytes(context, op, tokens, dims) + whole)
    return np.where(dims.tp > 1, most, 0.0)


def _tower_bytes(
    context: Context, dims: ParallelDims, slots: Slots, recomputed: Num
) -> tuple[NDArray[np.float64], Num]:
    """Bytes that a vision tower keeps on the first stage, and those of its layer at work."""
    kept = np.zeros_like(slots.multiplicity)
    working: Num = 0.0
    for block in context.graph.blocks:
        if block.on_patches:
            each, at_work = _layer_bytes(context, block, dims, slots.recompute, recomputed)
            kept = kept + block.count * each * slots.first
            working = np.maximum(working, at_work)
    return kept, working


def fetched_bytes(context: Context, dims: ParallelDims, parameters: Fullest) -> Num:
    """Bytes of a step over the host link for parameters kept there: to the device, twice."""
    held = context.activation_bytes * (parameters.dense + parameters.expert)
    held = held + context.frozen_bytes * parameters.frozen
    return 2.0 * held * dims.microbatches


def footprint(
    context: Context,
    dims: ParallelDims,
    slots: Slots,
    states: StateBytes,
    activations: Activations,
) -> Footprint:
    """Bytes of every stage slot, by name."""
    every_slot = np.ones_like(slots.multiplicity)
    parts = [
        *_state_parts(dims, slots, states),
        *_activation_parts(slots, activations),
        *_reserve_parts(context, dims, slots, activations),
    ]
    made = Footprint(
        tuple((name, kind, source) for name, kind, _, source in parts),
        tuple(np.broadcast_to(each, every_slot.shape) for _, _, each, _ in parts),
        np.zeros(len(dims), np.intp),
    )
    fullest = np.argmax(np.where(slots.multiplicity > 0, made.total(), -1.0), axis=0)
    return Footprint(made.names, made.bytes, fullest)


Part = tuple[str, str, Num, str]


def _state_parts(dims: ParallelDims, slots: Slots, states: StateBytes) -> list[Part]:
    copies = np.where(dims.schedule == DUALPIPE, 2.0, 1.0)  # dualpipe keeps two copies of weights
    on_host = offloaded(slots.offload, "parameters")
    two_layers = np.where(on_host, 2.0 * states.weights / np.maximum(slots.layers, 1.0), 0.0)
    elsewhere = offloaded(slots.offload, "optimizer")
    optimizer = np.where(elsewhere, 0.0, states.optimizer)
    parts: list[Part] = [
        ("weights", "states", np.where(on_host, 0.0, states.weights * copies),
         "parameters by stage, tensor and expert split"),
        ("gradients", "states", states.gradients, "one per trainable parameter"),
        ("optimizer states", "states", optimizer, "master copy and moments over the shards"),
        ("gathered layers", "buffers", two_layers + states.gathered,
         "a few layers, the tables, one layer's gradients"),
        ("optimizer's copies", "buffers", states.transient, "stack; per sharded parameter"),
    ]  # fmt: skip
    if (dims.consistency > 0).any():
        outer = np.where(elsewhere, 0.0, states.outer)
        parts += [
            (OUTER_STATES, "states", outer, "outer momentum and last exchange, fp32"),
            ("second copy of weights", "states", states.second, "at work while one is updated"),
        ]
    return parts


def _activation_parts(slots: Slots, a: Activations) -> list[Part]:
    on_host = offloaded(slots.offload, "activations")
    kept = np.where(on_host, 2.0 * a.one_layer, a.in_flight)
    return [
        ("activations in flight", "activations", kept, "kept by op and recompute mode"),
        ("working layer", "activations", a.working, "the layer at work, beyond the loss's"),
        ("logits and loss", "activations", a.loss, "last stage, bytes per logit"),
    ]


def _reserve_parts(
    context: Context, dims: ParallelDims, slots: Slots, a: Activations
) -> list[Part]:
    family = context.stack.family
    axes = sum(1.0 * (degree > 1) for degree in (dims.tp, dims.cp, dims.pp, dims.dp, dims.ep))
    buffers = family.group_bytes.value * axes + context.stack.bucket_bytes.value
    kept = _activation_parts(slots, a)[0][2]
    every_slot = np.ones_like(slots.multiplicity)
    loose = family.fragmentation.value * (kept + a.working + a.loss)
    return [
        ("communication buffers", "buffers", buffers * every_slot + a.crossing,
         f"stack {family.group_bytes.basis}"),
        ("framework", "reserve", family.base_bytes.value * every_slot,
         f"stack {family.base_bytes.basis}"),
        ("fragmentation", "reserve", loose, f"stack {family.fragmentation.basis}"),
    ]  # fmt: skip
