"""Meshes of pools of unlike devices, combined to one pipeline, and the step each may reach.

Every mesh of each pool is taken with every mesh of the others that has the same replicas and the
same common choices. Each combination is bounded by the pace that all its stages reach together.
Which layers a stage gets, and what a plan then costs, is `pool_stages`'.

Parts: `COMMON`; `PoolMeshes`, `meshes_of`; `Chain`, `chains_over`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import ONE_F_ONE_B
from costmodels.units import Column
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training.candidates import candidates
from planner.workloads.training.context import Context, make
from planner.workloads.training.dealing import paces
from planner.workloads.training.pool_bound import Work, combined_s, left_out_s
from planner.workloads.training.pools import beside
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.stage_lines import StageLines, stage_lines

__all__ = ["COMMON", "Chain", "PoolMeshes", "chains_over", "meshes_of"]

COMMON = ("cp", "cp_comm", "ep", "etp", "zero", "order")
"""Choices that hold for all stages."""
JOINED = (*COMMON, "dp", "micro_batch")
"""What the meshes of the pools of one pipeline agree in."""
MOST_STAGES = 16
"""Stages that a pool holds at most, where the job does not pin more."""
MOST_COMBINED, MOST_DEALT = 256, 48
"""Combinations of one common choice that are bounded; of all, those that are dealt layers, best
bound first."""


@dataclass(frozen=True, slots=True)
class PoolMeshes:
    """The meshes that a pool may run its stretch with."""

    job: Job[TrainingSpec]
    context: Context
    dims: ParallelDims
    lines: StageLines
    layers: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Chain:
    """One combination: the pools in forward order, a row of each, and the step it may reach.

    `bound_s`: no dealing of layers makes its step shorter; `reach_s`: about what it is.
    """

    order: tuple[int, ...]
    rows: tuple[int, ...]
    bound_s: float
    reach_s: float


def meshes_of(job: Job[TrainingSpec], cluster: Cluster, pool: Cluster) -> PoolMeshes:
    """List a pool's meshes: those of a job that it had alone, whatever memory that would take."""
    context = replace(make(job, pool), beside=beside(cluster, pool, chained=True))
    dims, _ = candidates(job, replace(context, memory_bytes=np.inf))
    supports = context.stack.supports
    may = (dims.vpp == 1) & (dims.schedule == ONE_F_ONE_B) & (dims.consistency == 0)
    may &= dims.zero_group == dims.replicas
    if job.strategy.zero is None:
        may &= np.isin(dims.zero, supports.pipeline_zero)
    if job.strategy.pp is None:
        may &= supports.pipeline & (dims.pp <= MOST_STAGES)
    dims = dims.take(np.asarray(may))
    pinned = context.stagings[0].layers if context.stagings else None
    lines = stage_lines(context, dims)
    return PoolMeshes(job, context, dims, lines, pinned)


def chains_over(
    pools: Sequence[PoolMeshes],
    batch: int,
    forward: Sequence[int] | None,
    totals: Sequence[int] | None,
    limit_memory: bool,
    beat_s: float,
) -> tuple[list[Chain], float]:
    """Return the combinations worth dealing layers, best first, and what bounds every pipeline.

    Parameters
    ----------
    forward : the pools' order in the pipeline, where it is pinned
    totals  : stages that the pipeline may have, where that is pinned
    beat_s  : a step that is reached already: what cannot be shorter is left out
    """
    orders = [tuple(forward)] if forward else list(itertools.permutations(range(len(pools))))
    combined, microbatches, least_s = _combined(pools, batch)
    if totals is not None:
        held = np.sum([p.dims.pp[combined[:, i]] for i, p in enumerate(pools)], axis=0)
        may = np.isin(held, totals)
        combined, microbatches = combined[may], microbatches[may]
    found: list[Chain] = []
    for order in orders:
        made, bound_s = _bounded(pools, order, combined, microbatches, limit_memory)
        found += [chain for chain in made if chain.bound_s < beat_s]
        least_s = min(least_s, bound_s)
    return sorted(found, key=lambda c: (c.reach_s, c.order, c.rows))[:MOST_DEALT], least_s


