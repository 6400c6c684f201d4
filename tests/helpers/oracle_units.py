"""The oracle's sharding by units: layers gathered and reduced one by one, where a stack does so."""

from typing import Any

from oracle_model import Layer

__all__ = ["by_units", "copied_s", "held_whole", "launched"]

ENDS = ("embedding", "head", "patches", "projector", "vision")


def by_units(job: Any) -> bool:
    """Whether gradients or parameters are sharded by units."""
    p = job.plan
    return bool(job.stack.sharded_units and p["zero"] >= 2 and p["pp"] == 1)


def launched(job: Any, layer: Layer, forward: bool) -> float:
    """Gathers, reductions and copies of gradients that a layer launches in a pass."""
    if not by_units(job) or layer.name in ENDS:
        return 0.0
    count = 0.0
    for experts in (False, True):
        held = [op for op in layer.ops if op.weights and (op.kind == "grouped") == experts]
        if not held:
            continue
        count += job.plan["zero"] >= 3
        if not forward:
            count += 1 + len(held) * (job.held() if experts else 1)
    return count


def copied_s(job: Any, parameters: float) -> float:
    """Read gradients, and write them into the buffers that are reduced."""
    return float((job.act + job.grad) * parameters / job.bandwidth)


def held_whole(job: Any, widest: float, tables: float) -> float:
    """Bytes of two layers and the tables, and of the gradients of two layers or the tables."""
    gradients = job.grad * max(2 * widest, tables)
    weights = job.act * (2 * widest + tables) if job.plan["zero"] >= 3 else 0.0
    return float(gradients + weights)
