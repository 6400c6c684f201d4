"""One pipeline over pools of unlike devices, end to end: which stages and layers each pool holds.

Every mesh of each pool is taken with every mesh of the others that has the same replicas and the
same common choices, the pools in every order. Each combination is bounded by the pace that all its
stages reach together, and the best are dealt their layers (see `dealing`). The plans are then
priced as all plans are.

Parts: `end_to_end`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import ONE_F_ONE_B
from costmodels.units import Column
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training.beside import Stretch
from planner.workloads.training.candidates import candidates
from planner.workloads.training.context import Context, Part, make
from planner.workloads.training.cost import memory_of
from planner.workloads.training.dealing import dealt, paces
from planner.workloads.training.pool_bound import Work, combined_s, left_out_s
from planner.workloads.training.pools import PoolPlan, beside, over
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.stage_lines import StageLines, stage_lines
from planner.workloads.training.staging import Staging

__all__ = ["Chains", "end_to_end"]

COMMON = ("cp", "cp_comm", "ep", "etp", "zero", "order")
"""Choices that hold for all stages."""
MESH = ("tp", "dp", "micro_batch", "recompute")
"""What makes a pool's mesh worth pricing beside others, its layers alike."""
JOINED = (*COMMON, "dp", "micro_batch")
"""What the meshes of the pools of one pipeline agree in."""
MOST_STAGES = 16
"""Stages that a pool holds at most, where the job does not pin more."""
MOST_COMBINED, MOST_DEALT, KEPT = 256, 48, 2
"""Combinations of one common choice that are bounded; of all, those that are dealt layers, best
bound first; and plans kept."""
MOST_MOVES, NEAR = 3, 1.05
"""Moves of a layer tried in turn, where the plan is this near to the best step known."""


@dataclass(frozen=True, slots=True)
class Chains:
    """What the search of pipelines over pools found: plans, best bound first, and how many.

    `least_s`: no pipeline over the pools has a shorter step; inf: none fits.
    """

    plans: tuple[PoolPlan, ...]
    tried: int
    over_memory: int
    least_s: float


@dataclass(frozen=True, slots=True)
class _Pool:
    """The meshes that a pool may run its stretch with."""

    job: Job[TrainingSpec]
    context: Context
    dims: ParallelDims
    lines: StageLines
    layers: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class _Chain:
    """One combination: the pools in forward order, a row of each, and the step it may reach.

    `bound_s`: no dealing of layers makes its step shorter; `reach_s`: about what it is.
    """

    order: tuple[int, ...]
    rows: tuple[int, ...]
    bound_s: float
    reach_s: float


def end_to_end(
    jobs: Sequence[Job[TrainingSpec]],
    cluster: Cluster,
    batch: int,
    *,
    forward: Sequence[int] | None = None,
    totals: Sequence[int] | None = None,
    limit_memory: bool = True,
    beat_s: float = np.inf,
) -> Chains:
    """Search pipelines that cross all pools of a cluster.

    Parameters
    ----------
    jobs    : the job as each pool sees it, with what is pinned of its stages
    batch   : sequences of a step
    forward : the pools' order in the pipeline, where it is pinned
    totals  : stages that the pipeline may have, where that is pinned
    beat_s  : a step that is reached already: what cannot be shorter is left out
    """
    pools = [_pool(job, cluster, pool) for job, pool in zip(jobs, cluster.pools, strict=True)]
    if not all(len(pool.dims) for pool in pools):
        return Chains((), 0, 0, np.inf)
    orders = [tuple(forward)] if forward else list(itertools.permutations(range(len(pools))))
    combined, microbatches, left_s = _combined(pools, batch)
    if totals is not None:
        held = np.sum([p.dims.pp[combined[:, i]] for i, p in enumerate(pools)], axis=0)
        may = np.isin(held, totals)
        combined, microbatches = combined[may], microbatches[may]
    found, least_s = list[_Chain](), left_s
    for order in orders:
        made, bound_s = _chains(pools, order, combined, microbatches, limit_memory)
        found += [chain for chain in made if chain.bound_s < beat_s]
        least_s = min(least_s, bound_s)
    chains = sorted(found, key=lambda c: (c.reach_s, c.order, c.rows))[:MOST_DEALT]
    plans: list[PoolPlan] = []
    seen: set[tuple[object, ...]] = set()
    over_memory = 0
    for chain in chains:
        layers = _dealt(pools, chain, limit_memory)
        parts, common = _parts(cluster, pools, chain, layers, batch) if layers else ([], {})
        if not parts or (limit_memory and not _fits(parts, common)):
            over_memory += 1
            continue
        what = (layers, *(part.own[name] for part in parts for name in MESH))
        if layers and what not in seen:
            seen.add(what)
            plan = over(cluster, parts, common)
            near = plan.step_s < NEAR * beat_s and not plans
            if near and not any(pool.layers for pool in pools):
                plan = _polished(cluster, pools, chain, layers, batch, limit_memory)
            plans.append(plan)
        if len(plans) == KEPT:
            break
    least_s = min([least_s, *(plan.step_s for plan in plans)])
    return Chains(tuple(plans), len(chains), over_memory, least_s)


