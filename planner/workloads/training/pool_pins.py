"""What a job over several pools pins by stage: which pipelines, on which pools, with what.

`strategy.stages` lists stages in forward order; where the model's layers are complete, the next
entry begins the next pipeline. Each pipeline lies on one pool (side by side), or one pipeline
crosses all of them (end to end). Knows the job as written; prices nothing.

Parts: `pipelines`, `pool_strategy`, `check`.
"""

from collections.abc import Sequence
from itertools import groupby

from planner.errors import SpecError
from planner.job import Pool
from planner.strategy import Stage, Strategy
from planner.workloads.training.spec import TrainingJob

__all__ = ["check", "pipelines", "pool_strategy"]

KEY = "strategy.stages"
IN_EACH_POOL = ("dp", "microbatches", "zero_group", "layers_per_stage")
"""Keys that follow in each pool, and that only a plan's own strategy gives."""


def pipelines(job: TrainingJob) -> tuple[tuple[Stage, ...], ...]:
    """Cut the pinned stages where the model's layers are complete; empty where none are pinned.

    A stage without layers that follows in the same pool is the pipeline's last (it has the head).

    Raises
    ------
    SpecError : the layers of a pipeline do not add up
    """
    layers, made, held = job.workload.model.layers, [], 0
    current: list[Stage] = []
    for index, stage in enumerate(job.strategy.stages or ()):
        if held == layers and not (stage.layers == 0 and stage.pool == current[0].pool):
            made.append(tuple(current))
            current, held = [], 0
        current.append(stage)
        held += stage.layers
        if held > layers:
            said = f"the pipeline then holds {held} layers, but the model has {layers}"
            raise SpecError(said, key=f"{KEY}.{index}.layers")
    if held == layers:
        made.append(tuple(current))
    elif current:
        said = f"the last pipeline holds {held} layers, but the model has {layers}"
        raise SpecError(said, key=KEY)
    return tuple(made)


def pool_strategy(strategy: Strategy, stages: Sequence[Stage]) -> Strategy:
    """Return the strategy of a pool that runs one pipeline; of a free one without stages.

    A value that all stages share becomes the pipeline's own; recomputation and offload that
    differ stay with the stages.
    """
    follows: dict[str, object] = dict.fromkeys((*IN_EACH_POOL, "stages"), None)
    free = strategy.model_copy(update={**follows, "vpp": 1})
    if not stages:
        return free
    pinned: dict[str, object] = {
        "pp": len(stages),
        "layers_per_stage": tuple(stage.layers for stage in stages),
    }
    own = False
    for key in ("tp", "micro_batch", "recompute", "offload"):
        given = [getattr(stage, key) for stage in stages]
        alike = all(value == given[0] for value in given)
        own |= not alike
        if alike and given[0] is not None:
            pinned[key] = given[0]
    if own:
        pinned["stages"] = tuple(
            Stage(layers=stage.layers, recompute=stage.recompute, offload=stage.offload)
            for stage in stages
        )
    return free.model_copy(update=pinned)


def check(job: TrainingJob) -> None:
    """Raise SpecError, with the key and the arithmetic, for what cannot be over the job's pools."""
    pools, strategy = job.hardware.pools, job.strategy
    if pools is None:
        return
    if (strategy.pinned_count("vpp") or 1) > 1:
        raise SpecError("virtual stages are not planned over pools: 1", key="strategy.vpp")
    if strategy.consistency not in (None, "synchronous"):
        raise SpecError(
            "over pools, replicas agree every step: synchronous", key="strategy.consistency"
        )
    if strategy.stages is None:
        for key in IN_EACH_POOL:
            if getattr(strategy, key) is not None:
                said = "follows in each pool: pin strategy.stages in its place"
                raise SpecError(said, key=f"strategy.{key}")
        return
    named = {pool.name: pool for pool in pools}
    for index, stage in enumerate(strategy.stages):
        if stage.pool not in named:
            said = "is needed" if stage.pool is None else f"no pool {stage.pool}"
            allowed = f"{said}; allowed: {', '.join(named)}"
            raise SpecError(allowed, key=f"{KEY}.{index}.pool")
    made = pipelines(job)
    _check_pools(job, made)
    dealt = tuple(stage.layers for stage in strategy.stages)
    if strategy.layers_per_stage not in (None, dealt):
        raise SpecError("is not the layers of strategy.stages", key="strategy.layers_per_stage")
    if len({stage.pool for stage in made[0]}) == 1:
        for stages in made:
            _check_side(job, named[str(stages[0].pool)], stages)
        _check_shares(job, named, made)
    else:
        _check_chain(job, named, made[0])


