"""Time of attention that writes its matrix of scores: no fused kernel, as in stacks before 2023.

Products over the scores, and what reads and writes them between the products: softmax and
dropout. Reads a `Context` and columns of `ParallelDims`; knows one op at a time.

Parts: `unfused_attention_s`, `PASSES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from costmodels.products import matmul_s
from costmodels.units import Num
from planner.dims import ParallelDims
from planner.graph import Op
from planner.workloads.training.context import Context

__all__ = ["PASSES", "Passes", "unfused_attention_s"]


@dataclass(frozen=True, slots=True)
class Passes:
    """What one phase does to the matrix of scores.

    Parameters
    ----------
    by_width   : products with the width of a head as inner size: their result is the matrix
    by_keys    : products that read the matrix, summing over its keys or its queries
    softmax    : elements read and written per score by softmax, of all keys
    causal     : the same by a kernel that reads no masked score
    dropout    : elements read and written per score by dropout, with a mask of one byte
    launches   : kernels beside the products
    """

    by_width: float
    by_keys: float
    softmax: float
    causal: float
    dropout: float
    launches: float


PASSES: Mapping[str, Passes] = {
    "forward": Passes(1.0, 1.0, 2.0, 1.5, 2.5, 2.0),
    "backward": Passes(1.0, 3.0, 3.0, 2.0, 2.5, 2.0),
}
"""Counted from Megatron-LM's core attention: scores, softmax, dropout, times values; backward the
gradients of probabilities, values, queries and keys."""
UNFUSED_SOFTMAX = 2.0
"""Traffic of softmax and dropout with scale and mask in kernels of their own, over fused
(assumed)."""


def unfused_attention_s(context: Context, op: Op, dims: ParallelDims) -> Num:
    """Time of one pass of attention whose scores go through memory.

        products that make or read the scores + (softmax + dropout passes) scores / bandwidth

    Products compute what the mask drops too. Source: Korthikanti et al. 2022, figure 3 and
    section 4 (what is computed and kept); Megatron-LM's fused causal softmax, which skips what is
    masked when it reads, not when it writes.
    """
    rates, passes = context.rates, PASSES[op.phase]
    element = context.activation_bytes
    scores = op.scores * op.part(dims.micro_batch * context.tokens / dims.cp, dims.tp)
    keys = context.tokens
    product, rows = rates.bf16_matmul, scores / keys
    made_s = matmul_s(rows, keys, op.head_dim, product, element, element)
    read_s = matmul_s(rows, op.head_dim, keys, product, element, element)
    causal = context.spec.model.attention.causal and not op.on_patches
    fused = context.switches.fused_kernels
    between = (passes.causal if causal and fused else passes.softmax) + passes.dropout
    moved = between * (1.0 if fused else UNFUSED_SOFTMAX) * scores * element
    return (
        passes.by_width * made_s
        + passes.by_keys * read_s
        + moved / rates.memory_bytes_per_s
        + passes.launches * rates.memory_fixed_s
    )