def _polished(
    cluster: Cluster,
    pools: Sequence[_Pool],
    chain: _Chain,
    layers: tuple[tuple[int, ...], ...],
    batch: int,
    limit_memory: bool,
) -> PoolPlan:
    """Move single layers from pool to pool while that makes the plan's step shorter.

    Dealing seeks the fastest pace; the step also has the sum of all stages and the exchange of
    gradients, which a layer more or less in a pool can change by a little.
    """
    best = over(cluster, *_parts(cluster, pools, chain, layers, batch))
    step_s = best.step_s
    for _ in range(MOST_MOVES):
        moved = []
        for left, right in itertools.permutations(range(len(pools)), 2):
            if max(layers[left]) < 2:
                continue
            tried = list(layers)
            tried[left] = _one_more(layers[left], -1)
            tried[right] = _one_more(layers[right], 1)
            parts, common = _parts(cluster, pools, chain, tried, batch)
            if not limit_memory or _fits(parts, common):
                plan = over(cluster, parts, common)
                moved.append((plan.step_s, tuple(tried), plan))
        if not moved or min(each[0] for each in moved) >= step_s:
            break
        step_s, layers, best = min(moved, key=lambda each: each[:2])
    return best


def _one_more(layers: tuple[int, ...], change: int) -> tuple[int, ...]:
    """Give the emptiest stage a layer, or take one from the fullest."""
    place = layers.index(min(layers) if change > 0 else max(layers))
    return (*layers[:place], layers[place] + change, *layers[place + 1 :])


def _pool(job: Job[TrainingSpec], cluster: Cluster, pool: Cluster) -> _Pool:
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
    return _Pool(job, context, dims, lines, pinned)


def _combined(pools: Sequence[_Pool], batch: int) -> tuple[NDArray[np.intp], Column, float]:
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


def _fastest(pool: _Pool, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows by how fast they take layers, all stages of the pool together."""
    each_s = pool.lines.layer_s[:, rows].mean(axis=0) / pool.dims.pp[rows]
    return np.asarray(rows[np.argsort(each_s, kind="stable")])


def _chains(
    pools: Sequence[_Pool],
    order: tuple[int, ...],
    combined: NDArray[np.intp],
    microbatches: Column,
    limit_memory: bool,
) -> tuple[list[_Chain], float]:
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
        _Chain(order, tuple(map(int, combined[may[i]])), float(bound_s[i]), float(reach_s[i]))
        for i in np.argsort(reach_s, kind="stable")[:MOST_DEALT]
    ]
    return chains, float(np.min(least_s, initial=np.inf))


def _dealt(
    pools: Sequence[_Pool], chain: _Chain, limit_memory: bool
) -> tuple[tuple[int, ...], ...] | None:
    """Deal the layers to the stages at the fastest pace that places all; of each pool its own."""
    if all(pool.layers is not None for pool in pools):
        return tuple(pool.layers or () for pool in pools)
    stages = [p for p in chain.order for _ in range(int(pools[p].dims.pp[chain.rows[p]]))]
    kinds = pools[0].context.kinds
    if len(stages) > len(kinds):
        return None
    room = [len(kinds)] * len(stages)
    if limit_memory:
        room = [
            int(pools[p].lines.rooms(pools[p].context, np.array([chain.rows[p]]),
                                     np.array([float(place)]), np.array([float(len(stages))]))[0])
            for place, p in enumerate(stages)
        ]  # fmt: skip
    costs = [
        pools[p].lines.seconds(chain.rows[p], place == 0, place == len(stages) - 1)
        for place, p in enumerate(stages)
    ]
    best = dealt(kinds, costs, room)
    if best is None:
        return None
    return tuple(
        tuple(n for n, p in zip(best, stages, strict=True) if p == pool)
        for pool in range(len(pools))
    )


def _parts(
    cluster: Cluster,
    pools: Sequence[_Pool],
    chain: _Chain,
    layers: Sequence[tuple[int, ...]],
    batch: int,
) -> tuple[list[Part], dict[str, float]]:
    """Make the parts of a chain, in the pools' own order, and the columns that they share."""
    total = sum(len(each) for each in layers)
    before: dict[int, tuple[int, int]] = {}
    for place, p in enumerate(chain.order):
        earlier = [layers[q] for q in chain.order[:place]]
        before[p] = sum(len(each) for each in earlier), sum(sum(each) for each in earlier)
    first = pools[0].dims.row(chain.rows[0])
    common = {name: first[name] for name in COMMON}
    common |= {"schedule": float(ONE_F_ONE_B), "vpp": 1.0, "sp": 0.0}
    parts = []
    for place, pool in enumerate(pools):
        own = pool.dims.row(chain.rows[place])
        common["sp"] = max(common["sp"], own["sp"])
        own = {name: value for name, value in own.items() if name not in common}
        own |= {"pp": float(total), "lean": 0.0, "staging": 1.0}
        own["sp"] = pool.dims.row(chain.rows[place])["sp"]
        own["microbatches"] = batch / (own["dp"] * own["micro_batch"])
        stages, dealt = before[place]
        stretch = Stretch(stages, len(layers[place]), total, dealt)
        given = pool.context.stagings or (Staging(layers[place]),)
        parts.append(Part(replace(pool.context, stretch=stretch, stagings=given), own))
    return parts, common


def _fits(parts: Sequence[Part], common: Mapping[str, float]) -> bool:
    """Tell whether every pool's stages are within its own limit."""
    for part in parts:
        held = memory_of(part.context, ParallelDims.from_columns({**common, **part.own}))
        if float(np.asarray(held.total_bytes)[0]) > part.context.memory_limit_bytes:
            return False
    return True
