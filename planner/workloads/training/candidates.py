"""Every mesh and every choice that a training job may take on a cluster, as columns.

Axes are crossed one after the other; after each, the rules that can already judge drop rows, so
that the table never grows to the full product. A pinned key takes its own values only and skips
the rules of convenience (powers of two, even splits, nodes filled), never those of possibility.

Parts: `candidates`.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from hardware_profiles.stack import Supports
from planner.dims import CODES, OFFLOAD, ORDERS, ParallelDims
from planner.job import Job
from planner.table import Table
from planner.workloads.training.agreement import choose_apart, choose_kind
from planner.workloads.training.context import Context
from planner.workloads.training.degrees import (
    choose_degrees,
    choose_experts,
    divisors,
    powers,
    whole,
)
from planner.workloads.training.inside import keep_inside
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.stages import ENDS
from planner.workloads.training.staging import mode_read
from planner.workloads.training.states import least_state_bytes
from planner.workloads.training.wants import Wants

__all__ = ["candidates"]

COARSE_MICRO_BATCH = 8
"""The largest on a coarse grid."""
MAX_MICRO_BATCH = 32
ODD_MICRO_BATCH = ((400, MAX_MICRO_BATCH), (1000, 6), (math.inf, 4))
"""Meshes up to which sizes that are no power of two are tried, and up to which size then."""
FEW_DIVISORS = 8
"""A batch of no more divisors (100 has 7 up to 32, 128 has 6) is cut by all of them."""
UNEVEN = 0.25
"""Most by which the fullest chunk may exceed the mean before virtual stages are not tried."""


def candidates(
    job: Job[TrainingSpec], context: Context, *, coarse: bool = False
) -> tuple[ParallelDims, dict[str, int]]:
    """List what may be tried.

    Parameters
    ----------
    coarse : leave out what `neighbours` tries again near the best plans (shard groups that are
             not all ranks, most numbers of virtual stages, large micro-batches) and what rarely
             pays (context parallelism of short sequences, experts split by tensor ranks)

    Returns
    -------
    dims  : columns of candidates that break no rule
    tally : rows that fell to each rule, in the order in which rules ran
    """
    wants = Wants(job.strategy, coarse)
    table = Table(devices=float(context.cluster.devices))
    steps: tuple[Step, ...] = (
        choose_degrees, choose_kind, choose_experts, _states, _batch, _schedule, _sharding,
        _savings, choose_apart, _placement,
    )  # fmt: skip
    for step in steps:
        step(table, job, context, wants)
        if not len(table):
            break
    if not len(table):
        empty = {name: np.zeros(0) for name in ParallelDims.names()}
        return ParallelDims(**empty), table.tally
    return ParallelDims.from_columns(table.columns), table.tally


Step = Callable[[Table, Job[TrainingSpec], Context, Wants], None]


def _states(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    """Drop meshes whose weights and gradients alone cannot fit, if any mesh is left then."""
    if "parameters" in (job.strategy.offload or ()):
        return
    supports = context.stack.supports
    most = [max(wants.values("zero", zeros)) for zeros in (supports.zero, supports.pipeline_zero)]
    zero = np.where(table["pp"] > 1, most[1], most[0])
    fits = least_state_bytes(context, table.columns, zero) <= context.memory_limit_bytes
    if fits.any():
        table.require("weights and gradients fit in memory", fits)


def _batch(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    batch = float(context.spec.global_batch)
    table.require("dp divides the global batch", whole(batch / table["dp"]))
    free = _micro_batches(int(batch), len(table), wants.coarse)
    table.cross("micro_batch", wants.values("micro_batch", free))
    table.derive("microbatches", batch / (table["dp"] * table["micro_batch"]))
    table.require("microbatches are whole", whole(table["microbatches"]))
    if not wants.free("microbatches"):
        pinned = wants.values("microbatches", ())
        table.require("microbatches as pinned", np.isin(table["microbatches"], pinned))


def _micro_batches(batch: int, rows: int, coarse: bool) -> list[float]:
    """Sizes to try: powers of two, and the fewer meshes there are the more divisors of a batch."""
    if coarse:
        return powers(COARSE_MICRO_BATCH)
    odd = next(size for meshes, size in ODD_MICRO_BATCH if rows <= meshes)
    every = divisors(batch, MAX_MICRO_BATCH)
    few = every if len(every) <= FEW_DIVISORS else divisors(batch, odd)
    return sorted({*powers(MAX_MICRO_BATCH), *few})


def _schedule(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    supports = context.stack.supports
    free = [s for s in supports.schedules if s != "gpipe"]  # 1f1b: same time, less memory
    if not wants.free("vpp") and min(wants.values("vpp", ())) > 1 and wants.free("schedule"):
        free = ["interleaved"]
    codes = wants.codes("schedule", free)
    piped = table["pp"] > 1
    single = codes if not wants.free("schedule") else [float(CODES["schedule"].index("1f1b"))]
    options = [(code, piped) for code in codes]
    options += [(code, ~piped) for code in single]
    table.choose("schedule", options)
    _virtual(table, job, context, wants)


def _virtual(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    layers = context.spec.model.layers
    code = float(CODES["schedule"].index("interleaved"))
    if 1.0 not in wants.values("vpp", [1.0]):
        table.require("vpp above 1 needs an interleaved pipeline", table["schedule"] == code)
        if not len(table):
            return
    interleaved = table["schedule"] == code
    options: list[tuple[float, NDArray[np.bool_]]] = [(1.0, ~interleaved)]
    free = (2.0, 4.0, 8.0, 16.0) if wants.coarse else [float(v) for v in range(2, 25)]
    for vpp in wants.values("vpp", free):
        chunks = table["pp"] * vpp
        fits = interleaved & (chunks <= layers + ENDS)
        if wants.free("vpp"):
            even = wants.coarse | _even_enough(layers, table["pp"], chunks)
            fits = fits & (chunks <= layers) & (table["pp"] > 1) & even
        options.append((vpp, fits))
    table.choose("vpp", options)
    if wants.free("schedule") or wants.free("pp"):
        table.require(
            "interleaving needs microbatches in multiples of pp",
            (table["vpp"] == 1) | whole(table["microbatches"] / table["pp"]),
        )
    for pinned in context.stagings:
        table.require(
            "layers_per_stage has pp vpp entries", table["pp"] * table["vpp"] == len(pinned.layers)
        )
        if pinned.stages and len(table):
            table.require("stages has pp entries", table["pp"] == len(pinned.stages))


def _even_enough(layers: int, pp: Column, chunks: Column) -> NDArray[np.bool_]:
    """Chunks of equal size; where no number of virtual stages gives that, nearly equal ones."""
    even = whole(layers / chunks)
    possible = whole(layers / pp) & (layers / pp > 1)
    fullest = np.ceil(layers / chunks) * chunks / layers - 1.0
    return even | (~possible & (fullest <= UNEVEN))


def _sharding(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    supports: Supports = context.stack.supports
    piped = table["pp"] > 1
    if wants.free("zero"):
        single = [(float(z), ~piped) for z in supports.zero]
        table.choose("zero", [*single, *[(float(z), piped) for z in supports.pipeline_zero]])
    else:
        table.cross("zero", wants.values("zero", ()))
        if wants.free("pp"):
            unpiped = set(supports.zero) - set(supports.pipeline_zero)
            allowed = (table["pp"] <= 1) | ~np.isin(table["zero"], list(unpiped))
            table.require("the stack shards so much in no pipeline", allowed)
    replicas = table["dp"] * table["cp"] / table["sites"]
    always = np.ones(len(table), bool)
    if not wants.free("zero_group"):
        table.cross("zero_group", wants.values("zero_group", ()))
    else:
        options = [(replicas, always)]
        node = context.cluster.node_devices / table["tp"]
        for scale in (1.0, 8.0) if supports.partial_group and not wants.coarse else ():
            group = np.floor(node * scale)
            inside = (group > 1) & (group < replicas) & (table["zero"] > 0)
            # experts are shared by ranks of their own, as many times over as the rest
            experts = group * table["tp"] / (table["ep"] * table["etp"])
            shared = whole(replicas / np.maximum(group, 1.0)) & whole(experts)
            options.append((group, inside & shared))
        table.choose("zero_group", options)
    replicas = table["dp"] * table["cp"] / table["sites"]
    table.require("zero_group divides dp cp", whole(replicas / table["zero_group"]))


def _savings(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    allowed = job.strategy.allowed("recompute")
    listed = allowed if allowed is not None else context.stack.supports.recompute
    modes = [mode_read(mode) for mode in listed]
    if allowed is None and context.switches.flash_attention:
        # with fused attention nothing of its core is kept: recomputing it buys no memory
        modes = [mode for mode in modes if mode[0] != CODES["recompute"].index("selective")]
    table.cross("mode", [float(i) for i in range(len(modes))])
    index = table["mode"].astype(int)
    table.derive("recompute", np.array([float(m[0]) for m in modes])[index])
    table.derive("recompute_layers", np.array([m[1] for m in modes])[index])
    offload = job.strategy.offload or ()
    table.derive("lean", 0.0)
    table.derive("staging", float(len(context.stagings)))
    table.derive("offload", float(sum(1 << OFFLOAD.index(what) for what in offload)))


def _placement(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    """Lay out the axes: as pinned, in every order where levels are pinned, else as by default.

    The other orders are tried after the search, of all plans that one could make the best.
    """
    node = context.cluster.node_devices
    pinned, levels = job.strategy.mesh_order, job.strategy.placement or {}
    table.derive("order", float(ORDERS.index(tuple(pinned))) if pinned else 0.0)
    if levels:
        keep_inside(table, context, levels, free=not pinned)
        if not len(table):
            return
    if wants.free("tp"):
        innermost = np.array([order[0] == "tp" for order in ORDERS])[table["order"].astype(int)]
        table.require("tp stays inside a node", ~innermost | (table["tp"] <= node))
