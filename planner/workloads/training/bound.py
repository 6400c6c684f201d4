"""A time that no plan on a cluster can beat: its arithmetic alone, at the chip's achieved rates.

Used for plans that were never listed; see `least` for a bound of a plan.
"""

from costmodels.attention import head_width
from planner.workloads.training.context import Context

__all__ = ["bound_s"]


def bound_s(context: Context) -> float:
    """Return the least step time of any plan.

        tokens * FLOP per token / (devices * the fastest achieved rate)

    with no communication, no bubble and no memory traffic: every op at the rate of the fastest
    kernel class of the job's precision; over several pools, all devices at their own rates.
    """
    spec = context.spec
    tokens = float(spec.global_batch * spec.sequence_length)
    each = [part.context for part in context.parts] or [context]
    rate = sum(c.cluster.devices * _fastest_flop_per_s(c) for c in each)
    return tokens * context.graph.flop_per_token() / rate


def _fastest_flop_per_s(context: Context) -> float:
    rates = context.rates
    return max(
        rates.matmul.flop_per_s,
        rates.bf16_matmul.flop_per_s,
        *(
            reached.flop_per_s / float(head_width(op.head_dim, reached.softmax_dim))
            for block in context.graph.blocks
            for op in block.ops
            if op.kind == "attention"
            for reached in (rates.attention_forward, rates.attention_backward)
        ),
    )
