"""How else the ranks of a plan could exchange and agree, priced as differences to the plan.

Every price is from the plan's own cost functions with one thing changed: a collective's
algorithm, the sharding, the exchange of a context axis. What they cannot price (a hub that all
gradients pass, gossip) has its formula here. An entry has `choice`, `cost` (named differences,
negative where the alternative is cheaper) and `because`. Upkeep is
`planner.design.rejected_upkeep`'s, consistency `planner.design.rejected_consistency`'s.

Parts: `Alternative`, `rejected`, `said`, `step_s`, `algorithm_prices`, `other_algorithms`,
`other_exchanges`, `hub`, `gossip`.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from costmodels.collectives import ALGORITHMS, all_reduce_s, point_to_point_s, usable
from costmodels.units import scalar
from planner.design.one_plan import OnePlan
from planner.dims import CP_COMM, ParallelDims
from planner.workloads import training
from planner.workloads.training import exchange
from planner.workloads.training.groups import segments

__all__ = [
    "NOTHING_S",
    "Alternative",
    "algorithm_prices",
    "gossip",
    "hub",
    "other_algorithms",
    "other_exchanges",
    "rejected",
    "said",
    "step_s",
]

Alternative = dict[str, object]
NOTHING_S = 1e-9
"""Differences below a nanosecond are rounding: the same price."""


def rejected(choice: str, because: str, **cost: float) -> Alternative:
    """Return an entry: what it is, why not, and what it costs more than the plan."""
    return {"choice": choice, "cost": cost, "because": because}


def said(more_s: float) -> str:
    """Say a difference of a step in words."""
    return "the same price" if abs(more_s) < NOTHING_S else f"{more_s:+.3g} s a step"


def step_s(
    plan: OnePlan,
    context: training.Context | None = None,
    dims: ParallelDims | None = None,
) -> float:
    """Price the plan's step with its context or its columns changed."""
    dims = plan.dims() if dims is None else dims
    return scalar(training.cost(context or plan.context, dims).total_s)


def algorithm_prices(plan: OnePlan, axis: str) -> dict[str, float]:
    """Seconds that a step takes longer with each all-reduce algorithm on `tp` or `dp`.

    Empty for an axis that has no all-reduce: one rank, or gathers and scatters alone. Algorithms
    that the network cannot run are left out. Those at 0 are what the plan's price is made of.
    """
    groups = _reducing_groups(plan, axis)
    dims = plan.dims()
    spans = [exchange.axis_span(plan.context, dims, group) for group in groups]
    if all(scalar(hop.ranks) <= 1.0 for span in spans for hop in span):
        return {}
    kept = tuple(pair for pair in plan.context.algorithms if pair[0] != axis)
    prices: dict[str, float] = {}
    for name in ALGORITHMS:
        if all(usable(span, name) for span in spans):
            pinned = replace(plan.context, algorithms=(*kept, (axis, name)))
            more_s = step_s(plan, pinned, dims) - plan.step_s
            prices[name] = more_s if abs(more_s) > NOTHING_S else 0.0
    return prices


def _reducing_groups(plan: OnePlan, axis: str) -> tuple[str, ...]:
    """Name the groups of an axis that reduce to all: tp, replicas, or the copies of shards."""
    if axis == "tp":
        return () if plan.strategy["sp"] else ("tp",)
    name = "copies" if plan.degree("zero") else "replicas"
    return (name,) if plan.job.workload.model.moe is None else (name, f"expert {name}")


def other_algorithms(prices: Mapping[str, Mapping[str, float]]) -> list[Alternative]:
    """Return the all-reduce algorithms that are not the plan's, from `algorithm_prices` by axis."""
    return [
        rejected(f"{axis}: {name} all-reduce", said(more_s), step_time_s=more_s)
        for axis, each in prices.items()
        for name, more_s in each.items()
        if more_s
    ]


