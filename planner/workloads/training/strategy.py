"""A row of `ParallelDims` as the `strategy` section of a job, and back.

A plan's strategy holds all that its price needs: predicting it gives the same price.
"""

from planner.dims import ALL_LAYERS, CODES, OFFLOAD, ParallelDims
from planner.workloads.training.context import Context
from planner.workloads.training.stages import lean_layout

__all__ = ["strategy_of"]

COUNTS = ("tp", "cp", "pp", "vpp", "dp", "ep", "etp", "zero", "zero_group", "micro_batch",
          "microbatches")  # fmt: skip


def strategy_of(
    context: Context, dims: ParallelDims, index: int, layout: tuple[int, ...] | None = None
) -> dict[str, object]:
    """Return one plan in the contract's keys, `dp` and `microbatches` filled in."""
    row = dims.row(index)
    made: dict[str, object] = {key: int(row[key]) for key in COUNTS}
    made["sp"] = row["sp"] > 0
    made["schedule"] = CODES["schedule"][int(row["schedule"])]
    made["cp_comm"] = CODES["cp_comm"][int(row["cp_comm"])]
    mode = CODES["recompute"][int(row["recompute"])]
    partial = mode == "full" and row["recompute_layers"] < ALL_LAYERS
    made["recompute"] = {"full": int(row["recompute_layers"])} if partial else mode
    bits = int(row["offload"])
    made["offload"] = [what for i, what in enumerate(OFFLOAD) if bits >> i & 1]
    chunks = int(row["pp"] * row["vpp"])
    layers = context.spec.model.layers
    made["layers_per_stage"] = list(layout or lean_layout(layers, chunks, int(row["lean"])))
    made["mesh_order"] = list(context.mesh_order)
    made["collectives"] = dict(context.algorithms) or "auto"
    made["consistency"] = "synchronous"
    order = (
        "dp", "tp", "sp", "cp", "pp", "vpp", "ep", "etp", "zero", "zero_group", "micro_batch",
        "microbatches", "schedule", "cp_comm", "recompute", "offload", "layers_per_stage",
        "mesh_order", "collectives", "consistency",
    )  # fmt: skip
    return {key: made[key] for key in order}
