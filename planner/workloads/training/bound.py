"""A time that no plan on a cluster can beat: its arithmetic alone, at the chip's achieved rates.

Used for plans that were never listed; see `least` for a bound of a plan.
"""

from planner.workloads.training.context import Context, Rates

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
    rate = sum(c.cluster.devices * _fastest_flop_per_s(c.rates) for c in each)
    return tokens * context.graph.flop_per_token() / rate


def _fastest_flop_per_s(rates: Rates) -> float:
    return max(
        rates.matmul_flop_per_s,
        rates.bf16_matmul_flop_per_s,
        rates.attention_forward_flop_per_s,
        rates.attention_backward_flop_per_s,
    )
