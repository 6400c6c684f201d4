"""What the step of a plan sends: the planner's own count, and by name what a plan leaves out.

The count is `planner.workloads.training.traffic`, laid on the axes of the step's grid. Beside it
stand closed forms of what a plan does not count because it is small, or because the step is one
program on every device where a plan's stages are unlike. Each has a name and a formula. Knows
plans and grids; nothing compiled.

Parts: `Part`, `expected`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from costmodels.units import scalar
from planner.check.counted import Counted, dense_of_the_step, fullest_of
from planner.check.grid import Family
from planner.dims import CODES
from planner.workloads.training import exchange, sharing
from planner.workloads.training.traffic import inside_stages, sent_bytes

__all__ = ["Part", "expected"]

REPLICAS = ("dp", "cp")
STAGE = ("dp", "cp", "tp")
LOSS_BYTES = 4.0
"""Of a number of the loss, which is fp32 whatever the precision."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes that a device sends in a step for one reason.

    Parameters
    ----------
    axis    : of the plan: tp, cp, ep, pp or dp
    over    : axes of the grid that its groups vary along
    counted : the plan counts it; otherwise it is a named closed form beside the plan
    """

    name: str
    axis: str
    family: Family
    over: frozenset[str]
    bytes: float
    counted: bool = False


def expected(plan: Counted, capacity: float = 1.0) -> tuple[Part, ...]:
    """List what a device sends in a step, by reason.

    Parameters
    ----------
    capacity : slots of an expert over the tokens that it gets on average
    """
    parts = [
        *_counted(plan), *_statistics(plan), *_whole_parameters(plan), *_idle_ticks(plan),
        *_every_stage(plan), *_sharded(plan), *_unread(plan), *_slots(plan, capacity),
    ]  # fmt: skip
    return tuple(part for part in parts if part.bytes)


def _family(plan: Counted, axis: str, group: str = "") -> Family:
    if axis == "cp":
        kinds: dict[str, Family] = {"p2p": "send", "all-gather": "reduce"}
        return kinds.get(CODES["cp_comm"][int(plan.at("cp_comm"))], "exchange")
    return {"pp": "send", "ep": "reduce" if group == "etp" else "exchange"}.get(axis, "reduce")


def _over(plan: Counted, group: str) -> frozenset[str]:
    """Axes of the grid of a group of ranks (`segments`)."""
    expert = group.startswith("expert ")
    everyone = plan.axes(*STAGE) - plan.axes("ep", "etp") if expert else plan.axes(*REPLICAS)
    shards = plan.axes("efsdp" if expert else "fsdp")
    kind = group.removeprefix("expert ")
    named = {"replicas": everyone, "shards": shards, "copies": everyone - shards}
    return named[kind] if kind in named else plan.axes(group)


def _counted(plan: Counted) -> Iterator[Part]:
    """Yield what the plan counts."""
    names = {
        "tp": "tensor-parallel collectives", "cp": "context-parallel exchange",
        "ep": "expert all-to-all", "pp": "stage boundary sends", "dp": "gradients and parameters",
    }  # fmt: skip
    for axis, groups in sent_bytes(plan.context, plan.dims).items():
        for group, held in groups.items():
            where = _over(plan, group)
            yield Part(names[axis], axis, _family(plan, axis, group), where, held, counted=True)


def _statistics(plan: Counted) -> Iterator[Part]:
    """Yield what the loss exchanges.

    three numbers a token over tp (largest logit, sum, its own), all-reduced; one of all ranks
    """
    tensor, everyone = plan.axes("tp"), plan.axes("pp", *REPLICAS)
    each = 3.0 * plan.at("microbatches") * plan.tokens * LOSS_BYTES
    yield Part("loss statistics", "tp", "reduce", tensor, 2.0 * plan.ring(tensor) * each)
    one = 2.0 * plan.ring(everyone) * LOSS_BYTES
    yield Part("loss", "dp", "reduce", everyone, one)


def _whole_parameters(plan: Counted) -> Iterator[Part]:
    """Yield gradients of parameters that tensor ranks hold whole and each use a part of the tokens.

    2 (t - 1)/t of norms and routers on a stage, over the shards that states are cut into
    """
    if not plan.at("sp"):
        return
    layers = ends = 0.0
    for block in plan.context.graph.blocks:
        if block.name != "embedding":
            whole = sum(
                op.weights for op in block.ops
                if op.kind != "grouped" and op.split in ("", "sequence")
            )  # fmt: skip
            layers += block.count * whole * bool(block.layers) / plan.at("pp")
            ends += block.count * whole * (not block.layers)
    tensor = plan.axes("tp")
    held = (layers + ends) / scalar(plan.dims.shards) * plan.context.gradient_bytes
    sent = 2.0 * plan.ring(tensor) * held
    yield Part("norm and router gradients", "tp", "reduce", tensor, sent)


def _idle_ticks(plan: Counted) -> Iterator[Part]:
    """Yield what stages exchange in the p - 1 ticks in which they have nothing of their own."""
    idle, m = plan.at("pp") - 1.0, plan.at("microbatches")
    inside = inside_stages(plan.context, plan.dims, plan.slots)
    sent = sent_bytes(plan.context, plan.dims)
    for axis, held in inside.items():
        for group, count in sent[axis].items():
            share = count / max(sum(sent[axis].values()), 1.0)
            more = idle * float(held.layers.max()) * share
            where = _over(plan, group)
            yield Part("idle ticks", axis, _family(plan, axis, group), where, more)
    more = idle / m * sent["pp"]["pp"]
    yield Part("idle ticks", "pp", "send", plan.axes("pp"), more)


def _every_stage(plan: Counted) -> Iterator[Part]:
    """Yield what follows from every stage looking up and scoring, as the plan's ends alone do.

    Tensor-parallel collectives of all ends, where the plan counts the stage that sends most; and
    gradients of all tables, where it counts the fullest stage. A tied table, looked up in on the
    first stage and scored with on the last, is added up over the stages.
    """
    if plan.at("pp") <= 1:
        return
    m, inside = plan.at("microbatches"), inside_stages(plan.context, plan.dims, plan.slots)["tp"]
    ends = float(inside.ends.max(axis=0)[0])
    if len(inside.ends) > 1:  # the first stage's and the last one's
        ends = float(inside.ends.sum())
    more = m * (float(inside.layers.max()) + ends - float((inside.layers + inside.ends).max()))
    yield Part("tables on every stage", "tp", "reduce", plan.axes("tp"), more)
    whole, fullest = dense_of_the_step(plan), fullest_of(plan)
    extra = replace(fullest, dense=whole - scalar(fullest.dense), expert=0.0, frozen=0.0)
    for group, held in sharing.sent_bytes(plan.context, plan.dims, extra).items():
        yield Part("tables on every stage", "dp", "reduce", _over(plan, group), scalar(held))
    if plan.context.spec.model.tied_embeddings:
        stages = plan.axes("pp")
        table = _table(plan, "embedding") / scalar(plan.dims.shards) * plan.context.gradient_bytes
        sent = 2.0 * plan.ring(stages) * table
        yield Part("tied table's gradients", "pp", "reduce", stages, sent)


def _norms(plan: Counted, name: str) -> float:
    """Parameters of the norms of a block."""
    block = plan.context.block(name)
    return sum(op.weights for op in block.ops if op.kind == "memory") if block else 0.0


def _table(plan: Counted, name: str) -> float:
    """Parameters of the embedding or the head that one tensor rank holds, without its norm."""
    block = plan.context.block(name)
    if block is None:
        return 0.0
    norms = 0.0 if name == "embedding" else _norms(plan, name)
    return (block.weights() - norms) / plan.at("tp")


def _sharded(plan: Counted) -> Iterator[Part]:
    """Yield, less, what parameters in shards need not be gathered twice.

    Under a pipeline all stay gathered from the forward pass on. Otherwise no backward pass reads
    the embedding, the head is at work when the backward pass begins, and what a layer keeps holds
    its norms; a tied table's gradient is scattered for each of its two uses.
    """
    if plan.at("zero") < 3:
        return
    b, shards, often = plan.context.activation_bytes, plan.axes("fsdp"), plan.at("microbatches")
    if plan.at("pp") > 1:
        expert, where = scalar(fullest_of(plan).expert), plan.axes("efsdp")
        less = plan.ring(shards) * dense_of_the_step(plan) * b
        yield Part("kept gathered", "dp", "reduce", shards, -less)
        yield Part("kept gathered", "dp", "reduce", where, -plan.ring(where) * expert * b)
        return
    once = often * plan.ring(shards)
    for name in ("embedding", "head"):
        yield Part(f"{name}, once", "dp", "reduce", shards, -once * _table(plan, name) * b)
    norms = _norms(plan, "head") + sum(
        block.count * _norms(plan, block.name) * (not _again(plan))
        for block in plan.context.layer_blocks
    )
    yield Part("norms, once", "dp", "reduce", shards, -once * norms * b)
    if plan.context.spec.model.tied_embeddings:
        g, copies = plan.context.gradient_bytes, plan.axes(*REPLICAS) - shards
        table = _table(plan, "embedding") * g
        yield Part("tied table, used twice", "dp", "reduce", shards, once * table)
        held = often * 2.0 * plan.ring(copies) * table / scalar(plan.dims.shards)
        yield Part("tied table, used twice", "dp", "reduce", copies, held)


def _again(plan: Counted) -> bool:
    """Tell whether layers run again whole, or but for their products."""
    return CODES["recompute"][int(plan.at("recompute"))] in ("full", "projections")


def _unread(plan: Counted) -> Iterator[Part]:
    """Yield, less, what full recomputation does not run again.

    The last sum of a layer over tp, which no gradient reads; and keys and values from other ranks,
    received once for the forward pass run again and for the backward pass of attention.
    """
    if CODES["recompute"][int(plan.at("recompute"))] != "full":
        return
    slots, context = plan.slots, plan.context
    layers = np.maximum(slots.layers, 1.0)
    again = float((np.minimum(slots.recompute_layers, layers) / layers).max()) * plan.ticks
    sums = received = 0.0
    for block, counts in zip(context.layer_blocks, slots.counts, strict=True):
        skipped = sum(op.kind == "matmul" and op.unread for op in block.phase("forward"))
        message = scalar(exchange.tensor_message_bytes(context, block, plan.dims))
        sums += float(counts.max()) * skipped * message
        keys = exchange.inside_block(context, block, plan.dims, "forward")["cp"]
        received += float(counts.max()) * scalar(keys.sent_bytes)
    turns = 1.0 if plan.at("sp") else 2.0
    tensor, family = plan.axes("tp"), _family(plan, "cp")
    sums *= turns * plan.ring(tensor)
    yield Part("last sum, not run again", "tp", "reduce", tensor, -again * sums)
    if family != "exchange":
        yield Part("keys and values, once", "cp", family, plan.axes("cp"), -again * received)


def _slots(plan: Counted, capacity: float) -> Iterator[Part]:
    """Yield what experts of a static capacity are sent beyond the tokens that there are."""
    moe = plan.context.spec.model.moe
    if moe is None:
        return
    choices = plan.tokens / plan.at("tp") * moe.top_k
    slots = ceil(capacity * choices / moe.experts) * moe.experts
    more = (slots / choices - 1.0) * plan.ticks / plan.at("microbatches")
    for group, held in sent_bytes(plan.context, plan.dims)["ep"].items():
        where = _over(plan, group)
        yield Part("empty slots", "ep", _family(plan, "ep", group), where, more * held)