def other_exchanges(plan: OnePlan) -> list[Alternative]:
    """Return other exchanges of the context axis, and the state sharded if whole, whole if sharded.

    Exchanges are those that stack, heads and network allow. Without ZeRO there is one all-reduce
    of replicas; with it, owners of shards are pushed gradients and weights are pulled from them.
    """
    ranks = scalar(plan.dims().replicas)
    tried = {f"cp: {n}": {"cp_comm": float(CP_COMM.index(n))} for n in _context_exchanges(plan)}
    if ranks > 1 and plan.degree("zero"):
        tried["dp: whole replicas, one all-reduce (zero 0)"] = {"zero": 0.0}
    elif ranks > 1:
        choice = f"dp: state in {ranks:,.0f} shards, pushed and pulled (zero 1)"
        tried[choice] = {"zero": 1.0, "zero_group": ranks}
    if not tried:
        return []
    base = plan.dims().row(0)
    rows = [{**base, **change} for change in tried.values()]
    dims = ParallelDims.from_columns({key: np.array([row[key] for row in rows]) for key in base})
    price = training.cost(plan.context, dims)
    limit, used = plan.figure("memory_limit_bytes"), np.asarray(price.total_bytes)
    made = []
    for choice, step, held in zip(tried, np.asarray(price.total_s), used, strict=True):
        over = f"; {held / limit:.3g} times the memory limit" if held > limit else ""
        more_s = float(step) - plan.step_s
        more_bytes = float(held) - plan.figure("memory_bytes")
        because = f"{said(more_s)}{over}"
        made.append(rejected(choice, because, step_time_s=more_s, memory_bytes=more_bytes))
    return made


def _context_exchanges(plan: OnePlan) -> list[str]:
    """Name the exchanges that the context axis could use instead of its own."""
    cp, tp = plan.degree("cp"), plan.degree("tp")
    if cp == 1:
        return []
    model = plan.job.workload.model
    heads = model.heads if model.attention.kind == "mla" else model.kv_heads_or_all
    inside = plan.context.cluster.node_devices / tp
    allowed = {"a2a": heads % (tp * cp) == 0, "a2a+p2p": 1 < inside < cp}
    built = plan.context.stack.supports.cp_comm
    return [n for n in built if n != plan.strategy["cp_comm"] and allowed.get(n, True)]


def _trained(plan: OnePlan) -> tuple[float, float]:
    """Trained parameters: dense ones and those of experts."""
    blocks = plan.context.graph.blocks
    dense, expert = (
        sum(b.count * b.weights(expert=experts, trainable=True) for b in blocks)
        for experts in (False, True)
    )
    return dense, expert


def hub(plan: OnePlan) -> list[Alternative]:
    """Return the price of a hub: all replicas' gradients in and new weights out by one link.

        T = replicas P (gradient bytes + weight bytes) / beta

    with P the trained parameters and beta the link of one member of the outermost level: a
    machine's, or a device's where there is one machine. The exchange that the step now exposes
    is saved.
    """
    replicas = plan.degree("dp") * plan.degree("cp")
    if replicas == 1:
        return []
    each = plan.context.gradient_bytes + plan.context.activation_bytes
    moved = replicas * sum(_trained(plan)) * each
    more_s = moved / plan.context.cluster.levels[-1].bytes_per_s - plan.seconds("dp")
    owner = "machine" if len(plan.context.cluster.levels) > 1 else "device"
    because = (
        f"{said(more_s)}: gradients and weights of {replicas:,} replicas pass one {owner}'s link"
    )
    return [rejected("a hub in the data path", because, step_time_s=more_s)]


def gossip(plan: OnePlan) -> list[Alternative]:
    """Return the price of peers that agree pair by pair, over an all-reduce of the same gradients.

        T = ceil(log2 n) (alpha + G / beta) - all-reduce of G

    with G the gradients of a mean rank, n the replicas and beta the slowest link that they cross.

    Notes
    -----
    Before any overlap. Fewer rounds leave the replicas unequal, and there must be whole replicas.
    Source: recursive doubling, Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005.
    """
    replicas = plan.degree("dp") * plan.degree("cp")
    if replicas == 1:
        return []
    dense, expert = _trained(plan)
    held = dense / plan.degree("tp") + expert / (plan.degree("ep") * plan.degree("etp"))
    gradients = held / plan.degree("pp") * plan.context.gradient_bytes
    dims = plan.dims()
    alpha_s, bytes_per_s = plan.context.cluster.neighbour(*segments(dims, "everyone"))
    rounds = math.ceil(math.log2(replicas))
    pairs_s = rounds * scalar(point_to_point_s(gradients, alpha_s, bytes_per_s))
    span = exchange.axis_span(plan.context, dims, "replicas")
    more_s = pairs_s - scalar(all_reduce_s(gradients, span))
    because = (
        f"{more_s:+.3g} s of exchange over an all-reduce: {rounds} rounds of the whole gradient"
        " until all replicas are equal"
    )
    return [rejected("no coordinator, peers gossip", because, exchange_s=more_s)]
