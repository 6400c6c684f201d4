"""A time that no plan of a mesh can beat: its arithmetic alone, at the chip's achieved rates.

Used for what a time limit left unpriced; `cost` is exact and needs no bound.
"""

import numpy as np

from costmodels.units import Column
from planner.dims import ParallelDims
from planner.workloads.training.context import Context, Rates

__all__ = ["bound_s"]


def bound_s(context: Context, dims: ParallelDims) -> Column:
    """Return the least step time of every row.

        tokens * FLOP per token / (devices * the fastest achieved rate)

    with no communication, no bubble and no memory traffic: every op at the rate of the fastest
    kernel class of the job's precision; over several pools, all devices at their own rates.
    """
    spec = context.spec
    tokens = float(spec.global_batch * spec.sequence_length)
    work = tokens * context.graph.flop_per_token()
    if not context.parts:
        return work / (dims.devices * _fastest_flop_per_s(context.rates))
    each = (p.context.cluster.devices * _fastest_flop_per_s(p.context.rates) for p in context.parts)
    return np.full(len(dims), work / sum(each))


def _fastest_flop_per_s(rates: Rates) -> float:
    return max(
        rates.matmul_flop_per_s,
        rates.bf16_matmul_flop_per_s,
        rates.attention_forward_flop_per_s,
        rates.attention_backward_flop_per_s,
    )
