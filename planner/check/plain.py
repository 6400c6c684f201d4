"""What of a model and a strategy the checked step has, and what stands in for the rest.

The step is a plain decoder in float32 with Adam. Every replacement is said: the job that is
checked is another one than the plan's, and is priced as what it is. Knows no JAX and no machine.

Parts: `plain_model`, `plain_mesh`, `unsaid`.
"""

from collections.abc import Callable
from dataclasses import replace

from planner.emit.view import Mesh, PlanView
from planner.models.config import Attention, ModelConfig, MoE
from planner.workloads.training.context import DEFAULT_IMBALANCE

__all__ = ["Note", "plain_mesh", "plain_model", "unsaid"]

Note = Callable[[str, str], None]
"""Takes what the plan has and what the step has in its place."""
SMALL = ("qkv_bias", "linear_bias", "norm_bias", "output_bias", "mlp_bias", "head_bias",
         "attention_sinks")  # fmt: skip


def plain_model(model: ModelConfig, note: Note) -> ModelConfig:
    """Return the decoder of the step that is nearest to a model."""
    attention = model.attention
    if attention.kind == "mla":
        note("multi-latent attention", "attention of grouped queries")
    if attention.window is not None or model.layer_types:
        note("attention of limited reach", "full attention in every layer")
    if model.vision is not None:
        note("a vision tower", "the language model alone")
    if model.mtp_layers:
        note("layers that predict further tokens", "none")
    small = [name for name in SMALL if getattr(model, name)]
    if small or model.post_norms or model.qk_norm or model.embedding_norm:
        note("biases and extra norms", "two norms a layer, no biases")
    if model.position not in ("rope", "none"):
        note(f"{model.position} positions", "rotary ones")
    return ModelConfig(
        name=model.name, layers=model.layers, hidden=model.hidden, ffn_hidden=model.ffn_hidden,
        heads=model.heads, kv_heads=model.kv_heads_or_all, head_dim=model.head_dim_or_even,
        vocab=model.vocab, gated_mlp=model.gated_mlp, tied_embeddings=model.tied_embeddings,
        position="none" if model.position == "none" else "rope",
        attention=Attention(causal=attention.causal), moe=_plain_experts(model.moe, note),
    )  # fmt: skip


def _plain_experts(moe: MoE | None, note: Note) -> MoE | None:
    if moe is None:
        return None
    if moe.first_dense_layers or moe.every > 1:
        note("dense layers among those with experts", "experts in every layer")
    if moe.groups or moe.shared_gate or moe.score_bias:
        note("experts chosen by group, gated or with corrected scores", "the best by score")
    load = moe.imbalance or (moe.capacity_factor if not moe.dropless else DEFAULT_IMBALANCE)
    if moe.dropless and load != 1.0:
        note("no token dropped", f"{load:g} times the mean load as each expert's capacity")
    return MoE(
        experts=moe.experts, top_k=moe.top_k, ffn_hidden=moe.ffn_hidden,
        shared_experts=moe.shared_experts, shared_ffn_hidden=moe.shared_ffn_hidden,
        imbalance=max(1.0, load or 1.0),
    )  # fmt: skip


def plain_mesh(mesh: Mesh, experts: bool, note: Note) -> Mesh:
    """Return the strategy of the step that is nearest to a plan's."""
    if mesh.pp > 1 and (mesh.schedule != "gpipe" or mesh.vpp > 1):
        note(f"schedule {mesh.schedule}" + (f" of {mesh.vpp} chunks" if mesh.vpp > 1 else ""),
             "gpipe: all microbatches forward, then backward")  # fmt: skip
    if mesh.cp > 1 and mesh.cp_comm == "a2a+p2p":
        note("context exchange by a2a+p2p", "a2a")
    if mesh.recompute_layers is not None:
        note(f"{mesh.recompute_layers} layers of a stage recomputed", "all of them")
    if mesh.recompute == "per-operator":
        note("recomputation of every second product", "none beyond attention")
    if mesh.recompute_modules:
        note(f"recomputation of {', '.join(mesh.recompute_modules)}", "none")
    if mesh.offload:
        note(f"offload of {', '.join(mesh.offload)}", "kept on the device")
    if mesh.consistency != "synchronous":
        note(f"consistency {mesh.consistency}", "synchronous")
    if mesh.stages or mesh.sharding:
        note("choices by stage or by operator", "the same choice everywhere")
    if not mesh.even:
        note("stages of unequal layers", "equal ones")
    sp = mesh.tp > 1 and (mesh.sp or experts)
    if sp and not mesh.sp:
        note("experts beside tensor parallelism without sp", "with sp")
    kept = {"selective": "none", "per-operator": "none", "modules": "none"}
    group = mesh.zero_group if mesh.zero else mesh.dp * mesh.cp
    return replace(
        mesh, sp=sp, vpp=1, schedule="gpipe", recompute_layers=None, recompute_modules=(),
        offload=(), placement=(),
        cp_comm="a2a" if mesh.cp_comm == "a2a+p2p" else mesh.cp_comm, collectives=(),
        recompute=kept.get(mesh.recompute, mesh.recompute), consistency="synchronous",
        stages=False, sharding=False, zero_group=group,
    )  # fmt: skip


def unsaid(view: PlanView, note: Note) -> None:
    """Note what else of a job the step does otherwise."""
    workload = view.workload
    if workload.precision != "fp32":
        note(f"precision {workload.precision}", "fp32")
    if workload.optimizer not in ("adam", "adamw"):
        note(f"optimizer {workload.optimizer}", "adam")
    if workload.task == "lora":
        note("adapters trained alone", "all weights trained")
    if workload.sequence_lengths is not None:
        note("documents of many lengths", "sequences of one document")
