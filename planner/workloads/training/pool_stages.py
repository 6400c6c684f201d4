"""One pipeline over pools of unlike devices, end to end: which stages and layers each pool holds.

The best combinations of the pools' meshes, in every order (`pool_chains`), are dealt their layers
(`dealing`). The plans are then priced as all plans are.

Parts: `end_to_end`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodels.pipeline import ONE_F_ONE_B
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training.beside import Stretch
from planner.workloads.training.context import Part
from planner.workloads.training.cost import memory_of
from planner.workloads.training.dealing import dealt
from planner.workloads.training.pool_chains import COMMON, Chain, PoolMeshes, chains_over, meshes_of
from planner.workloads.training.pools import PoolPlan, over
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.staging import Staging

__all__ = ["Chains", "end_to_end"]

MESH = ("tp", "dp", "micro_batch", "recompute")
"""What makes a pool's mesh worth pricing beside others, its layers alike."""
KEPT = 2
"""Plans that are kept."""
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
    pools = [meshes_of(job, cluster, pool) for job, pool in zip(jobs, cluster.pools, strict=True)]
    if not all(len(pool.dims) for pool in pools):
        return Chains((), 0, 0, np.inf)
    chains, least_s = chains_over(pools, batch, forward, totals, limit_memory, beat_s)
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
    pools: Sequence[PoolMeshes],
    chain: Chain,
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


def _dealt(
    pools: Sequence[PoolMeshes], chain: Chain, limit_memory: bool
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
    pools: Sequence[PoolMeshes],
    chain: Chain,
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
