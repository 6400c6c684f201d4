"""The price of any plan of a training job: on one kind of device, or over pools of unlike ones.

Over several pools there are two ways. Side by side, each pool trains whole copies of the model on
its own sequences of the batch, with its own tensor and pipeline degrees and micro-batch; gradients
are reduced across pools. End to end, one pipeline crosses the pools: each holds a stretch of its
stages, with its own tensor degree and recomputation. Either way a pool is priced by `cost`, knowing
what stands beside it, the step is the slowest pool's, and what is said here is only which pool
sets the time and which the memory. Plans on one kind of device are handed to `cost` unchanged.

Parts: `beside`, `over`, `rebuilt`; `cost`, `times_of`, `memory_of`; `limit_bytes`,
`slowest`, `stage_memory`, `prices`, `pool_figures`, `strategy_stages`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Breakdown, Memory, Term
from costmodels.units import Column, Num, scalar
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training import cost as one_kind
from planner.workloads.training.beside import Beside
from planner.workloads.training.context import Context, Part, make
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.staging import StageChoice, mode_written, offload_written

__all__ = [
    "PoolPlan",
    "beside",
    "cost",
    "limit_bytes",
    "memory_of",
    "over",
    "own_row",
    "pool_figures",
    "prices",
    "rebuilt",
    "slowest",
    "stage_memory",
    "strategy_stages",
    "times_of",
]


@dataclass(frozen=True)
class PoolPlan:
    """A plan over several pools: its context, which holds the parts, its row, and its step."""

    context: Context
    dims: ParallelDims
    step_s: float


def beside(cluster: Cluster, pool: Cluster, *, chained: bool = False) -> Beside:
    """Say what stands beside one pool of a cluster.

    Parameters
    ----------
    chained : the pools hold stages of one pipeline; there is then one copy of the model
    """
    link = cluster.levels[-1]
    sent = min(p.devices * p.out_bytes_per_s for p in cluster.pools)
    narrowest = min(p.out_bytes_per_s for p in cluster.pools)
    return Beside(
        copies=1.0 if chained else float(len(cluster.pools)),
        hosts=float(cluster.hosts - pool.hosts),
        bytes_per_s=link.bytes_per_s,
        latency_s=link.latency_s,
        device_bytes_per_s=link.bytes_per_s * narrowest / sent,
    )


def over(cluster: Cluster, parts: Sequence[Part], common: Mapping[str, float]) -> PoolPlan:
    """Join what each pool does to one plan.

    The pool that sets the step lends the plan its degrees, its rates and its profile.

    Parameters
    ----------
    common : the columns that hold for all pools
    """
    joined = replace(parts[0].context, beside=None, stretch=None, parts=tuple(parts))
    any_row = ParallelDims.from_columns({**common, **parts[0].own})
    seconds = [scalar(price.total_s) for price in _each(joined, any_row)]
    lead = int(np.argmax(seconds))
    first = parts[lead].context
    network = (*first.cluster.levels, cluster.levels[-1])
    row = {**common, **parts[lead].own, "devices": float(cluster.devices)}
    if first.stretch is None:
        row["dp"] = sum(part.own["dp"] for part in parts)
    context = replace(
        first,
        cluster=replace(cluster, profile=first.cluster.profile, levels=network),
        beside=None,
        stretch=None,
        parts=tuple(parts),
    )
    return PoolPlan(context, ParallelDims.from_columns(row), max(seconds))


def rebuilt(context: Context, job: Job[TrainingSpec], cluster: Cluster) -> Context:
    """Resolve a plan's job again on a changed cluster, the pools' parts as they are."""
    if not context.parts:
        return make(job, cluster, stagings=context.stagings)
    parts = []
    for part, pool in zip(context.parts, cluster.pools, strict=True):
        stretch = part.context.stretch
        made = make(job, pool, stagings=part.context.stagings)
        about = beside(cluster, pool, chained=stretch is not None)
        parts.append(replace(part, context=replace(made, beside=about, stretch=stretch)))
    lead = next(i for i, p in enumerate(context.parts) if p.context.stagings == context.stagings
                and p.context.cluster.profile == context.cluster.profile)  # fmt: skip
    first = parts[lead].context
    return replace(first, cluster=cluster, beside=None, stretch=None, parts=tuple(parts))


def cost(context: Context, dims: ParallelDims) -> Breakdown:
    """Price every plan: exposed and hidden seconds by name, and bytes of the fullest device.

    Over several pools the terms are those of the slowest pool and the bytes those of the device
    that uses the largest share of its own limit.
    """
    return Breakdown(times_of(context, dims).terms, memory_of(context, dims).memory)


def times_of(context: Context, dims: ParallelDims) -> Breakdown:
    """Price the step's seconds alone."""
    if not context.parts:
        return one_kind.times_of(context, dims)
    each = _each(context, dims)
    slowest = np.argmax(np.stack([np.asarray(price.total_s) for price in each]), axis=0)
    return Breakdown(
        tuple(
            Term(
                terms[0].name, terms[0].kind, _picked([t.time_s for t in terms], slowest),
                terms[0].source, _picked([t.hidden_s for t in terms], slowest),
            )
            for terms in zip(*(price.terms for price in each), strict=True)
        )
    )  # fmt: skip


