"""A row of `ParallelDims` as the `strategy` section of a job, and back.

A plan's strategy holds all that its price needs: predicting it gives the same price.
"""

from planner.dims import CODES, ORDERS, ParallelDims
from planner.workloads.training.consistency import consistency_of
from planner.workloads.training.context import Context
from planner.workloads.training.pools import strategy_stages
from planner.workloads.training.stages import staging_at
from planner.workloads.training.staging import mode_written, offload_written, stages_written

__all__ = ["strategy_of"]

COUNTS = ("tp", "cp", "pp", "vpp", "dp", "ep", "etp", "zero", "zero_group", "micro_batch",
          "microbatches")  # fmt: skip


def strategy_of(context: Context, dims: ParallelDims, index: int) -> dict[str, object]:
    """Return one plan in the contract's keys, `dp` and `microbatches` filled in.

    `stages` is written where stages choose something of their own beside layers, and of a plan
    over several pools always: the other keys are then those of the pool that sets the step, but
    `dp`, which counts the copies of all pools, `layers_per_stage`, which is of all stages, and
    `sp`, which holds wherever there are tensor-parallel ranks.
    """
    row = dims.row(index)
    made: dict[str, object] = {key: int(row[key]) for key in COUNTS}
    made["sp"] = row["sp"] > 0
    made["schedule"] = CODES["schedule"][int(row["schedule"])]
    made["cp_comm"] = CODES["cp_comm"][int(row["cp_comm"])]
    made["recompute"] = mode_written(int(row["recompute"]), row["recompute_layers"])
    made["offload"] = offload_written(int(row["offload"]))
    staging = staging_at(context.spec.model.layers, context.stagings, dims, index)
    made["layers_per_stage"] = list(staging.layers)
    made["mesh_order"] = list(ORDERS[int(row["order"])])
    made["collectives"] = dict(context.algorithms) or "auto"
    made["consistency"] = consistency_of(context.cluster, row)
    order = (
        "dp", "tp", "sp", "cp", "pp", "vpp", "ep", "etp", "zero", "zero_group", "micro_batch",
        "microbatches", "schedule", "cp_comm", "recompute", "offload", "layers_per_stage",
        "stages", "mesh_order", "collectives", "consistency",
    )  # fmt: skip
    if context.parts:
        stages = strategy_stages(context)
        made["stages"] = stages
        made["layers_per_stage"] = [stage["layers"] for stage in stages]
        made["sp"] = any(part.own.get("sp", row["sp"]) > 0 for part in context.parts)
    elif staging.stages:
        made["stages"] = stages_written(staging)
    return {key: made[key] for key in order if key in made}
