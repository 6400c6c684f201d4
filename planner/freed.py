"""Rules of convenience, lifted: what the search leaves out on purpose, priced.

A free key takes convenient values only (powers of two, inside a node). A pinned key takes any
possible value. So a rule is lifted by pinning its key to the values that the rule excludes and
searching everything else again, at the plan's number of stages: that keeps it to seconds.

Parts: `freed`.
"""

from planner.chosen import Chosen
from planner.findings import Finding, finding
from planner.pool import fill, pinned

__all__ = ["excluded", "freed"]

NODES = 2
"""Tensor parallelism is tried across this many nodes."""
LARGEST_MICRO_BATCH = 64
CONVENIENT_MICRO_BATCH = 32
MOST_VIRTUAL = 24
WORTH = 1e-3
"""Share of the objective by which a plan must be better for its rule to be told of."""
Pins = dict[str, int | tuple[int, ...]]


def freed(chosen: Chosen) -> list[Finding]:
    """Lift each rule of convenience on its own; tell of those that exclude a better plan.

    Where none does, one answer says which rules were lifted.
    """
    better: list[Finding] = []
    lifted: list[str] = []
    for rule, pins in excluded(chosen).items():
        pool = fill(pinned(chosen.job, **pins), chosen.cluster)
        lifted.append(f"{rule} ({len(pool.dims):,} more candidates)")
        if pool.best_value < chosen.objective * (1.0 - WORTH):
            said, numbers = chosen.beside_best(pool)
            because = f"it leaves out a better plan, {said}"
            better.append(finding(f"the rule '{rule}'", because, numbers))
    if better or not lifted:
        return better
    because = (
        f"lifted one by one at the plan's pp, none leaves out a plan that is better by"
        f" {WORTH:.1%}:"
        f" {'; '.join(lifted)}"
    )
    return [finding("rules of convenience", because)]


def excluded(chosen: Chosen) -> dict[str, Pins]:
    """Rules on keys that the job leaves free, each with the values that it leaves out, and pp."""
    strategy, context = chosen.job.strategy, chosen.context
    model, spec = context.spec.model, context.spec
    devices, supports = chosen.cluster.devices, context.stack.supports
    found: dict[str, tuple[str, list[int]]] = {}
    if strategy.tp is None:
        node = chosen.cluster.node_devices
        heads = model.heads if model.attention.kind == "mla" else model.kv_heads_or_all
        tried = [d for d in _divisors(model.heads, NODES * node) if devices % d == 0]
        odd = [d for d in tried if d <= node and (not _power(d) or heads % d)]
        found["tp stays inside a node"] = "tp", [d for d in tried if d > node]
        found["tp a power of two that divides key-value heads"] = "tp", odd
    if strategy.ep is None and model.moe is not None:
        odd = [d for d in _divisors(model.moe.experts, model.moe.experts) if not _power(d)]
        found["ep a power of two"] = "ep", odd
    if strategy.micro_batch is None:
        tried = _divisors(spec.global_batch, LARGEST_MICRO_BATCH)
        odd = [d for d in tried if not _power(d) or d > CONVENIENT_MICRO_BATCH]
        found["micro_batch a power of two up to 32"] = "micro_batch", odd
    now = chosen.one.degree("pp")
    if strategy.vpp is None and now > 1 and "interleaved" in supports.schedules:
        chunks = list(range(2, min(MOST_VIRTUAL, model.layers // now) + 1))
        found["virtual stages of equal layers"] = "vpp", chunks
    return {rule: {"pp": now, key: tuple(v)} for rule, (key, v) in found.items() if v}


def _divisors(number: int, limit: int) -> list[int]:
    return [d for d in range(1, min(number, limit) + 1) if number % d == 0]


def _power(number: int) -> bool:
    return number & (number - 1) == 0
