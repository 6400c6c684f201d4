"""Bytes of the layer at work: kept by recompute mode, computed again, and gradients on their way.

Knows one copy of a block and one microbatch; no stages, no microbatches in flight.
"""

import numpy as np

from costmodels.units import Num
from planner.dims import ParallelDims
from planner.graph import Block, Op
from planner.workloads.training.context import Context
from planner.workloads.training.kept import (
    FULL,
    SELECTIVE,
    freed_bytes,
    kept_bytes,
    result_bytes,
    saved_bytes,
)
from planner.workloads.training.layer import Rows
from planner.workloads.training.modules import sets_in

__all__ = ["largest_tensor_bytes", "layer_bytes"]


def layer_bytes(
    context: Context, block: Block, dims: ParallelDims, mode: Num, recomputed: Num
) -> tuple[Num, Num]:
    """Bytes that one copy of a block keeps under a recompute mode, and those at work."""
    tokens = Rows.of(context, dims)
    chosen, entry, every = kept_bytes(context, block, dims, mode)
    largest: Num = 0.0
    for op in block.phase("forward"):
        result = result_bytes(context, op, tokens, dims)
        # gradients of the operator's result and of its input; a compiler works in place
        gradients = result * (1.0 if context.switches.compile else 2.0)
        if _shares_columns(op):
            summed = result + _input_gradients(context, op, tokens)
            gradients = np.maximum(gradients, np.where(dims.tp > 1, summed, 0.0))
        largest = np.maximum(largest, gradients + _casts(context, op, tokens, dims, result))
    if not block.recomputed:
        return every, largest
    partly = recomputed * entry + (1.0 - recomputed) * every
    again = np.where(mode > SELECTIVE, every - chosen, 0.0)
    for code in sets_in(np.asarray(mode)):
        again = np.where(mode == code, freed_bytes(context, block, dims, code)[1], again)
    return np.where(mode == FULL, partly, chosen), again + largest


def _shares_columns(op: Op) -> bool:
    """Whether tensor ranks share the columns of a product: its input is whole on each."""
    return op.kind == "matmul" and op.split != "" and op.cols.name == op.split


def _input_gradients(context: Context, op: Op, tokens: Rows) -> Num:
    """Bytes of the gradients of a product's input, whole on a rank, before ranks sum them.

    Products of one input that run apart each give one.
    """
    whole = op.inner.size * op.rows.size * tokens.whole * context.activation_bytes
    return whole * op.branches if context.stack.family.branches_apart else whole


def _casts(context: Context, op: Op, tokens: Rows, dims: ParallelDims, result: Num) -> Num:
    """Bytes of what the backward pass of a product of low precision casts: two operands.

    The gradient of its result, and its input in another layout: the product that gives the
    weights' gradient reads both along the tokens, and kernels of low precision read operands along
    one dim alone.
    """
    low, high = context.product_bytes, context.activation_bytes
    if low >= high or op.kind not in ("matmul", "grouped"):
        return 0.0
    read = saved_bytes(context, op, tokens, dims)
    if _shares_columns(op):
        read = np.maximum(read, op.inner.size * op.rows.size * tokens.whole * low)
    return result * (low / high) + read


def largest_tensor_bytes(context: Context, dims: ParallelDims) -> Num:
    """Bytes of the largest tensor of a layer's passes: a result, or the scores of attention."""
    tokens = Rows.of(context, dims)
    most: Num = 0.0
    for block in context.layer_blocks:
        for op in block.phase("forward"):
            most = np.maximum(most, result_bytes(context, op, tokens, dims))
            if op.kind == "attention" and not context.switches.flash_attention:
                scores = op.part(op.scores * tokens.whole, dims.tp) * context.activation_bytes
                most = np.maximum(most, scores)
    return most
