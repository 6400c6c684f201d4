"""Replicas that agree less often than every step: the seconds and the bytes of it, as columns.

    local_sgd     sites are whole meshes; they exchange their parameters every H steps, each rank
                  its part, over the level between them, beside the backward pass of one step
    stale         gradients may be s steps old: their exchange runs beside the compute, on a link
                  that carries one exchange a step; no barrier, so machines meet less often
    asynchronous  as stale without a bound: no machine waits for another

Synchronous rows are left as they are. Knows how replicas exchange; what it costs in learning is
`planner.workloads.training.learning`.

Parts: `across_level`, `columns_of`, `consistency_of`; `loosened`, `outer_terms`, `felt_doublings`,
`outer_bytes`, `outer_sent_bytes`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives
from costmodels.breakdown import Term
from costmodels.local_sgd import HIDDEN_FRAC, outer_exposed_s, shared_jitter
from costmodels.units import Num
from planner.cluster import Cluster, Level
from planner.dims import CODES, CONSISTENCY, OUTER_PRECISION, ParallelDims
from planner.workloads.training.context import ELEMENT_BYTES, Context
from planner.workloads.training.exchange import axis_span
from planner.workloads.training.sharing import Sharing, share
from planner.workloads.training.states import Fullest

__all__ = [
    "HOST_ADAM_BYTES_PER_S",
    "across_level",
    "columns_of",
    "consistency_of",
    "felt_doublings",
    "loosened",
    "outer_bytes",
    "outer_sent_bytes",
    "outer_terms",
]

SYNCHRONOUS, LOCAL, STALE, ASYNCHRONOUS = range(len(CONSISTENCY))
OUTER_STATE_BYTES = 20.0
"""Traffic of an outer step per parameter beside its weight: fp32 parameters of now, of the last
exchange and momentum read, the last two written."""
HOST_ADAM_BYTES_PER_S = 50e9
"""What a host's memory gives one device's share of an offloaded optimizer step (assumed)."""


def across_level(cluster: Cluster, name: str | None = None) -> Level:
    """Return the level that only outer steps cross.

    Parameters
    ----------
    name : as the job gives it; None: the innermost level between sites, without sites the
           outermost level. A level that the devices do not reach stands for the outermost
    """
    for level in cluster.levels:
        if level.name == name or (name is None and level.wide):
            return level
    return cluster.levels[-1]


def columns_of(cluster: Cluster, consistency: object) -> dict[str, float]:
    """Return the columns of a plan's `consistency`, as its strategy holds it."""
    if consistency == "asynchronous":
        return {"consistency": float(ASYNCHRONOUS)}
    if not isinstance(consistency, Mapping):
        return {"consistency": float(SYNCHRONOUS)}
    if "stale" in consistency:
        return {"consistency": float(STALE), "apart": float(consistency["stale"])}
    local = consistency["local_sgd"]
    level = across_level(cluster, local.get("across"))
    return {
        "consistency": float(LOCAL),
        "sites": cluster.devices / level.inside,
        "apart": float(local["steps"]),
        "outer": float(OUTER_PRECISION.index(local.get("precision") or OUTER_PRECISION[0])),
    }


def consistency_of(cluster: Cluster, row: Mapping[str, float]) -> object:
    """Return a row's `consistency` as the strategy of a plan holds it."""
    kind = int(row["consistency"])
    if kind == STALE:
        return {"stale": int(row["apart"])}
    if kind != LOCAL:
        return CONSISTENCY[kind]
    level = next(x for x in cluster.levels if x.inside * row["sites"] == cluster.devices)
    return {
        "local_sgd": {
            "steps": int(row["apart"]),
            "across": level.name,
            "precision": OUTER_PRECISION[int(row["outer"])],
        }
    }


def outer_bytes(dims: ParallelDims) -> Num:
    """Bytes of a parameter in the number format of the outer exchange."""
    each = np.array([ELEMENT_BYTES[name] for name in CODES["outer"]])
    return np.asarray(each[dims.outer.astype(int)])


def _part(dims: ParallelDims, parameters: Fullest) -> Num:
    """Parameters that one rank exchanges with its peers in the other sites."""
    return parameters.dense / dims.replicas + parameters.expert / dims.expert_replicas


def outer_sent_bytes(dims: ParallelDims, parameters: Fullest) -> Num:
    """Bytes that one rank sends between sites in an outer exchange: 2 (M - 1)/M of its part."""
    part = _part(dims, parameters) * outer_bytes(dims)
    return 2.0 * (dims.sites - 1.0) / dims.sites * part


def _exchange_s(context: Context, dims: ParallelDims, parameters: Fullest) -> Num:
    """One outer exchange alone: all-reduce of each rank's part, then a gather inside the site."""
    part = _part(dims, parameters) * outer_bytes(dims)
    between_s = collectives.all_reduce_s(part, axis_span(context, dims, "sites"))
    gathered_s = collectives.all_gather_s(
        parameters.dense * context.activation_bytes, axis_span(context, dims, "replicas")
    )
    if context.spec.model.moe is not None:
        gathered_s = gathered_s + collectives.all_gather_s(
            parameters.expert * context.activation_bytes,
            axis_span(context, dims, "expert replicas"),
        )
    return between_s + np.where(dims.zero >= 3, 0.0, gathered_s)


