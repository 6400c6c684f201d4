"""What sharding by units adds: layers that are gathered, used, let go and reduced one by one.

Where a stack shards gradients and parameters in this way (`Stack.sharded_units`), under zero 2
and 3 without a pipeline, each layer is a unit. Its parameters are gathered into one of two buffers
before either pass (zero 3); the gradients of every microbatch are copied into one of two others,
reduced, and added to the shard; embedding and head are no units, and stay whole through the step.
Knows launches, bytes moved and bytes held; `sharing` knows the exchange itself.

Source: Megatron-FSDP (megatron/core/distributed/fsdp), with double buffers and gradients that
products do not accumulate themselves.

Parts: `by_units`, `unit_launches`, `copied_bytes`, `unit_bytes`.
"""

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Num
from planner.dims import ParallelDims
from planner.graph import Block
from planner.workloads.training.context import Context

__all__ = ["by_units", "copied_bytes", "unit_bytes", "unit_launches"]

BUFFERS = 2.0
"""Units whose parameters, and units whose gradients, stand whole at one time."""


def by_units(context: Context, dims: ParallelDims) -> NDArray[np.bool_]:
    """Tell which plans shard by units."""
    return np.asarray((dims.sharding > 0) & context.stack.sharded_units)


def unit_launches(context: Context, block: Block, dims: ParallelDims, phase: str) -> Num:
    """Count what the host launches for a layer's unit in a pass.

    A gather in either pass (zero 3); in the backward pass a reduction, and a copy of each
    trainable tensor's gradient. Dense weights and experts are gathered and reduced apart, and an
    expert's weights are tensors of their own.
    """
    if not (context.stack.sharded_units and block.layers):
        return 0.0
    held = [op for op in block.phase("forward") if op.weights]
    groups = float(len({op.kind == "grouped" for op in held}))
    gathers = np.where(dims.sharding >= 3, groups, 0.0)
    trained = [op for op in held if op.trainable]
    if phase == "forward" or not trained:
        return gathers
    tensors: Num = float(sum(op.kind != "grouped" for op in trained))
    moe, grouped = context.spec.model.moe, sum(op.kind == "grouped" for op in trained)
    if moe is not None and grouped:
        tensors = tensors + grouped * moe.experts / dims.ep
    reductions = float(len({op.kind == "grouped" for op in trained}))
    return gathers + np.where(dims.sharding > 0, reductions + tensors, 0.0)


def copied_bytes(context: Context) -> float:
    """Bytes moved per trainable parameter and microbatch: gradients, read and put in buffers."""
    return context.activation_bytes + context.gradient_bytes


def unit_bytes(context: Context, dims: ParallelDims, layer: Num, tables: Num) -> Num:
    """Bytes that stand whole beside the shards.

        zero 2  2 L g, or T g       zero 3  and (2 L + T) w

    with L parameters of the largest layer, T those of embedding and head, w and g bytes of a
    parameter and of its gradient. Adapters alone have gradients, of no size beside these.
    """
    gradients = context.gradient_bytes * np.maximum(BUFFERS * layer, tables)
    if context.spec.adapters is not None:
        gradients = 0.0 * gradients
    weights = context.activation_bytes * (BUFFERS * layer + tables)
    return gradients + np.where(dims.sharding >= 3, weights, 0.0)
