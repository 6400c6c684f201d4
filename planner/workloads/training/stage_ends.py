"""Bytes at the ends of stages: what crosses their boundaries, and the loss.

Knows one rank of a stage; adds nothing to the footprints of others.
"""

import numpy as np

from costmodels.units import Num
from planner.dims import ParallelDims
from planner.workloads.training.context import Context
from planner.workloads.training.kept import kept_bytes
from planner.workloads.training.layer import Rows
from planner.workloads.training.stages import Slots

__all__ = ["FP32_BYTES", "crossing_bytes", "logits_of", "loss_bytes"]

LOSS_CHUNKS = 8.0
FP32_BYTES = 4.0


def logits_of(context: Context, dims: ParallelDims) -> Num:
    """Logits of one microbatch on a rank."""
    return dims.micro_batch * context.tokens / dims.cp * context.spec.model.vocab / dims.tp


def crossing_bytes(context: Context, dims: ParallelDims, chunks: Num, slots: Slots) -> Num:
    """Bytes that a framework holds for what crosses stage boundaries; `chunks` are in flight.

        received   a buffer for every microbatch and chunk: inputs (those in flight are counted as
                   the layer's), and gradients of outputs
        kept       outputs in flight; gradients of inputs, at least of microbatches that came after
                   the pipeline had filled; the last stage's logits of all microbatches, to be
                   joined at the step's end

    Source: torch.distributed.pipelining, stage.py and _backward.py as of 2024.
    """
    if not context.stack.family.keeps_boundaries:
        return 0.0
    each = context.spec.model.hidden * Rows.of(context, dims).sequence * context.activation_bytes
    all_chunks = dims.microbatches * dims.vpp
    inputs = all_chunks - dims.microbatches * slots.first
    outputs = all_chunks - dims.microbatches * slots.last
    late = np.maximum(0.0, dims.microbatches - dims.pp) / dims.microbatches
    flying = chunks / all_chunks
    held = each * (outputs * (1.0 + flying) + inputs * (1.0 - flying + late))
    logits = logits_of(context, dims) * context.activation_bytes * (dims.microbatches - 1.0)
    return np.where(dims.pp > 1, held + logits * slots.last, 0.0)


def loss_bytes(context: Context, dims: ParallelDims) -> Num:
    """Bytes at the loss of one microbatch: of its logits, and what the head keeps of its input."""
    logits = logits_of(context, dims) * _logit_bytes(context, dims)
    if context.switches.chunked_loss:
        logits = logits / LOSS_CHUNKS
    heads = [block for block in context.graph.blocks if block.name == "head"]
    kept = sum(kept_bytes(context, head, dims, dims.recompute)[2] for head in heads)
    again: Num = 0.0
    if context.stack.family.gathers_twice:
        whole = context.spec.model.hidden * Rows.of(context, dims).whole
        again = np.where((dims.tp > 1) & (dims.sp > 0), whole * context.activation_bytes, 0.0)
    return logits + kept + again


def _logit_bytes(context: Context, dims: ParallelDims) -> Num:
    family, stack = context.stack.family, context.stack
    plain = np.where(dims.tp > 1, family.logit_bytes_split.value, family.logit_bytes.value)
    plain = plain + stack.output_logit_bytes.value
    if not context.switches.fused_loss:
        return plain
    return family.logit_bytes_fused.value
