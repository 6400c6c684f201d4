"""How else the ranks of a plan could exchange and agree, priced as differences to the plan.

Every price is from the plan's own cost functions with one thing changed: a collective's
algorithm, the sharding, the exchange of a context axis. What they cannot price (a hub that all
gradients pass, gossip) has its formula here. An entry has `choice`, `cost` (named differences,
negative where the alternative is cheaper) and `because`. Upkeep is `planner.rejected_upkeep`'s.

Parts: `Alternative`, `rejected`, `said`, `step_s`, `algorithm_prices`, `other_algorithms`,
`other_sharding`, `other_exchanges`, `looser`, `hub`, `gossip`.
"""

import math
from dataclasses import replace

from costmodels.collectives import ALGORITHMS, all_reduce_s, point_to_point_s
from planner.dims import CP_COMM, ParallelDims
from planner.one_plan import OnePlan, scalar
from planner.workloads import training
from planner.workloads.training import exchange

__all__ = [
    "Alternative",
    "algorithm_prices",
    "gossip",
    "hub",
    "looser",
    "other_algorithms",
    "other_exchanges",
    "other_sharding",
    "rejected",
    "said",
    "step_s",
]

Alternative = dict[str, object]
NOTHING_S = 1e-9
"""Differences below a nanosecond are rounding: the same price."""
UNKNOWN = "what it costs in learning is priced when the job gives a statistical model"


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
    layout: tuple[int, ...] | None = None,
) -> float:
    """Price the plan's step with its context, its columns or its layout changed."""
    dims = plan.dims() if dims is None else dims
    return scalar(training.cost(context or plan.context, dims, layout or plan.layout).total_s)


def algorithm_prices(plan: OnePlan, axis: str) -> dict[str, float]:
    """Seconds that a step takes longer with each all-reduce algorithm on `tp` or `dp`.

    Algorithms that the network cannot run are left out. All are 0 on an axis that gathers and
    scatters: it has no all-reduce. The ones at 0 otherwise are what the plan's price is made of.
    """
    if plan.degree(axis) == 1:
        return {}
    groups = ("tp",) if axis == "tp" else _reducing_groups(plan)
    dims = plan.dims()
    spans = [exchange.axis_span(plan.context, dims, group) for group in groups]
    kept = tuple(pair for pair in plan.context.algorithms if pair[0] != axis)
    prices: dict[str, float] = {}
    for name in ALGORITHMS:
        if all(math.isfinite(scalar(all_reduce_s(1.0, span, name))) for span in spans):
            pinned = replace(plan.context, algorithms=(*kept, (axis, name)))
            more_s = step_s(plan, pinned, dims) - plan.step_s
            prices[name] = more_s if abs(more_s) > NOTHING_S else 0.0
    return prices


def _reducing_groups(plan: OnePlan) -> tuple[str, ...]:
    """Name the groups that reduce gradients to all: replicas, or the copies of their shards."""
    name = "copies" if plan.degree("zero") else "replicas"
    return (name,) if plan.job.workload.model.moe is None else (name, f"expert {name}")


def other_algorithms(plan: OnePlan) -> list[Alternative]:
    """Return the all-reduce algorithms that would be slower or faster, by axis."""
    made = []
    for axis in ("tp", "dp"):
        for name, more_s in algorithm_prices(plan, axis).items():
            if more_s:
                choice = f"{axis}: {name} all-reduce"
                made.append(rejected(choice, said(more_s), step_time_s=more_s))
    return made


def other_sharding(plan: OnePlan) -> list[Alternative]:
    """Return replicated state where shards own it now; state owned by shards where none does."""
    ranks = plan.degree("dp") * plan.degree("cp")
    if ranks == 1:
        return []
    dims = plan.dims(zero=1.0, zero_group=float(ranks))
    choice = f"dp: state in {ranks:,} shards, pushed and pulled (zero 1)"
    if plan.degree("zero"):
        dims, choice = plan.dims(zero=0.0), "dp: whole replicas, one all-reduce (zero 0)"
    price = training.cost(plan.context, dims, plan.layout)
    more_s, used = scalar(price.total_s) - plan.step_s, scalar(price.total_bytes)
    limit = plan.figure("memory_limit_bytes")
    fits = f"{used / limit:.3g} times the memory limit" if used > limit else "it fits in memory"
    more_bytes = used - plan.figure("memory_bytes")
    because = f"{said(more_s)}; {fits}"
    return [rejected(choice, because, step_time_s=more_s, memory_bytes=more_bytes)]


def other_exchanges(plan: OnePlan) -> list[Alternative]:
    """Return the other exchanges of the context axis that stack, heads and network allow."""
    cp, tp = plan.degree("cp"), plan.degree("tp")
    if cp == 1:
        return []
    model = plan.job.workload.model
    heads = model.heads if model.attention.kind == "mla" else model.kv_heads_or_all
    inside = plan.context.cluster.node_devices / tp
    allowed = {
        "a2a": heads % (tp * cp) == 0,
        "a2a+p2p": 1 < inside < cp,
    }
    made = []
    for name in plan.context.stack.supports.cp_comm:
        if name != plan.strategy["cp_comm"] and allowed.get(name, True):
            dims = plan.dims(cp_comm=float(CP_COMM.index(name)))
            more_s = step_s(plan, dims=dims) - plan.step_s
            made.append(rejected(f"cp: {name}", said(more_s), step_time_s=more_s))
    return made


def looser(plan: OnePlan) -> list[Alternative]:
    """Return local steps and asynchronous steps with the most that they could save.

    Local steps save at most the exposed exchange of gradients and parameters; asynchronous ones
    that and the wait for stragglers. Neither is bought: what they cost in learning is not known.
    """
    if plan.degree("dp") == 1:
        return []
    local_s = plan.seconds("dp")
    free_s = local_s + plan.named_s("stragglers")
    saved = {"local steps between exchanges": local_s, "asynchronous": free_s}
    return [
        rejected(
            choice,
            f"saves at most {saved_s / plan.step_s:.1%} of a step; {UNKNOWN}",
            step_time_s=-saved_s,
        )
        for choice, saved_s in saved.items()
    ]


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
    """Return the price of peers that agree pair by pair, before any overlap.

        T = ceil(log2 n) (alpha + G / beta)

    with G the gradients of a mean rank and the slowest link that the group crosses. The
    difference is to the whole exchange of the step, hidden seconds included.

    Notes
    -----
    Fewer rounds leave the replicas unequal. Source: recursive doubling, Thakur, Rabenseifner,
    Gropp, IJHPCA 19(1), 2005.
    """
    replicas = plan.degree("dp") * plan.degree("cp")
    if replicas == 1:
        return []
    dense, expert = _trained(plan)
    held = dense / plan.degree("tp") + expert / (plan.degree("ep") * plan.degree("etp"))
    gradients = held / plan.degree("pp") * plan.context.gradient_bytes
    parts = exchange.segments(plan.context, plan.dims(), "replicas")
    alpha_s, bytes_per_s = plan.context.cluster.neighbour(*parts)
    rounds = math.ceil(math.log2(replicas))
    now_s = plan.seconds("dp") + plan.seconds("dp", hidden=True)
    more_s = rounds * scalar(point_to_point_s(gradients, alpha_s, bytes_per_s)) - now_s
    because = (
        f"{more_s:+.3g} s of exchange before overlap: {rounds} rounds of the whole gradient until"
        " all replicas are equal"
    )
    return [rejected("no coordinator, peers gossip", because, exchange_s=more_s)]
