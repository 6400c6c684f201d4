"""Rules of convenience, lifted: what the search leaves out on purpose, priced.

A free key takes convenient values only (tp inside a node, even virtual stages). A pinned key
takes any possible value. So a rule is lifted by pinning its key to the values that no candidate
has and searching everything else again, at the plan's number of stages: that keeps it to seconds.

Parts: `freed`.
"""

import numpy as np

from planner.explain.chosen import Chosen
from planner.explain.pool import Pool, fill, pinned
from planner.plan.findings import Finding, finding

__all__ = ["excluded", "freed"]

NODES = 2
"""Tensor parallelism is tried across this many nodes."""
LARGEST_MICRO_BATCH = 64
MOST_VIRTUAL = 24
SHOWN = 6
WORTH = 1e-3
"""Share of the objective by which a plan must be better for its rule to be told of."""
Pins = dict[str, int | tuple[int, ...]]


def freed(chosen: Chosen, pool: Pool) -> list[Finding]:
    """Lift each rule of convenience on its own; tell of those that exclude a better plan.

    Where none does, one answer says which values were tried.

    Parameters
    ----------
    pool : the candidates of the plan's job
    """
    if chosen.context.parts:  # a plan's own choices by pool are not pins of the job
        return []
    better: list[Finding] = []
    lifted: list[str] = []
    for rule, pins in excluded(chosen, pool).items():
        more = fill(pinned(chosen.job, **pins))
        lifted.append(f"{rule} ({len(more.dims):,} more candidates)")
        if more.best_value < chosen.objective * (1.0 - WORTH):
            said, numbers = chosen.beside_best(more)
            because = f"the search leaves it out for convenience; it has a better plan: {said}"
            better.append(finding(rule, because, numbers))
    if better or not lifted:
        return better
    because = (
        f"lifted one by one at the plan's pp, none leaves out a plan that is better by"
        f" {WORTH:.1%}:"
        f" {'; '.join(lifted)}"
    )
    return [finding("rules of convenience", because)]


def excluded(chosen: Chosen, pool: Pool) -> dict[str, Pins]:
    """Possible values of free keys that no candidate has, in words, and as pins beside pp."""
    strategy, context = chosen.job.strategy, chosen.context
    model, spec, now = context.spec.model, context.spec, chosen.one.degree("pp")
    possible: dict[str, list[int]] = {
        "tp": _divisors(model.heads, NODES * chosen.cluster.node_devices),
        "ep": _divisors(model.moe.experts, model.moe.experts) if model.moe else [],
        "micro_batch": _divisors(spec.global_batch, LARGEST_MICRO_BATCH),
    }
    found: dict[str, Pins] = {}
    for key, values in possible.items():
        tried = set(np.unique(getattr(pool.dims, key)).tolist())
        left = [value for value in values if value not in tried]
        if getattr(strategy, key) is None and left:
            shown = ", ".join(map(str, left[:SHOWN])) + (" ..." if len(left) > SHOWN else "")
            found[f"{key} {shown}"] = {"pp": now, key: tuple(left)}
    chunks = tuple(range(2, min(MOST_VIRTUAL, model.layers // now) + 1))
    if strategy.vpp is None and now > 1 and "interleaved" in context.stack.supports.schedules:
        found["virtual stages of unequal layers"] = {"pp": now, "vpp": chunks}
    return {rule: pins for rule, pins in found.items() if all(pins.values())}


def _divisors(number: int, limit: int) -> list[int]:
    return [d for d in range(1, min(number, limit) + 1) if number % d == 0]
