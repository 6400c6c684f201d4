"""What a layer keeps of one microbatch for its backward pass, by recompute mode.

Counted op by op from the graph, in the region (sequence, heads, experts) that decides how the mesh
splits it. Knows bytes of one layer and one microbatch; no stages, no microbatches in flight.

Source: Korthikanti et al. 2022 (activations by op); the selective policy of torchtitan's
`activation_checkpoint.py` (per-operator); MaxText's policy `minimal` (projections).
"""

from dataclasses import replace

import numpy as np

from costmodels.units import Num
from planner.dims import RECOMPUTE, ParallelDims, modules_of
from planner.graph import Block, Op
from planner.workloads.training.context import Context
from planner.workloads.training.experts import expert_load, joined
from planner.workloads.training.layer import Rows
from planner.workloads.training.modules import freed_together, sets_in

__all__ = ["FULL", "SELECTIVE", "freed_bytes", "kept_bytes", "result_bytes", "saved_bytes"]

NONE, SELECTIVE, PER_OPERATOR, PROJECTIONS, FULL = range(len(RECOMPUTE))


def _element(context: Context, op: Op) -> float:
    """Bytes of an element that an op keeps: inputs of products at the products' precision."""
    if op.kind in ("matmul", "grouped") and not op.name.endswith(("logits", "router")):
        return min(context.product_bytes, context.activation_bytes)
    return context.activation_bytes


def saved_bytes(context: Context, op: Op, tokens: Rows, dims: ParallelDims) -> Num:
    """Bytes that an op keeps for its backward pass on one rank."""
    rows = tokens.at(op)
    if op.borrowed and context.product_bytes >= context.activation_bytes:
        return 0.0
    if op.kind == "grouped" or op.split == "expert ffn":
        split = op.inner.name == op.split or op.kind == "memory"
        width = dims.etp if split else np.ones_like(dims.etp)
        each = rows / width * _element(context, op) * expert_load(context)
        return (op.saved + _copied(context, op)) * each
    inside = op.kind == "attention" or (op.kind == "memory" and op.split not in ("", "sequence"))
    if inside or (op.kind == "matmul" and op.inner.name == op.split):
        kept: Num = op.part(op.saved * rows, dims.tp)
    elif _keeps_gathered(context, op):
        kept = op.saved * tokens.whole
    else:
        kept = op.saved * tokens.sequence
    return kept * _element(context, op) + _scores_bytes(context, op, tokens, dims)


def _copied(context: Context, op: Op) -> float:
    """Elements per token that an op keeps of a copy: none where its parts are joined."""
    return 0.0 if joined(context) else op.copied


def _scores_bytes(context: Context, op: Op, tokens: Rows, dims: ParallelDims) -> Num:
    """Bytes that attention keeps of its scores where it is not fused: softmax and dropout."""
    if context.switches.flash_attention:
        return 0.0
    return op.part(op.extra_saved * tokens.at(op), dims.tp) * context.activation_bytes


def _keeps_gathered(context: Context, op: Op) -> bool:
    """Whether the input of a product is kept as gathered over the tensor ranks."""
    columns = op.kind == "matmul" and op.split != "" and op.cols.name == op.split
    return columns and context.stack.family.keeps_gathered


def result_bytes(context: Context, op: Op, tokens: Rows, dims: ParallelDims) -> Num:
    """Bytes of an op's result on one rank."""
    rows = tokens.at(op)
    if op.kind == "grouped":
        width = dims.etp if op.cols.name == op.split else np.ones_like(dims.etp)
        return op.output * rows / width * context.activation_bytes * expert_load(context)
    if op.kind == "attention" or (op.split and op.cols.name == op.split):
        return op.part(op.output * rows, dims.tp) * context.activation_bytes
    return op.output * tokens.sequence * context.activation_bytes


def kept_bytes(
    context: Context, block: Block, dims: ParallelDims, mode: Num
) -> tuple[Num, Num, Num]:
    """Count one microbatch's activations of one layer: as kept, recomputed in full, not at all.

    What is kept by mode, a code into RECOMPUTE or of a set of modules:

        none          what every op saves; compiled, no more than results of products and
                      attention, and what came from other ranks
        selective     that without the softmax of unfused attention
        per-operator  layer input, attention output, what the alternating policy saves
        projections   layer input, every product's output
        full          layer input
        of modules    that of none without the inputs that they compute again (see `modules`)

    A compiler computes elementwise work again where it reads it, and drops results that no
    backward pass reads: of the product that ends a layer. The eager per-operator policy saves
    them all the same.
    """
    ops = block.phase("forward")
    tokens = Rows.of(context, dims)
    compiled = context.switches.compile
    every: Num = 0.0
    softmax: Num = 0.0
    products: Num = 0.0
    attention: Num = 0.0
    alternate: Num = 0.0
    received: Num = 0.0
    for op in ops:
        saved = saved_bytes(context, op, tokens, dims)
        every = every + saved
        if compiled and _keeps_gathered(context, op):
            received = received + np.where(dims.tp > 1, saved, 0.0)
        elif op.kind == "grouped" and op.inner.name != op.split:
            received = received + saved
        if op.kind == "attention":
            attention = attention + result_bytes(context, op, tokens, dims)
            softmax = softmax + _scores_bytes(context, op, tokens, dims)
        elif op.kind in ("matmul", "grouped") and not (compiled and op.unread):
            result = result_bytes(context, op, tokens, dims)
            products = products + result
            alternate = alternate + op.alternate * result
    entry = block.input_elements * tokens.sequence * context.activation_bytes
    if compiled and context.switches.flash_attention:
        every = np.minimum(every, entry + products + attention + received)
    kept = np.where(mode == SELECTIVE, every - softmax, every)
    kept = np.where(mode == PER_OPERATOR, entry + attention + alternate, kept)
    kept = np.where(mode == PROJECTIONS, entry + products, kept)
    for code in sets_in(np.asarray(mode)):
        lean = every - freed_bytes(context, block, dims, code)[0]
        kept = np.where(mode == code, np.maximum(lean, entry), kept)
    return np.where(mode == FULL, entry, kept), entry, every


def freed_bytes(context: Context, block: Block, dims: ParallelDims, code: int) -> tuple[Num, Num]:
    """Bytes that a set of modules leaves out of one layer: together, and the most of one module.

    Backward recomputes one module at a time: the latter stands once more while its layer is at
    work.
    """
    tokens = Rows.of(context, dims)
    left_out: dict[str, Num] = {}
    most: Num = 0.0
    for again, ops in freed_together(block, code):
        freed = {
            op.name: saved_bytes(context, op, tokens, dims)
            - _scores_bytes(context, op, tokens, dims)
            for op in ops
        }
        for op in again:
            if op.copied and op.name not in freed:  # the copy is made anew
                copy = replace(op, saved=0.0, extra_saved=0.0)
                freed[op.name] = saved_bytes(context, copy, tokens, dims)
        most = np.maximum(most, sum(freed.values()))
        left_out |= {name: np.maximum(b, left_out.get(name, 0.0)) for name, b in freed.items()}
    if "core_attn" in modules_of(code):
        scores = [_scores_bytes(context, op, tokens, dims) for op in block.phase("forward")]
        left_out["scores"] = sum(scores)
        most = np.maximum(most, left_out["scores"])
    return sum(left_out.values(), np.zeros_like(dims.tp)), most
