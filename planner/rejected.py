"""What the choices of a design were preferred to, priced.

Every price is a difference to the plan, from the plan's own cost functions with one thing
changed: a collective's algorithm, the sharding, the checkpoint interval, a layout. What cannot be
priced so (a hub that all gradients pass, gossip) has its formula here. An entry has `choice`,
`cost` (named differences, negative where the alternative is cheaper) and `because`.

Parts: `other_algorithms`, `other_sharding`, `other_exchanges`, `looser`, `central_data`,
`gossip`, `other_recovery`, `other_balance`.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from costmodels.breakdown import Breakdown
from costmodels.collectives import ALGORITHMS, point_to_point_s
from planner.dims import CP_COMM, ParallelDims
from planner.job import Failure
from planner.one_plan import OnePlan, scalar
from planner.workloads import training
from planner.workloads.training import exchange

__all__ = [
    "Alternative",
    "central_data",
    "gossip",
    "looser",
    "other_algorithms",
    "other_balance",
    "other_exchanges",
    "other_recovery",
    "other_sharding",
]

Alternative = dict[str, object]
NOTHING_S = 1e-9
"""Differences below a nanosecond are rounding: the same choice."""


def _rejected(choice: str, because: str, **cost: float) -> Alternative:
    return {"choice": choice, "cost": cost, "because": because}


def _changed(step_s: float) -> str:
    return f"{step_s:+.3g} s a step"


def _step_s(
    plan: OnePlan,
    context: training.Context | None = None,
    dims: ParallelDims | None = None,
    layout: tuple[int, ...] | None = None,
) -> float:
    """Price the plan's step with something changed."""
    dims = plan.dims() if dims is None else dims
    price = training.cost(context or plan.context, dims, layout or plan.layout)
    return scalar(price.total_s)


def other_algorithms(plan: OnePlan) -> list[Alternative]:
    """Name every all-reduce algorithm on the axes that reduce, one that is used left out.

    An axis whose exchange is a gather and a scatter has no choice of this kind: its price does
    not move. Algorithms that the network cannot run are left out.
    """
    made: list[Alternative] = []
    for axis in ("tp", "dp"):
        if plan.degree(axis) == 1:
            continue
        kept = tuple(pair for pair in plan.context.algorithms if pair[0] != axis)
        for algorithm in ALGORITHMS:
            pinned = replace(plan.context, algorithms=(*kept, (axis, algorithm)))
            more_s = _step_s(plan, pinned) - plan.step_s
            if math.isfinite(more_s) and abs(more_s) > NOTHING_S:
                because = f"{_changed(more_s)}: the cheapest at this size is taken"
                made.append(_rejected(f"{axis}: {algorithm} all-reduce", because,
                                      step_time_s=more_s))  # fmt: skip
    return made


def other_sharding(plan: OnePlan) -> list[Alternative]:
    """Replicated state with one all-reduce, against state that shards own, by push and pull."""
    ranks = plan.degree("dp") * plan.degree("cp")
    if ranks == 1:
        return []
    sharded = plan.degree("zero") > 0
    dims = plan.dims(zero=0.0) if sharded else plan.dims(zero=1.0, zero_group=float(ranks))
    choice = "dp: replicas, one all-reduce" if sharded else f"dp: state in {ranks} shards (zero 1)"
    price = training.cost(plan.context, dims, plan.layout)
    more_s = scalar(price.total_s) - plan.step_s
    used = scalar(price.total_bytes)
    limit = plan.figure("memory_limit_bytes")
    over = f"; {used / limit:.3g} times the memory limit" if used > limit else "; it fits"
    return [
        _rejected(choice, _changed(more_s) + over, step_time_s=more_s,
                  memory_bytes=used - plan.figure("memory_bytes"))
    ]  # fmt: skip