def memory_of(context: Context, dims: ParallelDims) -> Breakdown:
    """Price the bytes of the fullest device alone."""
    if not context.parts:
        return one_kind.memory_of(context, dims)
    each = _held(context, dims)
    fullest = _fullest(context, each)
    return Breakdown(
        (),
        tuple(
            Memory(m[0].name, m[0].kind, _picked([x.bytes for x in m], fullest), m[0].source)
            for m in zip(*(held.memory for held in each), strict=True)
        ),
    )


def limit_bytes(context: Context, dims: ParallelDims) -> Column:
    """Return what the fullest device of every plan may use: its own pool's limit."""
    if not context.parts:
        return np.full(len(dims), context.memory_limit_bytes)
    limits = np.array([part.context.memory_limit_bytes for part in context.parts])
    return np.asarray(limits[_fullest(context, _held(context, dims))])


def stage_memory(context: Context, dims: ParallelDims) -> list[dict[str, object]]:
    """Bytes of every pipeline stage of one plan, first to last, of every pool in turn."""
    if not context.parts:
        held = one_kind.stage_bytes(context, dims)
        return [{"stage": stage, "bytes": each} for stage, each in enumerate(held)]
    made: list[dict[str, object]] = []
    for part in _in_order(context):
        held = one_kind.stage_bytes(part.context, own_row(part, dims))
        name, stretch = part.context.cluster.name, part.context.stretch
        start = stretch.before if stretch else 0
        made += [{"stage": i, "pool": name, "bytes": each} for i, each in enumerate(held, start)]
    return made


def prices(context: Context, dims: ParallelDims, price: Breakdown) -> list[Breakdown]:
    """Price the step as the devices of each kind spend it: their work, then their waiting."""
    if not context.parts:
        return [price]
    made = []
    for own in _each(context, dims):
        waits_s = np.maximum(0.0, price.total_s - own.total_s)
        waiting = Term("waiting for the slowest pool", "bubble", waits_s, "pools.prices")
        made.append(Breakdown((*own.terms, waiting)))
    return made


def _each(context: Context, dims: ParallelDims) -> list[Breakdown]:
    """Price the step of every pool, each as if the others were done when it is.

    In a pipeline that crosses pools a microbatch also passes the stages of the others.
    """
    own = [(_as_now(context, part), own_row(part, dims)) for part in context.parts]
    if own[0][0].stretch is None:
        return [one_kind.times_of(one, row) for one, row in own]
    held = [one_kind.stages_s(one, row) for one, row in own]
    whole = np.sum(held, axis=0)
    return [
        one_kind.times_of(one, row, whole - mine)
        for (one, row), mine in zip(own, held, strict=True)
    ]