def _check_pools(job: TrainingJob, made: Sequence[Sequence[Stage]]) -> None:
    """Require a pool for each pipeline, or one pipeline over all, and the pools that `use` says."""
    used = [name for stages in made for name, _ in groupby(stage.pool for stage in stages)]
    several = [stages for stages in made if len({stage.pool for stage in stages}) > 1]
    if several and len(made) > 1:
        raise SpecError("either each pipeline lies in one pool, or there is one pipeline", key=KEY)
    twice = next((name for name in used if used.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"pool {twice} comes twice: its stages stand together", key=KEY)
    every = [pool.name for pool in job.hardware.pools or ()]
    missing = [name for name in every if name not in used]
    if job.hardware.use == "all" and missing:
        raise SpecError(f"use is all, but no stage is in pool {', '.join(missing)}", key=KEY)
    if job.hardware.use == "one" and len(used) > 1:
        raise SpecError(f"use is one, but the stages are in {', '.join(map(str, used))}", key=KEY)


def _check_side(job: TrainingJob, pool: Pool, stages: Sequence[Stage]) -> None:
    """Require one tp and micro_batch in a pool, and that its degrees divide its devices."""
    for key in ("tp", "micro_batch", "microbatches"):
        if len({getattr(stage, key) for stage in stages}) > 1:
            raise SpecError(f"pool {pool.name} has several {key}: one pipeline has one", key=KEY)
    tp, cp = stages[0].tp or job.strategy.pinned_count("tp"), job.strategy.pinned_count("cp")
    ranks = len(stages) * (tp or 1) * (cp or 1)
    if pool.devices % ranks:
        said = f"{len(stages)} stages of tp {tp or 1}" + (f", cp {cp}" if cp else "")
        raise SpecError(f"{said} do not divide the {pool.devices} devices of {pool.name}", key=KEY)


def _check_shares(
    job: TrainingJob, named: dict[str, Pool], made: Sequence[Sequence[Stage]]
) -> None:
    """Require that pinned shares sum to the batch, where all that makes them is pinned."""
    strategy, shares, copies, said = job.strategy, 0, 0, []
    cp = strategy.pinned_count("cp") or 1
    for stages in made:
        first, pool = stages[0], named[str(stages[0].pool)]
        tp = first.tp or strategy.pinned_count("tp")
        if tp is None or first.micro_batch is None or first.microbatches is None:
            return
        dp = pool.devices // (len(stages) * tp * cp)
        copies += dp
        share = dp * first.micro_batch * first.microbatches
        shares += share
        said.append(f"{pool.name} {dp} * {first.micro_batch} * {first.microbatches} = {share}")
    batch = job.workload.global_batch
    if shares != batch:
        raise SpecError(
            f"dp * micro_batch * microbatches of the pools ({'; '.join(said)}) sum to {shares},"
            f" but global_batch is {batch}",
            key=KEY,
        )
    if strategy.pinned_count("dp") not in (None, copies):
        said_dp = f"is not the {copies} copies of the model that the stages make"
        raise SpecError(said_dp, key="strategy.dp")


def _check_chain(job: TrainingJob, named: dict[str, Pool], stages: Sequence[Stage]) -> None:
    """Require that every pool of a pipeline that crosses them makes the same replicas."""
    strategy, made = job.strategy, {}
    cp = strategy.pinned_count("cp") or 1
    for name, run in groupby(stages, key=lambda stage: str(stage.pool)):
        own = list(run)
        _check_side(job, named[name], own)
        tp = own[0].tp or strategy.pinned_count("tp")
        if tp is None:
            return
        made[name] = named[name].devices // (len(own) * tp * cp)
    said = ", ".join(f"{name} {dp}" for name, dp in made.items())
    if len(set(made.values())) > 1:
        raise SpecError(f"one pipeline has one dp, but its pools make {said}", key=KEY)
    dp = next(iter(made.values()))
    if strategy.pinned_count("dp") not in (None, dp):
        raise SpecError(f"is not the {dp} that the stages make", key="strategy.dp")
    size, batch = stages[0].micro_batch, job.workload.global_batch
    if size is not None and batch % (dp * size):
        said = f"dp {dp} * micro_batch {size} does not divide global_batch {batch}"
        raise SpecError(said, key=KEY)
