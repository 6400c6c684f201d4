"""Degrees, sharding, pipeline schedule and recomputation of a plan in torchtitan's terms.

torchtitan's mesh is pp, dp_replicate, dp_shard, cp, tp from outside in; parameters are sharded
over dp_shard * cp, and ep is carved out of dp_shard * cp * tp (torchtitan/distributed/
parallel_dims.py). Knows degrees; no architecture beyond head counts.

Parts: `layout`, `parallelism`, `recompute_source`.
"""

from planner.emit.render import Source
from planner.emit.text import Header
from planner.emit.view import Mesh, PlanView
from planner.workloads.training.stages import even_layout

__all__ = ["layout", "parallelism", "recompute_source"]

SCHEDULES = {
    "gpipe": "GPipe",
    "1f1b": "1F1B",
    "interleaved": "Interleaved1F1B",
    "zero-bubble": "ZBVZeroBubble",
    "dualpipe": "DualPipeV",
}
V_SHAPED = ("zero-bubble", "dualpipe")
"""Schedules that put chunk i and chunk 2*pp-1-i on rank i."""
ORDER = ("tp", "cp", "dp", "pp")


def layout(mesh: Mesh, header: Header) -> tuple[int, ...]:
    """Layers of each pipeline chunk; V-shaped schedules halve the chunks of the plan."""
    if mesh.pp == 1 or mesh.schedule not in V_SHAPED:
        return mesh.layout
    header.not_expressible(
        f"schedule {mesh.schedule} with these stages",
        f"{SCHEDULES[mesh.schedule]}: two chunks a rank, in the shape of a V",
    )
    return even_layout(sum(mesh.layout), 2 * mesh.pp)


def parallelism(view: PlanView, header: Header) -> dict[Source, object]:
    """Keys of `ParallelismConfig` that the plan decides."""
    mesh = view.mesh
    replicate, shard = _data(mesh, header)
    _limits(view, header)
    values: dict[str, object] = {
        "data_parallel_replicate_degree": replicate,
        "data_parallel_shard_degree": shard,
        "fsdp_reshard_after_forward": "always" if mesh.zero == 3 else "never",
        "tensor_parallel_degree": mesh.tp,
        "enable_sequence_parallel": mesh.sp and mesh.tp > 1,
        "context_parallel_degree": mesh.cp,
        "pipeline_parallel_degree": mesh.pp,
        "expert_parallel_degree": mesh.ep,
    }
    if mesh.pp > 1:
        values["pipeline_parallel_schedule"] = _schedule(mesh, header)
        values["num_pp_microbatches"] = mesh.microbatches
    return {Source(key): value for key, value in values.items()}


def _data(mesh: Mesh, header: Header) -> tuple[int, int]:
    """Replicas, and ranks of dp that share one set of shards."""
    if mesh.zero == 0:
        if mesh.cp > 1:
            header.not_expressible("unsharded states with cp", "states sharded over the cp ranks")
        shard = 1
    else:
        shard = max(1, mesh.zero_group // mesh.cp)
        if shard * mesh.cp != mesh.zero_group:
            header.not_expressible(
                f"zero_group {mesh.zero_group} that is no multiple of cp {mesh.cp}",
                f"{shard * mesh.cp} ranks",
            )
            shard = shard if mesh.dp % shard == 0 else 1
        if mesh.zero < 3:
            kept = "ZeRO 2" if mesh.zero == 1 else "parameters gathered once a step"
            header.not_expressible(f"zero {mesh.zero} as such", f"FSDP without resharding: {kept}")
    if (shard * mesh.cp * mesh.tp) % mesh.ep:
        header.not_expressible(
            f"ep {mesh.ep} outside the {shard * mesh.cp * mesh.tp} ranks of a shard set",
            "states sharded over all dp ranks",
        )
        shard = mesh.dp
    return mesh.dp // shard, shard


def _schedule(mesh: Mesh, header: Header) -> str:
    if mesh.schedule == "dualpipe" and mesh.microbatches < 2 * mesh.pp:
        header.not_expressible("DualPipeV with fewer microbatches than chunks", "ZBVZeroBubble")
        return "ZBVZeroBubble"
    if mesh.schedule == "interleaved" and mesh.vpp == 1:
        return "1F1B"
    if mesh.schedule == "interleaved":
        rounds = max(1, mesh.microbatches // mesh.pp)
        if mesh.microbatches % rounds:
            header.not_expressible(
                f"{mesh.microbatches} microbatches in {rounds} rounds", "none; it is refused"
            )
    return SCHEDULES[mesh.schedule]


def _limits(view: PlanView, header: Header) -> None:
    """Note what torchtitan refuses or decides by itself."""
    mesh, model = view.mesh, view.model
    used = tuple(axis for axis in mesh.order if getattr(mesh, axis) > 1)
    if used != tuple(axis for axis in ORDER if axis in used):
        said = "-".join(mesh.order)
        header.not_expressible(f"rank order {said}, innermost first", "-".join(ORDER))
    if mesh.tp > 1 and model.attention.kind == "gqa" and model.kv_heads_or_all % mesh.tp:
        header.not_expressible(
            f"tp {mesh.tp} over {model.kv_heads_or_all} key-value heads", "none; it is refused"
        )
    if model.tied_embeddings and mesh.pp > 1:
        header.not_expressible("tied embeddings with pp", "an output head of its own")
    if model.moe is not None and mesh.etp != (mesh.tp if mesh.ep == 1 else 1):
        said = f"etp = tp = {mesh.tp}" if mesh.ep == 1 else "etp 1"
        header.not_expressible(f"etp {mesh.etp} with ep {mesh.ep}", said)
    if mesh.cp > 1 and mesh.cp_comm != "all-gather":
        header.not_expressible(f"context exchange by {mesh.cp_comm}", "all-gather")
    if view.workload.sequence_length * mesh.micro_batch % (2 * mesh.cp * mesh.tp):
        header.not_expressible("a microbatch that is not whole in 2*cp*tp parts", "none; refused")


def recompute_source(view: PlanView, header: Header) -> str:
    """Return the source of the activation-checkpointing policy."""
    mesh = view.mesh
    if mesh.recompute == "full":
        if mesh.recompute_layers is not None:
            header.not_expressible(
                f"full recomputation of {mesh.recompute_layers} layers a stage", "of all layers"
            )
        return "FullAC.Config()"
    if mesh.recompute == "selective":
        header.not_expressible(
            "recompute selective by itself", "none: fused attention stores no scores"
        )
        return "None"
    if mesh.recompute == "modules":
        said = ", ".join(mesh.recompute_modules)
        header.not_expressible(f"recomputation of single modules ({said})", "per-operator")
    if mesh.recompute == "projections":
        header.not_expressible("recompute projections", "per-operator")
    return "None" if mesh.recompute == "none" else "SelectiveAC.Config()"