def own_row(part: Part, dims: ParallelDims) -> ParallelDims:
    """Return plans over several pools as the columns of one pool."""
    columns = {name: getattr(dims, name) for name in ParallelDims.names()}
    return ParallelDims.from_columns({**columns, **part.own})


def slowest(context: Context, dims: ParallelDims) -> tuple[Context, ParallelDims]:
    """Return the pool that sets the step of one plan, and its own row."""
    lead = int(np.argmax([scalar(price.total_s) for price in _each(context, dims)]))
    part = context.parts[lead]
    return part.context, own_row(part, dims)


def pool_figures(context: Context, dims: ParallelDims) -> list[dict[str, object]]:
    """Say of one plan what each pool does: devices, sequences, seconds, memory."""
    made: list[dict[str, object]] = []
    for part, price in zip(context.parts, _each(context, dims), strict=True):
        row, cluster = own_row(part, dims), part.context.cluster
        layers = part.context.stagings[0].layers
        made.append(
            {
                "pool": cluster.name,
                "system": cluster.profile.name,
                "devices": cluster.devices,
                "dp": int(row.dp[0]),
                "sequences": int(row.dp[0] * row.micro_batch[0] * row.microbatches[0]),
                "stages": len(layers),
                "layers": sum(layers),
                "step_time_s": scalar(price.total_s),
                "memory_bytes": scalar(one_kind.memory_of(part.context, row).total_bytes),
                "memory_limit_bytes": part.context.memory_limit_bytes,
            }
        )
    return made


def _in_order(context: Context) -> list[Part]:
    """Parts of a plan in forward order, side by side in the pools' own."""
    parts = list(context.parts)
    return sorted(parts, key=lambda p: p.context.stretch.before if p.context.stretch else 0)


def strategy_stages(context: Context) -> list[dict[str, object]]:
    """Return what each pool does as entries of `strategy.stages`, in forward order."""
    made: list[dict[str, object]] = []
    for part in _in_order(context):
        own, staging = part.own, part.context.stagings[0]
        recompute = mode_written(int(own["recompute"]), own["recompute_layers"])
        choices = staging.stages or (StageChoice(),) * len(staging.layers)
        for layers, choice in zip(staging.layers, choices, strict=True):
            mode, bits = choice.recompute, choice.offload
            made.append(
                {
                    "layers": layers,
                    "pool": part.context.cluster.name,
                    "tp": int(own["tp"]),
                    "recompute": (
                        recompute if mode is None else mode_written(mode, choice.recompute_layers)
                    ),
                    "offload": offload_written(int(own["offload"]) if bits is None else bits),
                    "micro_batch": int(own["micro_batch"]),
                    "microbatches": int(own["microbatches"]),
                }
            )
    return made


def _as_now(context: Context, part: Part) -> Context:
    """Return a part's context with what a question changed in the plan's own."""
    return replace(part.context, algorithms=context.algorithms, imbalance=context.imbalance)


def _held(context: Context, dims: ParallelDims) -> list[Breakdown]:
    return [one_kind.memory_of(p.context, own_row(p, dims)) for p in context.parts]


def _fullest(context: Context, each: Sequence[Breakdown]) -> NDArray[np.intp]:
    """Index of the pool whose fullest device uses the largest share of its limit, a row each."""
    shares = [
        np.asarray(held.total_bytes) / part.context.memory_limit_bytes
        for held, part in zip(each, context.parts, strict=True)
    ]
    return np.asarray(np.argmax(np.stack(shares), axis=0))


def _picked(columns: Sequence[Num], which: NDArray[np.intp]) -> Column:
    spread = np.broadcast_arrays(*(np.asarray(c, np.float64) for c in columns), which)[:-1]
    return np.asarray(np.take_along_axis(np.stack(spread), which[None, :], axis=0)[0])
