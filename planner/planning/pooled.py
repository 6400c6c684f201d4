"""Searching a job that may have pools of unlike devices: each pool alone, and pools together.

`search` is the one way from any job to ranked plans. What the search of one kind of device gives
is `planner.planning.homogeneous`'s; how a batch is shared among pools is
`planner.workloads.training`'s. Here is only who is searched with whom, and which job a chosen plan
is of.

Parts: `search`, `resolved`.
"""

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from planner.cluster.choices import pool_cluster
from planner.job import Job, Pool
from planner.planning.homogeneous import search as search_one
from planner.planning.pricing import arithmetic_bound, objective_of, worth_of_a_step
from planner.planning.searched import DEFAULTS, Searched, SearchOptions
from planner.search.columns import Found
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["resolved", "search"]


def search(
    job: Job[TrainingSpec], options: SearchOptions = DEFAULTS, *, staged: bool = True
) -> list[Searched]:
    """Search every cluster that the job allows; of a job over pools, every choice of pools.

    `staged`: stages of a pipeline may differ where the job does not pin them.

    Pools that a job must use together are searched alone as well, for comparison: such results
    are not `eligible`. Pinned stages say which pools work together, and nothing else is searched.
    """
    pools = job.hardware.pools
    if pools is None:
        return search_one(job, options, staged=staged)
    if job.strategy.stages is not None:
        named = {stage.pool for stage in job.strategy.stages}
        teams = [tuple(pool for pool in pools if pool.name in named)]
    else:
        sizes = {"one": [1], "all": [1, len(pools)], "any": range(1, len(pools) + 1)}
        teams = [t for k in dict.fromkeys(sizes[job.hardware.use]) for t in combinations(pools, k)]
    results: list[Searched] = []
    for team in teams:
        if len(team) > 1:
            results += _together(job, team, options)
            continue
        alone = _alone(job, team[0], options, staged=staged)
        eligible = job.hardware.use != "all" or len(pools) == 1
        results += [dataclasses.replace(r, eligible=eligible) for r in alone]
    return results


def resolved(job: Job[TrainingSpec], best: Searched) -> Job[TrainingSpec]:
    """Return the job with the pools that a plan uses: of one pool, the job of its system alone."""
    if job.hardware.pools is None:
        return job
    names = {cluster.name for cluster in best.context.cluster.each}
    pools = tuple(pool for pool in job.hardware.pools if pool.name in names)
    if len(pools) == 1:
        return _job_of(job, pools[0])
    hardware = job.hardware.model_copy(update={"pools": pools, "use": "all"})
    return job.model_copy(update={"hardware": hardware})


def _job_of(job: Job[TrainingSpec], pool: Pool) -> Job[TrainingSpec]:
    """Return the job as if it had one pool, with what its strategy pins there."""
    pinned = [s for stages in training.pipelines(job) for s in stages if s.pool == pool.name]
    strategy = training.pool_strategy(job.strategy, pinned)
    return job.model_copy(update={"hardware": job.hardware.of_pool(pool), "strategy": strategy})


def _alone(
    job: Job[TrainingSpec], pool: Pool, options: SearchOptions, *, staged: bool
) -> list[Searched]:
    """Search one pool as an ordinary job, virtual stages and all."""
    own = _job_of(job, pool)
    if job.strategy.vpp is None:
        own = own.model_copy(update={"strategy": own.strategy.model_copy(update={"vpp": None})})
    return [_named(result, pool.name) for result in search_one(own, options, staged=staged)]


def _named(result: Searched, name: str) -> Searched:
    cluster = dataclasses.replace(result.context.cluster, name=name)
    return dataclasses.replace(result, context=dataclasses.replace(result.context, cluster=cluster))


def _together(
    job: Job[TrainingSpec], team: Sequence[Pool], options: SearchOptions
) -> list[Searched]:
    """Search plans over several pools; none where a time limit has passed."""
    if options.passed:
        return []
    cluster = pool_cluster(job.hardware, team)
    if options.progress:
        options.progress(cluster.name, 0, 1)
    jobs = [_job_of(job, pool) for pool in team]
    batch, forward = job.workload.global_batch, _forward(job, team)
    plans: list[training.PoolPlan] = []
    tried = over_memory = 0
    least_s = np.inf
    if forward is None:
        shares = training.side_by_side(
            jobs, cluster, batch, microbatches=_microbatches(job, team), limit_memory=options.memory
        )
        plans += shares.plans
        tried, over_memory, least_s = shares.tried, shares.over_memory, shares.least_s
    if forward is not None or job.strategy.stages is None:
        totals = job.strategy.allowed("pp") if forward is None else None
        chains = training.end_to_end(
            jobs if totals is None else [_any_depth(each) for each in jobs],
            cluster,
            batch,
            forward=forward,
            totals=None if totals is None else [int(str(pp)) for pp in totals],
            limit_memory=options.memory,
            beat_s=min((plan.step_s for plan in plans), default=np.inf),
        )
        plans += chains.plans
        tried, over_memory = tried + chains.tried, over_memory + chains.over_memory
        least_s = min(least_s, chains.least_s)
    return _ranked(job, plans, tried, over_memory, least_s)


def _any_depth(job: Job[TrainingSpec]) -> Job[TrainingSpec]:
    """Return a pool's job with any number of stages: those of all pools together are pinned."""
    return job.model_copy(update={"strategy": job.strategy.model_copy(update={"pp": None})})


def _ranked(
    job: Job[TrainingSpec],
    plans: Sequence[training.PoolPlan],
    tried: int,
    over_memory: int,
    least_s: float,
) -> list[Searched]:
    """Price plans over several pools and make one result of them, the best first.

    `least_s`: no plan of the space has a shorter step.
    """
    values = [float(objective_of(job, p.context, p.dims)(np.zeros(1, np.intp))[0]) for p in plans]
    order = [i for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    if not order:
        return []
    best = plans[order[0]]
    rivals = tuple((plans[i].context, plans[i].dims) for i in order[1:])
    one, value = np.zeros(1, np.intp), values[order[0]]
    bound = max(arithmetic_bound(job, best.context), worth_of_a_step(job, best.context) * least_s)
    found = Found(
        one, np.array([value]), one, tried - over_memory, over_memory, np.inf, -1,
        min(value, bound), "optimal",
    )  # fmt: skip
    return [Searched(best.context, best.dims, {}, found, tried, rivals)]


def _forward(job: Job[TrainingSpec], team: Sequence[Pool]) -> list[int] | None:
    """Return the pools of one pinned pipeline that crosses them, in forward order."""
    made = training.pipelines(job)
    names = list(dict.fromkeys(stage.pool for stage in made[0])) if len(made) == 1 else []
    if len(names) < 2:
        return None
    return [next(i for i, pool in enumerate(team) if pool.name == name) for name in names]


def _microbatches(job: Job[TrainingSpec], team: Sequence[Pool]) -> list[int | None]:
    """Microbatches that the stages of each pool pin."""
    first = {stages[0].pool: stages[0].microbatches for stages in training.pipelines(job)}
    return [first.get(pool.name) for pool in team]