def outer_terms(
    context: Context, dims: ParallelDims, parameters: Fullest, compute_s: Num, on_host: Num
) -> list[Term]:
    """Price a step's share of the outer exchange and of the outer optimizer.

        exposed = max(0, c - 2/3 k) / H,   hidden = (c - exposed) / H

    Parameters
    ----------
    parameters : of the fullest stage, which sets the time
    compute_s  : k, of one step, that an exchange may run beside
    on_host    : whether optimizer states live in the host's memory

    Notes
    -----
    The outer optimizer is SGD with momentum on fp32 states: its traffic over memory bandwidth,
    over the host's where optimizer states live there.
    Source: Douillard et al., DiLoCo, 2023 (arXiv 2311.08105); overlap: `costmodels.local_sgd`.
    """
    local = dims.consistency == LOCAL
    if not local.any():
        return []
    steps = np.maximum(dims.apart, 1.0)
    alone_s = _exchange_s(context, dims, parameters)
    shown_s = outer_exposed_s(alone_s, compute_s, HIDDEN_FRAC)
    mine = parameters.dense / dims.shards + parameters.expert / dims.expert_shards
    traffic = mine * (OUTER_STATE_BYTES + context.activation_bytes)
    rate = context.cluster.profile.memory_bytes_per_s.value
    rate = rate * context.stack.family.optimizer_efficiency.value
    down_up = 2.0 * mine * context.activation_bytes / context.rates.host_bytes_per_s
    update_s = np.where(on_host > 0, traffic / HOST_ADAM_BYTES_PER_S + down_up, traffic / rate)
    return [
        Term(
            "outer exchange", "dp", np.where(local, shown_s / steps, 0.0),
            "consistency.outer_terms; collectives; overlap assumed",
            np.where(local, (alone_s - shown_s) / steps, 0.0),
        ),
        Term(
            "outer optimizer", "hbm", np.where(local, update_s / steps, 0.0),
            "outer states over memory bandwidth, the host's where they live there",
        ),
    ]  # fmt: skip


def loosened(
    context: Context,
    dims: ParallelDims,
    parameters: Fullest,
    shared: Sharing,
    compute_s: Num,
    layers: Num,
) -> Sharing:
    """Hide the exchange of gradients under the compute of the steps that it may lag behind.

        exposed = max(0, max(c without latency, c / s) - k)

    Parameters
    ----------
    shared    : the exchange of the same rows, synchronous
    compute_s : k, of one step, that the exchange may run beside
    layers    : of a stage, as `sharing.share` takes it

    Notes
    -----
    In steady state the links carry one whole exchange a step: more staleness hides latency and
    jitter, never bandwidth. Weights that zero 3 gathers are needed at once and hide as ever;
    below it, the gather of updated weights is a part of the exchange.
    """
    loose = dims.consistency >= STALE
    if not loose.any():
        return shared
    levels = tuple(replace(level, latency_s=0.0) for level in context.cluster.levels)
    near = replace(context, cluster=replace(context.cluster, levels=levels))
    busy_s, _ = _exchanged_s(dims, share(near, dims, parameters, 0.0, 0.0, layers))
    whole_s, gathers = _exchanged_s(dims, shared)
    lag = np.where(dims.consistency == ASYNCHRONOUS, np.inf, np.maximum(dims.apart, 1.0))
    free_s = np.maximum(0.0, compute_s - np.where(gathers, 0.0, shared.gather_hidden_s))
    shown_s = np.maximum(0.0, np.maximum(busy_s, whole_s / lag) - free_s)
    frac = np.minimum(1.0, shown_s / np.maximum(whole_s, 1e-300))
    reduce_s = shared.reduce_exposed_s + shared.reduce_hidden_s
    gather_s = shared.gather_exposed_s + shared.gather_hidden_s
    gathers = loose & gathers
    return Sharing(
        np.where(loose, frac * reduce_s, shared.reduce_exposed_s),
        np.where(loose, reduce_s - frac * reduce_s, shared.reduce_hidden_s),
        np.where(gathers, frac * gather_s, shared.gather_exposed_s),
        np.where(gathers, gather_s - frac * gather_s, shared.gather_hidden_s),
        shared.across_exposed_s,
        shared.across_hidden_s,
    )


def _exchanged_s(dims: ParallelDims, shared: Sharing) -> tuple[Num, NDArray[np.bool_]]:
    """Seconds of the exchange that may lag, and where the gather of weights is a part of it."""
    gathers = np.asarray(dims.zero < 3)
    gather_s = np.where(gathers, shared.gather_exposed_s + shared.gather_hidden_s, 0.0)
    return shared.reduce_exposed_s + shared.reduce_hidden_s + gather_s, gathers


def felt_doublings(dims: ParallelDims, hosts: Num) -> Num:
    """Doublings of machines whose jitter a step feels.

        synchronous   log2 n
        local_sgd     log2(n / M) + log2(M) / sqrt(H)
        stale         log2(n) / sqrt(1 + s)
        asynchronous  0

    Notes
    -----
    Assumed form (`costmodels.local_sgd.shared_jitter`); of the published stale-synchronous systems
    no speed-up was read that could be held against it.
    """
    doublings = np.log2(np.maximum(1.0, hosts))
    kind = dims.consistency
    if not (kind > 0).any():
        return doublings
    inside = np.log2(np.maximum(1.0, hosts / dims.sites))
    local = inside + shared_jitter(doublings - inside, dims.apart)
    felt = np.where(kind == LOCAL, local, doublings)
    felt = np.where(kind == STALE, shared_jitter(doublings, 1.0 + dims.apart), felt)
    return np.where(kind == ASYNCHRONOUS, 0.0, felt)
