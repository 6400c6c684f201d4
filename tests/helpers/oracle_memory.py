"""The oracle's memory: bytes by name on every stage."""

from dataclasses import replace
from typing import Any

from oracle_job import Job
from oracle_model import Layer, Work
from oracle_modules import freed_of, modules_of
from oracle_stage import Stage
from oracle_units import by_units, held_whole

__all__ = ["bytes_of", "kept_bytes"]


def bytes_of(job: Job, stages: list[Stage]) -> dict[str, float]:
    """Bytes by name on the fullest stage, the first of several that tie."""
    every = [_stage_bytes(job, stage, stages) for stage in stages]
    best = every[0]
    for one in every:
        if sum(one.values()) > sum(best.values()) * (1 + 1e-15):
            best = one
    return best


def _stage_bytes(job: Job, stage: Stage, stages: list[Stage]) -> dict[str, float]:
    p, family = job.plan, job.family
    z, pp, vpp, m = p["zero"], p["pp"], p["vpp"], p["microbatches"]
    shards, expert_shards = job.shards(), job.expert_shards()

    def over(least: int) -> float:
        on = z >= least
        return stage.dense / (shards if on else 1) + stage.expert / (expert_shards if on else 1)

    whole = stage.dense + stage.expert
    if family.shards_master:
        weights = job.stored * over(1) + (job.act * whole if z < 3 else 0.0)
    else:
        weights = job.stored * over(3)
    gathered = 0.0
    if z >= 3 and p["dp"] * p["cp"] > 1:
        widest = max(s.widest for s in stages)
        layers = widest * (family.gathered_layers + 1.0)
        tables = sum(s.tables for s in stages)
        gathered = job.act * (layers + tables if family.keeps_tables else max(layers, tables))
        if pp > 1:
            gathered = (job.act + job.grad) * (whole + widest)
        if family.gathers_apart:
            gathered += job.act * max(widest * family.gathered_layers, tables)
    if by_units(job) and p["dp"] * p["cp"] > 1:
        widest = max(s.widest for s in stages)
        gathered = held_whole(job, widest, sum(s.tables for s in stages))
    loose = gathered
    count = max(1, len(stage.layers))
    if "parameters" in stage.offload:
        gathered += 2 * weights / count
        weights = 0.0
    twice = 2.0 if p["schedule"] == "dualpipe" else 1.0
    s = stage.index
    flight = {
        "gpipe": m * vpp, "1f1b": min(m, pp - s), "zero-bubble": min(m, pp - s),
        "interleaved": min(m * vpp, 2 * (pp - s - 1) + (vpp - 1) * pp + 1),
        "dualpipe": min(m, pp + 1),
    }[p["schedule"]]  # fmt: skip
    kept = work = 0.0
    for layer in stage.layers:
        kept += kept_bytes(job, layer, stage)
    for other in stages:
        for layer in other.layers:
            work = max(work, _working(job, layer, stage.mode))
    for layer in stage.tower:
        work = max(work, _working(job, layer, stage.mode))
    loss = 0.0
    if stage.last:
        each = (family.logit_bytes if p["tp"] == 1 else family.logit_bytes_split).value
        each += job.stack.output_logit_bytes.value
        if job.on.fused_loss:
            each = family.logit_bytes_fused.value
        loss = _logits(job) * each
        loss /= 8.0 if job.on.chunked_loss else 1.0
        loss += _parts(job, job.head())[0]
        if family.gathers_twice and p["tp"] > 1 and p["sp"]:
            loss += job.model["hidden"] * job.local("heads") * job.act
    work = max(0.0, work - loss)
    tower = sum(kept_bytes(job, layer, stage) for layer in stage.tower)
    in_flight = kept * flight / vpp + tower * (flight if vpp == 1 else min(m, 2 * pp - 1))
    if "activations" in stage.offload:
        in_flight = 2 * (kept + tower) / count
    states = 0.0 if "optimizer" in stage.offload else (job.master + job.moments) * over(1)
    crossing = 0.0
    if family.keeps_boundaries and pp > 1:
        gradients_in = m * (vpp - (1 if stage.last else 0))
        inputs = m * (vpp - (1 if stage.index == 0 else 0))
        flying = flight / (m * vpp)
        boundary = job.model["hidden"] * job.local("sequence") * job.act
        crossing = boundary * (gradients_in + gradients_in * flying)  # received, and outputs
        crossing += boundary * inputs * (1 - flying + max(0, m - pp) / m)  # and their gradients
        if stage.last:
            crossing += _logits(job) * job.act * (m - 1)
    copies = job.stack.optimizer_transient_bytes.value
    if z >= 3:
        copies = job.stack.sharded_transient_bytes.value
    tensor = max(_largest_tensor(job, layer) for other in stages for layer in other.layers)
    if stage.last:
        tensor = max(tensor, 4.0 * _logits(job))
    copy, flat = copies * over(1), job.stack.whole_transient_bytes.value * whole
    axes = sum(1 for a in ("tp", "cp", "pp", "dp", "ep") if p[a] > 1)
    return {
        "weights": weights * twice,
        "gradients": job.grad * over(2),
        "optimizer states": states,
        "gathered layers": gathered,
        "optimizer's copies": sum(one for one in (copy, flat) if one > tensor),
        "activations in flight": in_flight,
        "working layer": work,
        "logits and loss": loss,
        "communication buffers": family.group_bytes.value * axes
        + job.stack.bucket_bytes.value
        + crossing,
        "framework": family.base_bytes.value,
        "fragmentation": family.fragmentation.value * (in_flight + work + loss + loose),
    }


