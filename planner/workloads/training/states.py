"""Parameters of a stage, and the bytes of their states on one rank.

Counts parameters by stage slot (dense and expert, trainable and frozen), and divides their
gradients, master copies and moments over the ranks that ZeRO shards them on. Knows counts and
bytes; no seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column, Num
from planner.dims import CONSISTENCY, ParallelDims
from planner.fold import Folding
from planner.graph import Block
from planner.workloads.training.context import Context
from planner.workloads.training.stages import Slots
from planner.workloads.training.units import by_units, unit_bytes

__all__ = [
    "Fullest",
    "Parameters",
    "StateBytes",
    "least_state_bytes",
    "parameters_of",
    "state_bytes",
]

LOCAL = CONSISTENCY.index("local_sgd")
OUTER_BYTES = 8.0
"""States of the outer optimizer per parameter: momentum and the last exchanged value, fp32."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters that one rank of each stage slot holds before ZeRO, (slots, rows)."""

    dense: NDArray[np.float64]
    expert: NDArray[np.float64]
    frozen_dense: NDArray[np.float64]
    frozen_expert: NDArray[np.float64]
    largest_layer: Num
    tables: Num
    """Of the embedding and the head."""

    @property
    def trainable(self) -> NDArray[np.float64]:
        """Parameters with gradients."""
        return self.dense + self.expert

    def spread(self, folded: Folding) -> "Parameters":
        """Return the parameters of all rows, from those of the distinct ones."""
        return Parameters(
            np.asarray(folded.spread(self.dense)),
            np.asarray(folded.spread(self.expert)),
            np.asarray(folded.spread(self.frozen_dense)),
            np.asarray(folded.spread(self.frozen_expert)),
            folded.spread(self.largest_layer),
            folded.spread(self.tables),
        )

    def fullest(self, where: NDArray[np.bool_] | bool = True) -> "Fullest":
        """Return the most of each kind that any stage holds, of the stages told by `where`."""

        def most(held: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray((held if where is True else np.where(where, held, 0.0)).max(axis=0))

        frozen = most(self.frozen_dense) + most(self.frozen_expert)
        return Fullest(most(self.dense), most(self.expert), frozen)

    def mean(self, multiplicity: NDArray[np.float64]) -> "Fullest":
        """Return what an average stage holds; `multiplicity`: stages of every slot."""
        weights = multiplicity / multiplicity.sum(axis=0)
        dense, expert, frozen = (
            (held * weights).sum(axis=0)
            for held in (self.dense, self.expert, self.frozen_dense + self.frozen_expert)
        )
        return Fullest(dense, expert, frozen)


@dataclass(frozen=True, slots=True)
class Fullest:
    """Parameters of the stage that holds most: trainable dense, trainable expert, frozen."""

    dense: Num
    expert: Num
    frozen: Num

    def spread(self, folded: Folding) -> "Fullest":
        """Return the figures of all rows, from those of the distinct ones."""
        return Fullest(*(folded.spread(x) for x in (self.dense, self.expert, self.frozen)))


def parameters_of(context: Context, dims: ParallelDims, slots: Slots) -> Parameters:
    """Count the parameters on one rank of every stage slot.

    Dense ones are split by tp (those that tensor parallelism does not split are copied: norms,
    routers, latent down-projections), experts by ep and etp.
    """

    def of(trainable: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        dense = np.zeros_like(slots.multiplicity)
        expert = np.zeros_like(slots.multiplicity)
        for counts, block in _placed(context, dims, slots):
            dense = dense + counts * _dense(block, dims, trainable)
            expert = expert + counts * block.weights(expert=True, trainable=trainable) / (
                dims.ep * dims.etp
            )
        return dense, expert

    dense, expert = of(True)
    frozen_dense, frozen_expert = of(False)
    largest: Num = 0.0
    for block in context.layer_blocks:
        one = _dense(block, dims, None) + block.weights(expert=True) / (dims.ep * dims.etp)
        largest = np.maximum(largest, one)
    tables: Num = 0.0
    for block in context.graph.blocks:
        if block.name in ("embedding", "head"):
            tables = tables + _dense(block, dims, None)
    return Parameters(dense, expert, frozen_dense, frozen_expert, largest, tables)


def _placed(
    context: Context, dims: ParallelDims, slots: Slots
) -> list[tuple[NDArray[np.float64], Block]]:
    """Blocks with how often each stands in every slot.

    A tied head on another stage than the embedding keeps its own copy of the table.
    """
    placed: list[tuple[NDArray[np.float64], Block]] = []
    kind = 0
    for block in context.graph.blocks:
        if block.layers:
            placed.append((slots.counts[kind], block))
            kind += 1
        elif block.name == "embedding":
            where = slots.first
            if context.spec.model.tied_embeddings:
                where = slots.first + np.where(dims.pp > 1, slots.last, 0.0)
            placed.append((where, block))
        else:
            placed.append((slots.end(block.at) * block.count, block))
    return placed


def _dense(block: Block, dims: ParallelDims, trainable: bool | None) -> Num:
    split = whole = 0.0
    padded: Num = 0.0
    for op in block.ops:
        if op.kind == "grouped" or (trainable is not None and op.trainable != trainable):
            continue
        if op.split in ("", "sequence") and block.name != "embedding":
            whole += op.weights
        elif op.units:
            padded = padded + op.part(op.weights, dims.tp)
        else:
            split += op.weights
    return split / dims.tp + whole + padded


@dataclass(frozen=True, slots=True)
class StateBytes:
    """Bytes on one rank of each stage slot, by kind of state, (slots, rows)."""

    weights: NDArray[np.float64]
    gradients: NDArray[np.float64]
    optimizer: NDArray[np.float64]
    transient: NDArray[np.float64]
    """Copies that the optimizer makes of its own parameters' gradients and updates."""
    flat: NDArray[np.float64]
    """Buffer that all weights of the stage pass through."""
    gathered: Num
    """Whole layers, and tables, that sharded parameters are gathered into."""
    outer: NDArray[np.float64]
    """Outer optimizer of local updates."""
    second: NDArray[np.float64]
    """Second copy of the parameters, under staleness."""


def state_bytes(context: Context, dims: ParallelDims, parameters: Parameters) -> StateBytes:
    """Bytes of weights, gradients and optimizer states.

        zero 0  all states whole        zero 1  master and moments over the shards
        zero 2  and gradients           zero 3  and parameters

    Frozen parameters have no gradients and no optimizer state. Sharded parameters are gathered
    a few layers at a time, with the gradients of one, and the embedding and the head beside
    them where the stack keeps these whole through the step. Under a pipeline all stay gathered,
    and gradients whole, until the step ends, beside those of one layer as they are made and as
    they are sent. Where gathers have buffers of their own, the largest of them stays beside all
    these. Sharding by units holds what `unit_bytes` says instead. Local updates keep the
    parameters of the last exchange and the outer momentum, both fp32, sharded as optimizer
    states; staleness keeps the parameters that are at work beside those that are being updated.
    """
    dense, expert = dims.shards, dims.expert_shards
    p = parameters

    def sharded(stage: float) -> tuple[Num, Num]:
        on = dims.zero >= stage
        return np.where(on, dense, 1.0), np.where(on, expert, 1.0)

    weights_over, weights_over_expert = sharded(3.0)
    gradients_over, gradients_over_expert = sharded(2.0)
    optimizer_over, optimizer_over_expert = sharded(1.0)
    each = context.parameter_bytes
    if context.stack.family.shards_master:
        # fp32 parameters are their own master copy; below zero 3 the compute copy is 16-bit
        weights_over, weights_over_expert = optimizer_over, optimizer_over_expert
    weights = each * (p.dense / weights_over + p.expert / weights_over_expert)
    frozen_over, frozen_over_expert = sharded(3.0)
    weights = weights + context.frozen_bytes * (
        p.frozen_dense / frozen_over + p.frozen_expert / frozen_over_expert
    )
    if context.stack.family.shards_master:
        copy = np.where(dims.zero >= 3, 0.0, context.activation_bytes)
        weights = weights + copy * (p.dense + p.expert)
    gradients = context.gradient_bytes * (
        p.dense / gradients_over + p.expert / gradients_over_expert
    )
    state = context.master_bytes + context.moment_bytes
    optimizer = state * (p.dense / optimizer_over + p.expert / optimizer_over_expert)
    stack = context.stack
    layers = p.largest_layer * (stack.family.gathered_layers + 1.0)  # and the gradients of one
    whole = layers + p.tables if stack.family.keeps_tables else np.maximum(layers, p.tables)
    some_layers = whole * context.activation_bytes
    copies = context.activation_bytes + context.gradient_bytes
    stage = copies * (p.dense + p.expert + p.largest_layer)
    gathered = np.where(dims.pp > 1, stage, some_layers)
    if stack.family.gathers_apart:
        at_once = np.maximum(p.largest_layer * stack.family.gathered_layers, p.tables)
        gathered = gathered + context.activation_bytes * at_once
    gathered = np.where(dims.zero >= 3, gathered, 0.0)
    if stack.sharded_units:
        units = unit_bytes(context, dims, p.largest_layer, p.tables)
        gathered = np.where(by_units(context, dims), units, gathered)
    gathered = np.where(dims.replicas > 1, gathered, 0.0)
    mine = p.dense / optimizer_over + p.expert / optimizer_over_expert
    each_copy = np.where(
        dims.zero >= 3,
        stack.sharded_transient_bytes.value,
        stack.optimizer_transient_bytes.value,
    )
    transient = each_copy * mine
    flat = stack.whole_transient_bytes.value * (p.dense + p.expert)
    second = context.activation_bytes * (
        p.dense / np.where(dims.zero >= 3, dense, 1.0)
        + p.expert / np.where(dims.zero >= 3, expert, 1.0)
    )
    outer = np.where(dims.consistency == LOCAL, OUTER_BYTES * mine, 0.0)
    second = np.where(dims.consistency > LOCAL, second, 0.0)
    return StateBytes(weights, gradients, optimizer, transient, flat, gathered, outer, second)


def least_state_bytes(
    context: Context, mesh: Mapping[str, Column], zero: Num
) -> NDArray[np.float64]:
    """Bound the bytes of weights and gradients on a device from below, before all is chosen.

    Of an average stage, sharded over all ranks where `zero` allows, optimizer states elsewhere.

    Parameters
    ----------
    mesh : columns tp, cp, pp, dp, sites, ep, etp
    zero : the highest stage that the stack can build with each
    """
    replicas = mesh["dp"] * mesh["cp"] / mesh["sites"]
    copies = mesh["tp"] * replicas / (mesh["ep"] * mesh["etp"])
    blocks = context.graph.blocks
    experts = sum(block.count * block.weights(expert=True) for block in blocks)
    dense = (context.graph.weights() - experts) / (mesh["tp"] * mesh["pp"])
    expert = experts / (mesh["ep"] * mesh["etp"] * mesh["pp"])

    def held(each: float, stage: float) -> NDArray[np.float64]:
        over = np.where(zero >= stage, replicas, 1.0)
        expert_over = np.where(zero >= stage, np.maximum(1.0, copies), 1.0)
        return np.asarray(each * (dense / over + expert / expert_over))

    least = held(min(context.parameter_bytes, context.frozen_bytes), 3.0)
    if context.spec.adapters is None:
        least = least + held(context.gradient_bytes, 2.0)
    return least
