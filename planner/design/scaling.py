"""How a plan scales: the same mesh with more and fewer data-parallel replicas.

The global batch stays, so this is strong scaling. Every point is priced by the plan's own cost
function; the point at the plan's device count is the plan's price.
"""

import dataclasses

import numpy as np

from costmodels.breakdown import Breakdown
from costmodels.units import Column
from planner.cluster.choices import cluster_of
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["scaling"]

COMMUNICATION = frozenset({"tp", "cp", "ep", "dp", "pp"})
COMPUTE = frozenset({"compute", "hbm", "host"})
MOST_POINTS = 14


def scaling(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
) -> dict[str, object]:
    """Price the plan at other device counts.

    Returns
    -------
    points            : devices, step_time_s, speedup (over one device at the rate of the fewest
                        devices here), efficiency, comm_to_compute (hidden time counted), fits
                        (in memory: fewer replicas share fewer shards)
    p_star            : devices with the shortest step
    comm_dominated_at : fewest devices at which communication takes as long as compute, or None
    """
    if context.parts:
        return _over_pools(context, dims)
    row = dims.row(0)
    slots = row["dp"] * row["microbatches"]  # replicas that the batch allows
    replicas = [float(d) for d in range(1, int(slots) + 1) if slots % d == 0]
    mesh = row["devices"] / row["dp"]
    devices = np.array(replicas) * mesh
    columns: dict[str, Column | float] = {**row}
    columns["dp"] = np.array(replicas)
    columns["devices"] = devices
    columns["microbatches"] = slots / np.array(replicas)
    columns |= _sites(row, np.array(replicas))
    whole = row["zero_group"] == row["dp"] * row["cp"] / row["sites"]
    inside = np.array(replicas) / np.asarray(columns["sites"]) * row["cp"]
    group = inside if whole else np.full(len(replicas), row["zero_group"])
    columns["zero_group"] = group
    points = ParallelDims.from_columns(columns)
    points = points.take(_possible(points) | (devices == row["devices"]))  # itself, as pinned
    largest = int(max(devices.max(), row["devices"]))
    profile = context.cluster.profile
    wide = cluster_of(job.hardware.model_copy(update={"slice": None}), profile, largest)
    if context.cluster.levels[0].kind == "torus":
        wide = dataclasses.replace(wide, levels=context.cluster.levels)
    price = training.cost(dataclasses.replace(context, cluster=wide), points)
    step = np.asarray(price.total_s)
    ratio = _ratio(price, len(points))
    fits = np.asarray(price.total_bytes) <= context.memory_limit_bytes
    speedup = points.devices[0] * step[0] / step
    keep = _spread(points.devices, row["devices"])
    dominated = np.flatnonzero(ratio >= 1.0)
    return {
        "points": [
            {
                "devices": int(points.devices[i]),
                "step_time_s": float(step[i]),
                "speedup": float(speedup[i]),
                "efficiency": float(speedup[i] / points.devices[i]),
                "comm_to_compute": float(ratio[i]),
                "fits": bool(fits[i]),
            }
            for i in keep
        ],
        "p_star": int(points.devices[int(np.argmin(step))]),
        "comm_dominated_at": int(points.devices[dominated[0]]) if len(dominated) else None,
        "note": "strong scaling: global batch fixed, data-parallel replicas varied",
    }


def _sites(row: dict[str, float], replicas: Column) -> dict[str, Column]:
    """Sites of a plan of local updates stay as large as they are; one site is synchronous."""
    if row["sites"] <= 1:
        return {}
    each = row["dp"] / row["sites"]
    one = replicas <= each
    return {
        "sites": np.where(one, 1.0, replicas / each),
        "consistency": np.where(one, 0.0, row["consistency"]),
        "apart": np.where(one, 0.0, row["apart"]),
    }


def _over_pools(context: training.Context, dims: ParallelDims) -> dict[str, object]:
    """Price each pool alone with the whole batch, its part of the plan as it is, and all together.

    A pool whose replicas and micro-batches do not divide the batch has no point; nor has one that
    holds a stretch of a pipeline.
    """
    batch = float(context.spec.global_batch)
    tried: list[tuple[training.Context, ParallelDims]] = []
    for part in context.parts:
        own = training.own_row(part, dims)
        microbatches = batch / (own.dp * own.micro_batch)
        whole = part.context.stretch is None
        if whole and microbatches[0] == np.floor(microbatches[0]):
            alone = dataclasses.replace(part.context, beside=None)
            tried.append((alone, dataclasses.replace(own, microbatches=microbatches)))
    points = {c.cluster.devices: training.times_of(c, row) for c, row in tried}
    points[context.cluster.devices] = training.times_of(context, dims)
    order = sorted(points)
    step = {devices: float(np.asarray(points[devices].total_s)[0]) for devices in order}
    first = order[0] * step[order[0]]
    ratio = {devices: float(_ratio(points[devices], 1)[0]) for devices in order}
    return {
        "points": [
            {
                "devices": devices,
                "step_time_s": step[devices],
                "speedup": first / step[devices],
                "efficiency": first / step[devices] / devices,
                "comm_to_compute": ratio[devices],
            }
            for devices in order
        ],
        "p_star": min(order, key=lambda devices: step[devices]),
        "comm_dominated_at": next((d for d in order if ratio[d] >= 1.0), None),
        "note": "each pool alone with the whole batch and its part of the plan, then all together",
    }


def _possible(points: ParallelDims) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Rows whose groups come out whole."""
    copies = points.replicas / points.zero_group
    experts = points.stage_ranks / (points.ep * points.etp)
    interleaved = (points.vpp == 1) | (points.microbatches % points.pp == 0)
    copies = np.where(points.sites == np.floor(points.sites), copies, 0.5)
    whole = (copies == np.floor(copies)) & (experts == np.floor(experts))
    return np.asarray(whole & interleaved)


def _ratio(price: Breakdown, count: int) -> Column:
    comm, compute = np.zeros(count), np.zeros(count)
    for term in price.terms:
        if term.kind in COMMUNICATION:
            comm = comm + term.time_s + term.hidden_s
        elif term.kind in COMPUTE:
            compute = compute + term.time_s
    return np.asarray(comm / compute)


def _spread(devices: Column, here: float) -> list[int]:
    """At most MOST_POINTS points, even in the logarithm, the plan's own count among them."""
    if len(devices) <= MOST_POINTS:
        return list(range(len(devices)))
    wanted = np.geomspace(devices[0], devices[-1], MOST_POINTS - 1)
    picked = {int(np.argmin(np.abs(np.log(devices / w)))) for w in wanted}
    picked |= {int(i) for i in np.flatnonzero(devices == here)}
    return sorted(picked)
