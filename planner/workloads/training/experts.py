"""What a mixture of experts adds to a layer on one rank: products, passes over rows, launches.

The dispatcher's and the frameworks' own work around the experts' products is counted from their
code, not fitted. Reads a `Context` and columns of `ParallelDims`.

Parts: `expert_load`, `grouped_s`, `passes`, `joined`, `loops`.
"""

import numpy as np

from costmodels import products
from costmodels.units import Num
from planner.dims import ParallelDims
from planner.graph import Op
from planner.models.config import MoE
from planner.workloads.training.context import Context

__all__ = ["expert_load", "grouped_s", "joined", "loops", "passes"]

EXPERT_LAUNCHES = 0.15
"""Launches that one kernel more for each expert costs: a library's own loop over them (assumed)."""


def expert_load(context: Context) -> float:
    """Rows of the busiest expert rank over the mean; the capacity where tokens are dropped."""
    moe = context.spec.model.moe
    if moe is None:
        return 1.0
    if not moe.dropless:
        return moe.capacity_factor or 1.0
    return context.imbalance


def grouped_s(context: Context, op: Op, rows: Num, n: Num, k: Num, dims: ParallelDims) -> Num:
    """Time of the products of all local experts, each expert's rows in whole tiles.

    Parameters
    ----------
    rows : of one microbatch that the rank sees
    n, k : sizes of an expert's weights, split as they are

    Notes
    -----
    In low precision rows are cast first, as for a dense product (`Product.cast_bytes`), on the way
    to the forward product and to the gradient of rows; the gradient of weights takes what these
    two left. One kernel of products, activation and cast (`fused_experts`) casts as it writes.
    """
    moe = context.spec.model.moe
    assert moe is not None
    busiest = np.where(dims.ep > 1, expert_load(context), 1.0)
    tokens = next(d for d in (op.rows, op.cols, op.inner) if d.per_token).size * rows * busiest
    rates = context.rates
    seconds = products.grouped_matmul_s(
        tokens, moe.experts / dims.ep, n, k, rates.grouped, context.product_bytes,
        context.activation_bytes,
    )  # fmt: skip
    if _casts(context, op):
        seconds = seconds + tokens * k * rates.grouped.cast_bytes / rates.grouped.bytes_per_s
    return seconds


def passes(context: Context, op: Op, dims: ParallelDims) -> Num:
    """Elements that a memory-bound op of a mixture moves per token (see `Op.traffic`)."""
    moe = context.spec.model.moe
    if moe is None:
        return op.traffic
    traffic: Num = op.traffic
    if op.gate and context.switches.fused_experts:
        traffic = 0.0
    elif not joined(context):
        traffic = traffic + op.unfused
    several = dims.ep > 1
    around = np.where(several & (moe.experts > dims.ep), op.exchanged, 0.0)
    around = around + (op.padded if _pads(context, moe) else 0.0)
    return traffic + np.where(several & context.switches.fused_dispatch, 0.0, around)


def joined(context: Context) -> bool:
    """Whether a compiler or a kernel of its own joins the parts of a mixture's operators."""
    return context.switches.compile or context.switches.fused_experts


def _pads(context: Context, moe: MoE) -> bool:
    """Whether each expert's rows are copied to where they are padded for products, and back.

    Not with one kernel of products, activation and cast, for which the router pads.
    """
    low = context.product_bytes < context.activation_bytes
    apart = context.stack.pads_experts and not context.switches.fused_experts
    return apart and low and moe.dropless


def loops(context: Context, op: Op, dims: ParallelDims) -> Num:
    """Count launches beyond the op's own that it needs for the experts held."""
    moe = context.spec.model.moe
    if moe is None or context.switches.fused_experts:
        return 0.0
    each = op.each if not context.switches.compile or op.kind == "grouped" else 0.0
    if op.kind == "grouped" and _casts(context, op) and not context.switches.compile:
        each = each + 1.0
    return EXPERT_LAUNCHES * each * moe.experts / dims.ep


def _casts(context: Context, op: Op) -> bool:
    """Whether rows are cast for this product."""
    cast = context.rates.grouped.cast_bytes > 0 and not op.weight_gradient
    return cast and not context.switches.fused_experts