def other_exchanges(plan: OnePlan) -> list[Alternative]:
    """Other ways to exchange along the context axis that the stack can build."""
    if plan.degree("cp") == 1:
        return []
    model, made = plan.job.workload.model, []
    heads = model.heads if model.attention.kind == "mla" else model.kv_heads_or_all
    for name in plan.context.stack.supports.cp_comm:
        split = heads % (plan.degree("tp") * plan.degree("cp")) == 0
        if name == plan.strategy["cp_comm"] or (name == "a2a" and not split):
            continue
        dims = plan.dims(cp_comm=float(CP_COMM.index(name)))
        more_s = _step_s(plan, dims=dims) - plan.step_s
        made.append(_rejected(f"cp: {name}", _changed(more_s), step_time_s=more_s))
    return made


def looser(plan: OnePlan) -> list[Alternative]:
    """Local steps and asynchronous steps: the most that they could save; learning not priced."""
    if plan.degree("dp") == 1:
        return []
    shared_s = plan.seconds("dp")
    straggling_s = plan.named_s("stragglers")
    unknown = "what it costs in learning is priced when the job gives a statistical model"
    return [
        _rejected(
            "local steps between exchanges",
            f"saves at most {shared_s / plan.step_s:.1%} of a step; {unknown}",
            step_time_s=-shared_s,
        ),
        _rejected(
            "asynchronous",
            f"saves at most {(shared_s + straggling_s) / plan.step_s:.1%} of a step, stragglers"
            f" too; {unknown}",
            step_time_s=-(shared_s + straggling_s),
        ),
    ]


def _gradient_bytes(plan: OnePlan) -> float:
    """Gradients that one rank holds after its backward pass, bytes of the fullest device."""
    entries = plan.prediction["memory"]
    assert isinstance(entries, list)
    weights = sum(float(m["bytes"]) for m in entries if m["name"] == "weights")
    whole = plan.context.graph.weights()
    split = plan.degree("tp") * plan.degree("pp")
    held = min(weights / plan.context.parameter_bytes, whole) if plan.degree("zero") < 3 else 0.0
    return max(held, whole / split if plan.degree("zero") >= 3 else 0.0) * (
        plan.context.gradient_bytes
    )


def central_data(plan: OnePlan) -> list[Alternative]:
    """Return the price of one hub: every replica's gradients in, the new weights out, through its link.

        T = replicas * (gradients + weights of the model) / beta,  beta the link of one member of
        the outermost level; what data parallelism exposes today is saved
    """
    replicas = plan.degree("dp") * plan.degree("cp")
    if replicas == 1:
        return []
    context = plan.context
    trained = sum(block.count * block.weights(trainable=True) for block in context.graph.blocks)
    each = trained * (context.gradient_bytes + context.activation_bytes)
    hub_s = replicas * each / context.cluster.levels[-1].bytes_per_s
    more_s = hub_s - plan.seconds("dp")
    because = (
        f"{_changed(more_s)}: the gradients and weights of {replicas:,} replicas through one"
        f" {'host' if plan.hosts > 1 else 'device'}'s link"
    )
    return [_rejected("a hub in the data path", because, step_time_s=more_s)]


def gossip(plan: OnePlan) -> list[Alternative]:
    """Return the price of peers that agree pair by pair: log2 n rounds of the whole gradient.

        T = ceil(log2 n) (alpha + G / beta)

    with the slowest link that the group crosses. Source: recursive doubling, Thakur,
    Rabenseifner, Gropp, IJHPCA 19(1), 2005; fewer rounds leave the replicas unequal.
    """
    replicas = plan.degree("dp") * plan.degree("cp")
    if replicas == 1:
        return []
    parts = exchange.segments(plan.context, plan.dims(), "replicas")
    alpha_s, bytes_per_s = plan.context.cluster.neighbour(*parts)
    rounds = math.ceil(math.log2(replicas))
    gossip_s = rounds * scalar(point_to_point_s(_gradient_bytes(plan), alpha_s, bytes_per_s))
    exchanged_s = plan.seconds("dp") + plan.seconds("dp", hidden=True)
    more_s = gossip_s - exchanged_s
    because = (
        f"{_changed(more_s)} of exchange before overlap: {rounds} rounds of the whole gradient"
        " until all replicas are equal"
    )
    return [_rejected("no coordinator, peers gossip", because, exchange_s=more_s)]