def _kept(job: Job, layer: Layer, op: Work) -> float:
    """Elements that an op keeps, softmax apart."""
    p, memory_heads = job.plan, ("memory", "heads")
    if op.borrowed and job.product >= job.act:
        return 0.0
    if op.region == "experts":
        split = op.split == "in" or op.kind == "memory"
        kept = op.kept
        if not (job.on.compile or job.on.fused_experts):
            kept += op.copied
        return kept * job.local("experts") / (p["etp"] if split else 1) * job.load
    if op.kind == "attention" or op.split == "in" or (op.kind, op.region) == memory_heads:
        return op.kept * job.local("heads") / job.split(layer, op)
    if op.kind == "matmul" and op.split == "out" and job.family.keeps_gathered:
        return op.kept * job.local("heads")
    return op.kept * job.local("sequence")


def _result(job: Job, layer: Layer, op: Work) -> float:
    """Bytes of an op's result on one rank."""
    if op.kind == "grouped":
        width = job.plan["etp"] if op.split == "out" else 1
        return op.result * job.local("experts") / width * job.load * job.act
    if op.kind == "attention" or op.split == "out":
        return op.result * job.local("heads") / job.split(layer, op) * job.act
    return op.result * job.local("sequence") * job.act


def _parts(job: Job, layer: Layer) -> tuple[float, ...]:
    """Bytes of a layer: all kept, softmax, input, products, attention, every second product."""
    every = softmax = products = attention = seconds = received = 0.0
    for op in layer.ops:
        element = job.act
        if op.kind in ("matmul", "grouped") and not op.wide:
            element = min(job.product, job.act)
        kept = _kept(job, layer, op) * element
        every += kept
        gathered = op.kind == "matmul" and op.split == "out" and job.family.keeps_gathered
        if (gathered and job.plan["tp"] > 1) or (op.kind == "grouped" and op.split == "out"):
            received += kept
        if op.kind == "attention" and not job.on.flash_attention:
            softmax += op.scores * job.local("heads") / job.split(layer, op) * job.act
        out = _result(job, layer, op)
        if op.kind in ("matmul", "grouped") and not (job.on.compile and op.unread):
            products += out
            seconds += out * op.every_second
        attention += out if op.kind == "attention" else 0.0
    entry = layer.width * job.local("sequence") * job.act
    if job.on.compile and job.on.flash_attention:
        every = min(every, entry + products + attention + received)
    found = (every + softmax, softmax, entry, products, attention, seconds)
    return tuple(layer.patches * x for x in found)


