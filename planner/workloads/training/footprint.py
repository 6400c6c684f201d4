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
from planner.dims import OFFLOAD, ParallelDims
from planner.fold import Folding
from planner.workloads.training.at_work import largest_tensor_bytes, layer_bytes
from planner.workloads.training.context import Context
from planner.workloads.training.stage_ends import (
    FP32_BYTES,
    crossing_bytes,
    logits_of,
    loss_bytes,
)
from planner.workloads.training.stages import Slots
from planner.workloads.training.states import Fullest, StateBytes

__all__ = [
    "BEYOND_HOST",
    "OUTER_STATES",
    "Activations",
    "Footprint",
    "activations_of",
    "fetched_bytes",
    "footprint",
    "offloaded",
]

OUTER_STATES = "outer optimizer states"
BEYOND_HOST = "beyond the host's memory"


def offloaded(bits: Column, what: str) -> NDArray[np.bool_]:
    """Tell which plans, or stages, keep `what` in the host's memory, by their `offload`."""
    if not bits.any():
        return np.zeros(bits.shape, bool)
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

    `crossing` are those that a pipeline's framework holds for stage boundaries; `block` is the
    largest block that the allocator has to spare once the passes are over.
    """

    in_flight: NDArray[np.float64]
    one_layer: NDArray[np.float64]
    working: NDArray[np.float64]
    loss: NDArray[np.float64]
    crossing: NDArray[np.float64]
    block: NDArray[np.float64]

    def spread(self, folded: Folding) -> "Activations":
        """Return the bytes of all rows, from those of the distinct ones."""
        parts = (self.in_flight, self.one_layer, self.working, self.loss, self.crossing, self.block)
        return Activations(*(np.asarray(folded.spread(part)) for part in parts))


def activations_of(context: Context, dims: ParallelDims, slots: Slots) -> Activations:
    """Count the activations of every stage slot."""
    layers = np.maximum(slots.layers, 1.0)
    recomputed = np.minimum(slots.recompute_layers, layers) / layers
    kept = np.zeros_like(slots.multiplicity)
    working: Num = 0.0
    for kind, block in enumerate(context.layer_blocks):
        one, at_work = layer_bytes(context, block, dims, slots.recompute, recomputed)
        kept = kept + slots.counts[kind] * one
        working = np.maximum(working, at_work)
    chunks = in_flight_chunks(dims.schedule, dims.pp, slots.position, dims.vpp, dims.microbatches)
    loss = loss_bytes(context, dims) * slots.last
    tower, at_work = _tower_bytes(context, dims, slots, recomputed)
    working = np.maximum(working, at_work * slots.first)
    # the loss is over before the layers' backward passes begin: the larger of the two counts
    working = np.maximum(0.0, np.ones_like(kept) * working - loss)
    # the tower is part of the first chunk, of which the first stage keeps most
    first = np.where(dims.vpp > 1, np.minimum(dims.microbatches, 2.0 * dims.pp - 1.0), chunks)
    in_flight = kept * chunks / dims.vpp + tower * first
    crossing = np.zeros_like(kept) + crossing_bytes(context, dims, chunks, slots)
    logits = logits_of(context, dims) * FP32_BYTES * slots.last
    largest = np.maximum(logits, largest_tensor_bytes(context, dims)) * np.ones_like(kept)
    return Activations(in_flight, (kept + tower) / layers, working, loss, crossing, largest)


def _tower_bytes(
    context: Context, dims: ParallelDims, slots: Slots, recomputed: Num
) -> tuple[NDArray[np.float64], Num]:
    """Bytes that a vision tower keeps on the first stage, and those of its layer at work."""
    kept = np.zeros_like(slots.multiplicity)
    working: Num = 0.0
    for block in context.graph.blocks:
        if block.on_patches:
            each, at_work = layer_bytes(context, block, dims, slots.recompute, recomputed)
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
        *_state_parts(dims, slots, states, activations),
        *_left_behind(context, dims, slots, states, activations),
        *_activation_parts(slots, activations),
        *_reserve_parts(context, dims, slots, states, activations),
    ]
    made = Footprint(
        tuple((name, kind, source) for name, kind, _, source in parts),
        tuple(np.broadcast_to(each, every_slot.shape) for _, _, each, _ in parts),
        np.zeros(len(dims), np.intp),
    )
    fullest = np.argmax(np.where(slots.multiplicity > 0, made.total(), -1.0), axis=0)
    return Footprint(made.names, made.bytes, fullest)


Part = tuple[str, str, Num, str]


def _state_parts(
    dims: ParallelDims, slots: Slots, states: StateBytes, a: Activations
) -> list[Part]:
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
        ("optimizer's copies", "buffers", _copies(states, a), "stack; what finds no free block"),
    ]  # fmt: skip
    if (dims.consistency > 0).any():
        outer = np.where(elsewhere, 0.0, states.outer)
        parts += [
            (OUTER_STATES, "states", outer, "outer momentum and last exchange, fp32"),
            ("second copy of weights", "states", states.second, "at work while one is updated"),
        ]
    return parts


def _left_behind(
    context: Context, dims: ParallelDims, slots: Slots, states: StateBytes, a: Activations
) -> list[Part]:
    """Bytes to offload that a device's share of its host's memory cannot hold: they stay.

    No part where all of it fits, so that plans which a host can hold read as they did.
    """
    weights = states.weights * np.where(dims.schedule == DUALPIPE, 2.0, 1.0)
    outer = states.outer if (dims.consistency > 0).any() else 0.0
    away = (
        np.where(offloaded(slots.offload, "parameters"), weights, 0.0)
        + np.where(offloaded(slots.offload, "optimizer"), states.optimizer + outer, 0.0)
        + np.where(offloaded(slots.offload, "activations"), a.in_flight, 0.0)
    )
    over = np.maximum(0.0, away - context.host_limit_bytes)
    source = "offloaded bytes over the host's memory, by the devices that share it"
    return [(BEYOND_HOST, "states", over, source)] if (over > 0.0).any() else []


def _copies(states: StateBytes, a: Activations) -> Num:
    """Bytes of the optimizer's copies: one that fits goes where the passes had a larger tensor.

    The allocator keeps freed blocks, and cuts them for smaller requests.
    """
    copies = (states.transient, states.flat)
    return sum(np.where(copy <= a.block, 0.0, copy) for copy in copies)


def _activation_parts(slots: Slots, a: Activations) -> list[Part]:
    on_host = offloaded(slots.offload, "activations")
    kept = np.where(on_host, 2.0 * a.one_layer, a.in_flight)
    return [
        ("activations in flight", "activations", kept, "kept by op and recompute mode"),
        ("working layer", "activations", a.working, "the layer at work, beyond the loss's"),
        ("logits and loss", "activations", a.loss, "last stage, bytes per logit"),
    ]


def _reserve_parts(
    context: Context, dims: ParallelDims, slots: Slots, states: StateBytes, a: Activations
) -> list[Part]:
    family = context.stack.family
    axes = sum(1.0 * (degree > 1) for degree in (dims.tp, dims.cp, dims.pp, dims.dp, dims.ep))
    buffers = family.group_bytes.value * axes + context.stack.bucket_bytes.value
    kept = _activation_parts(slots, a)[0][2]
    every_slot = np.ones_like(slots.multiplicity)
    loose = family.fragmentation.value * (kept + a.working + a.loss + states.gathered)
    return [
        ("communication buffers", "buffers", buffers * every_slot + a.crossing,
         f"stack {family.group_bytes.basis}"),
        ("framework", "reserve", family.base_bytes.value * every_slot,
         f"stack {family.base_bytes.basis}"),
        ("fragmentation", "reserve", loose, f"stack {family.fragmentation.basis}"),
    ]  # fmt: skip
