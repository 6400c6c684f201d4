"""Time of attention that writes its matrix of scores: no fused kernel, as in stacks before 2023.

Products over the scores, and what reads and writes them between the products: softmax and
dropout. Reads a `Context` and columns of `ParallelDims`; knows one op at a time.

Parts: `unfused_attention_s`, `softmax_launches`, `softmax_is_fused`, `PASSES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.products import matmul_s
from costmodels.units import Num
from planner.dims import ParallelDims
from planner.graph import Op
from planner.workloads.training.context import Context

__all__ = ["PASSES", "Passes", "softmax_is_fused", "softmax_launches", "unfused_attention_s"]


@dataclass(frozen=True, slots=True)
class Passes:
    """What one phase does to the matrix of scores.

    Parameters
    ----------
    by_width   : products with the width of a head as inner size: their result is the matrix
    by_keys    : products that read the matrix, summing over its keys or its queries
    softmax    : elements read and written per score by softmax, of all keys
    causal     : the same by a kernel that reads no masked score
    apart      : the same where cast to fp32, scale, mask, softmax and cast back are kernels each
    dropout    : elements read and written per score by dropout, with a mask of one byte
    launches   : kernels beside the products
    more       : kernels more than that where softmax is in parts
    """

    by_width: float
    by_keys: float
    softmax: float
    causal: float
    apart: float
    dropout: float
    launches: float
    more: float


PASSES: Mapping[str, Passes] = {
    "forward": Passes(1.0, 1.0, 2.0, 1.5, 18.5, 2.5, 2.0, 4.0),
    "backward": Passes(1.0, 3.0, 3.0, 2.0, 24.5, 2.5, 2.0, 5.0),
}
"""Counted from Megatron-LM's core attention: scores, softmax, dropout, times values; backward the
gradients of probabilities, values, queries and keys. Apart, forward, in bytes a score: cast 2 + 4,
scale 4 + 4, mask in place 4 + 1 + 4, softmax 4 + 4, cast back 4 + 2; backward: cast 2 + 4, softmax
4 + 4 + 4, gradients copied 4 + 4 and masked 4 + 1 + 4, scale 4 + 4, cast back 4 + 2."""
FUSED_MATRICES, FUSED_KEYS = 4.0, 4096.0
"""Megatron's fused softmax takes matrices of scores (heads on the rank times sequences) by fours,
of at most so many keys (2,048 before 2023); else it falls back to PyTorch's kernels. Source:
Megatron-LM, `FusedScaleMaskSoftmax`."""


def softmax_is_fused(context: Context, op: Op, dims: ParallelDims) -> NDArray[np.bool_]:
    """Tell where scale, mask and softmax are one kernel: a compiler's, or Megatron's in its limits.

    heads per rank x micro-batch a multiple of 4, keys at most 4,096 (see `FUSED_MATRICES`).
    """
    heads = float(op.units or context.spec.model.heads)
    matrices = op.part(heads, dims.tp) * dims.micro_batch
    taken = (matrices % FUSED_MATRICES == 0.0) & (context.tokens <= FUSED_KEYS)
    switches = context.switches
    return np.asarray(switches.compile | (switches.fused_kernels & taken))


def softmax_launches(context: Context, op: Op, dims: ParallelDims) -> Num:
    """Count launches beyond those of fused softmax, where its kernel does not take the scores."""
    return np.where(softmax_is_fused(context, op, dims), 0.0, PASSES[op.phase].more)


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
    fused = softmax_is_fused(context, op, dims)
    between = np.where(fused, passes.causal if causal else passes.softmax, passes.apart)
    moved = (between + passes.dropout) * scores * element
    return (
        passes.by_width * made_s
        + passes.by_keys * read_s
        + moved / rates.memory_bytes_per_s
        + (passes.launches + softmax_launches(context, op, dims)) * rates.memory_fixed_s
    )