def other_recovery(plan: OnePlan) -> list[Alternative]:
    """Other checkpoint intervals, the other way to write, and one spare host more or none."""
    failure = plan.job.failure
    price = training.cost(plan.context, plan.dims(), plan.layout)
    interval_s = plan.figure("checkpoint_interval_s")
    spares = failure.spare_nodes
    tried: dict[str, dict[str, object]] = {
        "half the interval": {"checkpoint_interval_s": interval_s / 2.0},
        "double the interval": {"checkpoint_interval_s": interval_s * 2.0},
        "blocking writes" if failure.checkpoint_async else "asynchronous writes": {
            "checkpoint_async": not failure.checkpoint_async
        },
        f"{spares + 1} spare host{'s' if spares else ''}": {"spare_nodes": spares + 1},
    }
    if spares:
        tried["no spare host"] = {"spare_nodes": 0}
    base = _run(plan, failure, price)
    made = []
    for choice, update in tried.items():
        run = _run(plan, failure.model_copy(update=update), price)
        cost = {key: run[key] - base[key] for key in base}
        if any(cost.values()):
            made.append(_rejected(choice, _run_words(cost), **cost))
    return made


def _run(plan: OnePlan, failure: Failure, price: Breakdown) -> dict[str, float]:
    """Goodput of the run and, where the job gives its length, time and money."""
    job = plan.job.model_copy(update={"failure": failure})
    run = training.economics(job, plan.context, plan.dims(), price)
    figures = {"goodput": scalar(run.run.goodput)}
    if run.time_to_train_s is not None:
        figures["time_to_train_s"] = scalar(run.time_to_train_s)
        figures["cost_usd"] = scalar(run.cost_usd)
    return figures


def _run_words(cost: Mapping[str, float]) -> str:
    said = f"goodput {cost['goodput'] * 100:+.3g} points"
    return f"{said}, {cost['cost_usd']:+,.0f} USD" if "cost_usd" in cost else said


def other_balance(plan: OnePlan) -> list[Alternative]:
    """Other layouts of the layers, and what even routing and no stragglers would be worth."""
    made = _other_layouts(plan)
    if plan.context.imbalance > 1.0:
        even_s = _step_s(plan, replace(plan.context, imbalance=1.0)) - plan.step_s
        because = f"{_changed(even_s)}, if routing could be forced without a loss in learning"
        made.append(_rejected("experts in perfect balance", because, step_time_s=even_s))
    straggling_s = plan.named_s("stragglers")
    if straggling_s > 0:
        because = (
            f"{_changed(-straggling_s)} at most: lockstep has no second copy of a rank's work to"
            " take instead"
        )
        made.append(_rejected("backup workers", because, step_time_s=-straggling_s))
    return made


def _other_layouts(plan: OnePlan) -> list[Alternative]:
    """Take a layer from the first or the last chunk and give it to the least filled other one."""
    layout, made = plan.layout, []
    if len(layout) == 1:
        return []
    for name, end in (("first", 0), ("last", len(layout) - 1)):
        others = [i for i in range(len(layout)) if i != end]
        least = min(others, key=lambda i: (layout[i], -i))
        if layout[end] < 2:
            continue
        moved = list(layout)
        moved[end] -= 1
        moved[least] += 1
        more_s = _step_s(plan, layout=tuple(moved)) - plan.step_s
        choice = f"a layer less on the {name} stage"
        made.append(_rejected(choice, _changed(more_s), step_time_s=more_s))
    return made
