"""A time that no plan of a mesh can beat: its arithmetic alone, at the chip's achieved rates.

Used for what a time limit left unpriced; `cost` is exact and needs no bound.
"""

from costmodels.units import Column
from planner.dims import ParallelDims
from planner.workloads.training.context import Context

__all__ = ["bound_s"]


def bound_s(context: Context, dims: ParallelDims) -> Column:
    """Return the least step time of every row.

        tokens * FLOP per token / (devices * the fastest achieved rate)

    with no communication, no bubble and no memory traffic: every op at the rate of the fastest
    kernel class of the job's precision.
    """
    spec, rates = context.spec, context.rates
    fastest = max(
        rates.matmul_flop_per_s,
        rates.bf16_matmul_flop_per_s,
        rates.attention_forward_flop_per_s,
        rates.attention_backward_flop_per_s,
    )
    tokens = float(spec.global_batch * spec.sequence_length)
    return tokens * context.graph.flop_per_token() / (dims.devices * fastest)
