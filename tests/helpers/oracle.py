"""The price of a training plan, written again with plain loops and numbers.

Ranks are enumerated, layers and microbatches are looped over, nothing is folded and nothing is a
column. Shares no code with `planner` or `costmodels`: it reads the figures of a machine and of a
stack, a job and a strategy as plain values, and returns seconds and bytes by name.

Covers dense and mixture models with grouped-query attention on networks of switches and wired
nodes, whole sequences, full training. The formulas are those of docs/cost-model.md.

Parts: `price`; oracle_model, oracle_network, oracle_job, oracle_stage, oracle_memory.
"""

import math
from typing import Any

from oracle_job import Job
from oracle_memory import bytes_of, kept_bytes
from oracle_stage import Stage
from oracle_units import by_units

__all__ = ["price"]


def price(job: dict[str, Any], plan: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return exposed seconds and bytes by name; `plan` is a whole strategy, as plan.json has it."""
    here = Job(job, plan)
    stages = [Stage(here, s) for s in range(plan["pp"])]
    return _seconds(here, stages), bytes_of(here, stages)


def _seconds(job: Job, stages: list[Stage]) -> dict[str, float]:
    p = job.plan
    slow = stages[0]
    for stage in stages:
        if stage.total_s > slow.total_s:
            slow = stage
    named: dict[str, float] = {}

    def add(name: str, seconds: float) -> None:
        named[name] = named.get(name, 0.0) + seconds

    for _ in range(p["microbatches"]):
        for way, passes in (("forward", slow.forward), ("backward", slow.backward)):
            for one in passes:
                add(f"matrix products, {way}", one["matmul"])
                add(f"attention, {way}", one["attention"])
                add("expert products", one["experts"])
                add("norms and elementwise", one["memory"])
        for one in slow.again:
            add("recomputation", sum(one.values()))
        for one in [*slow.forward, *slow.backward, *(x for x, _ in slow.end_passes)]:
            add("launch gaps", one["launch"])
            add("tensor-parallel collectives", one["tp"])
            add("context-parallel exchange", one["cp"])
            add("expert all-to-all", one["ep"])
        for one, _ in slow.end_passes:
            add("embedding, logits and loss", one["matmul"] + one["attention"] + one["memory"])
        if job.model.get("vision"):
            add("embedding, logits and loss", -slow.tower_s)
            add("vision tower", slow.tower_s)
        add("gradient accumulation", slow.accumulate_s)
        add("stage boundary sends", slow.sends_shown_s)
    others = sum(stage.total_s for stage in stages) - slow.total_s
    both = slow.forward_s + slow.backward_s
    free = max(0.0, both - 2 * slow.weight_s) / both
    halves = max(0.0, p["pp"] / 2 - 1) / max(1, p["pp"] - 1)
    scale = {
        "gpipe": 1.0, "1f1b": 1.0, "interleaved": 1 / p["vpp"], "zero-bubble": free,
        "dualpipe": halves * free,
    }[p["schedule"]]  # fmt: skip
    add("pipeline bubble", others * scale)
    _share(job, stages, slow, add)
    hosts = job.devices / job.profile.host.devices
    add("stragglers", sum(named.values()) * job.family.jitter.value * math.log2(max(1.0, hosts)))
    return named


def _share(job: Job, stages: list[Stage], slow: Stage, add: Any) -> None:
    """Gradients and weights between replicas, the optimizer, the host link."""
    p, family = job.plan, job.family
    dense, expert = max(s.dense for s in stages), max(s.expert for s in stages)
    replicas = p["dp"] * p["cp"]
    calls = max(1.0, dense / max(40e6, 1e6 * replicas))
    if family.gather_per_microbatch and p["zero"] >= 3:
        calls = float(max(1, len(slow.layers)))
    reduce = gather = last = 0.0
    kinds = [(dense, "", job.shards())]
    if job.model.get("moe"):
        kinds.append((expert, "expert ", job.expert_shards()))
    for parameters, prefix, shards in kinds:
        gradients, weights = parameters * job.grad / calls, parameters * job.act / calls
        if p["zero"] == 0:
            reduce += calls * job.reduce(job.group(f"{prefix}replicas"), gradients, "dp")
            continue
        reduce += calls * job.scatter(job.group(f"{prefix}shards"), gradients)
        last += calls * job.reduce(job.group(f"{prefix}copies"), gradients / shards, "dp")
        gather += calls * job.gather(job.group(f"{prefix}shards"), weights)
    often = 1
    if family.gather_per_microbatch and p["pp"] == 1 and p["zero"] >= 2:
        often = p["microbatches"]
    forward, backward = slow.forward_spare, slow.backward_spare
    again = gather if p["zero"] >= 3 else 0.0
    able = job.hides("gather")
    hidden = min(able * again, backward)
    shown = _shown(gather, forward, able) + again - hidden
    left, able = backward - hidden, job.hides("dp")
    both = _shown(reduce + last, left, able)
    # by units, copies of the shards reduce after the last microbatch alone
    each = _shown(reduce, left, able) if by_units(job) else both
    add("gradient reduction", (often - 1) * each + both)
    once = family.keeps_whole and p["zero"] == 2
    add("parameter gathering", (1 if once else often) * shown)
    link = job.profile.host.link_bytes_per_s.value
    step = max(_update(job, stages, away) for away in (False, True)) + family.step_s.value
    if job.stack.serial_broadcast and p["zero"]:
        step += family.shard_rank_s.value * (job.shards() - 1)
    add("optimizer step", step)
    away = [s for s in stages if "parameters" in s.offload]
    if away:
        most = max(s.dense for s in away) + max(s.expert for s in away)
        add("parameters from the host", 2 * job.act * most * p["microbatches"] / link)
    away = [s for s in stages if "activations" in s.offload]
    if away:
        kept = max(sum(kept_bytes(job, x, s) for x in [*s.layers, *s.tower]) for s in away)
        moved, beside = 2 * kept / link, forward + backward
        add("activations to the host", p["microbatches"] * max(0.0, moved - beside))


def _update(job: Job, stages: list[Stage], away: bool) -> float:
    """Seconds of the optimizer on the stages whose states are on the host, or on the others."""
    some = [s for s in stages if ("optimizer" in s.offload) == away]
    if not some:
        return 0.0
    dense, expert = max(s.dense for s in some), max(s.expert for s in some)
    mine = dense / job.shards() + expert / job.expert_shards()
    state = job.master + job.moments + (job.stored if job.family.shards_master else 0.0)
    traffic = mine * (2 * state + 2 * job.grad + job.act + job.stack.update_more_bytes.value)
    traffic += (dense + expert) * job.stack.bucket_copy_bytes.value
    if away:
        link = job.profile.host.link_bytes_per_s.value
        return traffic / 50e9 + mine * (job.grad + job.act) / link
    memory = job.profile.memory_bytes_per_s.value * job.family.optimizer_efficiency.value
    return traffic / memory


def _shown(seconds: float, beside: float, share: float) -> float:
    able = share * seconds
    return seconds - able + max(0.0, able - beside)