def _mode(job: Job, layer: Layer, mode: Any) -> float:
    every, softmax, entry, products, attention, seconds = _parts(job, layer)
    if modules := modules_of(mode):
        freed = {op.name: _freed(job, layer, [op]) for m in modules for op in freed_of(layer, m)}
        if "moe_act" in modules and "moe" not in modules:
            freed |= {"copy": _copies(job, layer)}
        return max(entry, every - sum(freed.values()) - softmax * ("core_attn" in modules))
    return {
        "none": every, "selective": every - softmax, "full": entry,
        "per-operator": entry + attention + seconds, "projections": entry + products,
    }["full" if isinstance(mode, dict) else mode]  # fmt: skip


def _copies(job: Job, layer: Layer) -> float:
    """Bytes of the clamped copy of what the experts' activation reads."""
    acts = [replace(op, kept=0.0) for op in layer.ops if op.copied and layer.name == "moe"]
    return _freed(job, layer, acts)


def _freed(job: Job, layer: Layer, ops: list[Work]) -> float:
    """Bytes of the inputs of some ops, that none of them keeps."""
    total = 0.0
    for op in ops:
        product = op.kind in ("matmul", "grouped") and not op.wide
        total += _kept(job, layer, op) * (min(job.product, job.act) if product else job.act)
    return total


def kept_bytes(job: Job, layer: Layer, stage: Stage) -> float:
    every, _, entry, _, _, _ = _parts(job, layer)
    if layer.name in ("patches", "projector"):
        return every
    if stage.mode == "full" or (isinstance(stage.mode, dict) and "full" in stage.mode):
        return stage.share * entry + (1 - stage.share) * every
    return _mode(job, layer, stage.mode)


def _working(job: Job, layer: Layer, mode: Any) -> float:
    every = _parts(job, layer)[0]
    plain = mode in ("none", "selective") or layer.name in ("patches", "projector")
    again = 0.0 if plain else every - _mode(job, layer, mode)
    if modules := modules_of(mode):  # one module at a time
        softmax = _parts(job, layer)[1] * ("core_attn" in modules)
        copies = {"moe_act": _copies(job, layer)}
        each = (_freed(job, layer, freed_of(layer, m)) + copies.get(m, 0.0) for m in modules)
        again = max(softmax, *each)
    return again + max(_gradients(job, layer, op) for op in layer.ops)


def _gradients(job: Job, layer: Layer, op: Work) -> float:
    """Gradients of an op's result, a share of it, and of its input, whole before the sum.

    In low precision, both operands of the product that gives the weights' gradient are cast.
    """
    shared = op.kind == "matmul" and op.split == "out"
    result = _result(job, layer, op)
    read = op.width_in * job.local("heads")
    most = result * (1 if job.on.compile else 2)
    if shared and job.plan["tp"] > 1:
        times = op.branches if job.family.branches_apart else 1
        most = max(most, result + read * job.act * times)
    if job.product < job.act and op.kind in ("matmul", "grouped"):
        kept = _kept(job, layer, op) * job.product
        most += result * job.product / job.act + max(kept, read * job.product * shared)
    return layer.patches * most


def _largest_tensor(job: Job, layer: Layer) -> float:
    most = 0.0
    for op in layer.ops:
        most = max(most, _result(job, layer, op))
        if op.kind == "attention" and not job.on.flash_attention:
            most = max(most, op.seen * job.local("heads") / job.split(layer, op) * job.act)
    return most


def _logits(job: Job) -> float:
    p = job.plan
    return float(p["micro_batch"] * job.tokens / p["cp"] * job.model["vocab"] / p["tp"])