def _combined(pools: Sequence[PoolMeshes], batch: int) -> tuple[NDArray[np.intp], Column, float]:
    """Combine the rows of the pools that agree: (combinations, pools), and their microbatches.

    Last: what no combination that is left out, because there are too many, makes its step shorter
    than.
    """
    each_rows = [_rows_of(pool.dims) for pool in pools]
    work = [Work.of(pool.context, pool.lines, pool.dims) for pool in pools]
    shared = set.intersection(*(set(rows_of) for rows_of in each_rows))
    made, counts, left_s = [np.zeros((0, len(pools)), np.intp)], [np.zeros(0)], np.inf
    most = int(MOST_COMBINED ** (1.0 / len(pools)) + 1e-9)
    for key in sorted(shared):
        microbatches = batch / (key[-2] * key[-1])
        if microbatches != np.floor(microbatches):
            continue
        rows = [rows_of[key] for rows_of in each_rows]
        every = [_fastest(pool, own) for pool, own in zip(pools, rows, strict=True)]
        left_s = min(left_s, microbatches * left_out_s(work, every, most))
        best = [each[:most] for each in every]
        made.append(np.array(list(itertools.product(*best)), np.intp))
        counts.append(np.full(len(made[-1]), microbatches))
    return np.concatenate(made), np.concatenate(counts), left_s


def _rows_of(dims: ParallelDims) -> dict[tuple[float, ...], NDArray[np.intp]]:
    """Return the rows of every common choice, ascending."""
    if not len(dims):
        return {}
    keys = np.stack([getattr(dims, name) for name in JOINED], axis=1)
    few, inverse = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(inverse.ravel()))[:-1])
    return {tuple(key): rows for key, rows in zip(few.tolist(), parts, strict=True)}


def _fastest(pool: PoolMeshes, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows by how fast they take layers, all stages of the pool together."""
    each_s = pool.lines.layer_s[:, rows].mean(axis=0) / pool.dims.pp[rows]
    return np.asarray(rows[np.argsort(each_s, kind="stable")])


def _bounded(
    pools: Sequence[PoolMeshes],
    order: tuple[int, ...],
    combined: NDArray[np.intp],
    microbatches: Column,
    limit_memory: bool,
) -> tuple[list[Chain], float]:
    """Give the combinations whose memory may hold all layers, best first, and their least bound.

    At pace T a stage with fixed time a, time b for a layer and room for r of them holds at most
    min(r, (T - a) / b) layers; the least T at which all stages together hold all layers bounds the
    pace. A step is that for each microbatch, and once through all stages.
    """
    if not len(combined):
        return [], np.inf
    layers = float(pools[0].context.spec.model.layers)
    total = np.sum([p.dims.pp[combined[:, i]] for i, p in enumerate(pools)], axis=0)
    start = np.zeros(len(combined))
    fixed_s, layer_s, room = [], [], []
    for place in order:
        pool, row = pools[place], combined[:, place]
        stages, each_s = pool.dims.pp[row], pool.lines.layer_s[:, row].mean(axis=0)
        for stage in range(int(stages.max(initial=0.0))):
            held = pool.lines.rooms(pool.context, row, start + stage, total)
            held = held if limit_memory else np.full(len(row), layers)
            room.append(np.where(stage < stages, held, 0.0))
            fixed_s.append(pool.lines.fixed_s[row])
            layer_s.append(each_s)
        start = start + stages
    rooms = np.array(room)
    may = np.flatnonzero((total <= layers) & (rooms.sum(axis=0) >= layers))
    pace_s = paces(np.array(fixed_s)[:, may], np.array(layer_s)[:, may], rooms[:, may], layers)
    bound_s = microbatches[may] * pace_s
    reach_s = bound_s + (total[may] - 1.0) * pace_s
    work = [Work.of(pool.context, pool.lines, pool.dims) for pool in pools]
    least_s = combined_s(
        work, combined[may], microbatches[may], rooms[:, may], np.array(layer_s)[:, may]
    )
    chains = [
        Chain(order, tuple(map(int, combined[may[i]])), float(bound_s[i]), float(reach_s[i]))
        for i in np.argsort(reach_s, kind="stable")[:MOST_DEALT]
    ]
    return chains, float(np.min(least_s, initial=np.inf))
