"""The architecture of a plan as values for torchtitan's own model parts.

Three of torchtitan's models cover what plans hold: llama3 (dense, grouped queries), qwen3 (with
experts or query-key norms) and deepseek_v3 (multi-latent attention). Says in the header what none
of them has. Knows sizes and number formats; no degrees.

Parts: `conversions`, `family_of`, `model_values`.
"""

from planner.emit.render import Source, literal
from planner.emit.text import Header, one_line
from planner.emit.torchtitan_mesh import layout
from planner.emit.view import PlanView
from planner.models.config import ModelConfig

__all__ = ["conversions", "family_of", "model_values"]

CLASSES = {
    "llama3": ("Llama3Model", "Llama3TransformerBlock", "parallelize_llama", "Llama3"),
    "qwen3": ("Qwen3Model", "Qwen3TransformerBlock", "parallelize_qwen3", "Qwen3"),
    "deepseek_v3": ("DeepSeekV3Model", "", "parallelize_deepseekv3", "DeepSeekV3"),
}
QUANTIZED = {"fp8": "Float8", "mxfp8": "MXFP8", "nvfp4": "NVFP4"}


def family_of(model: ModelConfig) -> str:
    """Return the torchtitan model that has the parts of `model`."""
    if model.attention.kind == "mla":
        return "deepseek_v3"
    return "qwen3" if model.moe is not None or model.qk_norm else "llama3"


def model_values(view: PlanView, header: Header) -> dict[str, object]:
    """Values that the template needs to build the model."""
    model, mesh = view.model, view.mesh
    family = family_of(model)
    name, block, parallelize, adapter = CLASSES[family]
    _unlike(model, family, header)
    mtp = model.mtp_layers
    if mtp and (family != "deepseek_v3" or mesh.pp > 1 or mesh.cp > 1):
        header.not_expressible("multi-token prediction here", "without it")
        mtp = 0
    sizes = _sizes(model) | (_mla(model) if family == "deepseek_v3" else _gqa(model))
    return {
        "family": family,
        "model": sizes | {"tied": model.tied_embeddings and mesh.pp == 1},
        "layout": layout(mesh, header),
        "model_class": Source(name),
        "block": Source(block),
        "parallelize": Source(parallelize),
        "adapter": Source(f"{adapter}StateDictAdapter"),
        "qk_norm": model.qk_norm,
        "mtp_layers": mtp,
    }


def _sizes(model: ModelConfig) -> dict[str, object]:
    moe = model.moe
    sizes: dict[str, object] = {
        "layers": model.layers,
        "hidden": model.hidden,
        "ffn_hidden": model.ffn_hidden,
        "heads": model.heads,
        "vocab": model.vocab,
        "experts": moe.experts if moe else 0,
    }
    if moe is not None:
        sizes |= {
            "top_k": moe.top_k,
            "expert_hidden": moe.ffn_hidden,
            "shared_experts": moe.shared_experts,
            "score_func": "sigmoid" if moe.score_bias else "softmax",
            "groups": moe.groups,
            "top_k_groups": moe.top_k_groups,
        }
    return sizes


def _gqa(model: ModelConfig) -> dict[str, object]:
    moe = model.moe
    shared = (moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden) if moe else 0
    return {
        "kv_heads": model.kv_heads_or_all,
        "head_dim": model.head_dim_or_even,
        "shared_hidden": shared,
        "first_dense_layers": moe.first_dense_layers if moe else model.layers,
        "every": moe.every if moe else 1,
    }


def _mla(model: ModelConfig) -> dict[str, object]:
    attention, moe = model.attention, model.moe
    sizes: dict[str, object] = {
        "q_lora_rank": attention.q_lora_rank or 0,
        "kv_lora_rank": attention.kv_lora_rank,
        "qk_nope_head_dim": attention.qk_nope_head_dim,
        "qk_rope_head_dim": attention.qk_rope_head_dim,
        "v_head_dim": attention.v_head_dim,
        "first_dense_layers": moe.first_dense_layers if moe else model.layers,
    }
    if moe is None:
        unused = ("top_k", "expert_hidden", "shared_experts", "groups", "top_k_groups")
        sizes |= dict.fromkeys(unused, 0) | {"score_func": "softmax"}
    return sizes


def _unlike(model: ModelConfig, family: str, header: Header) -> None:
    """Note parts of the model that torchtitan's has not."""
    moe = model.moe
    kinds = {model.layer_type(layer) for layer in range(model.layers)}
    checks = (
        (model.vision is not None, "a vision tower", "the language model alone"),
        (model.position != "rope", f"{model.position} positions", "rotary ones"),
        (not model.gated_mlp, "an MLP without a gate", "a gated one of the same width"),
        (kinds != {"full_attention"}, "sliding or linear attention", "full attention"),
        (not model.attention.causal, "attention that is not causal", "causal attention"),
        (
            model.qkv_bias or model.linear_bias or model.output_bias or model.head_bias,
            "biases of linear maps",
            "none",
        ),
        (model.norm_bias or not model.norm_weight, "these norms", "RMSNorm with a weight"),
        (model.post_norms or model.embedding_norm, "further norms", "two norms a layer"),
        (model.norms_each_layer == 1, "one norm for attention and MLP", "two norms"),
        (model.qk_norm_all, "query and key norms over all heads", "norms of each head"),
        (model.attention_sinks, "attention sinks", "none"),
        (bool(moe and moe.shared_gate), "a gate on the shared experts", "none"),
        (bool(moe and not moe.dropless), "experts that drop tokens", "none is dropped"),
        (
            bool(moe and moe.every > 1 and family == "deepseek_v3"),
            "dense layers between those with experts",
            "experts in all layers behind the first dense ones",
        ),
    )
    for present, what, nearest in checks:
        if present:
            header.not_expressible(what, nearest)


def _adapted(model: ModelConfig, targets: str, header: Header) -> list[str]:
    """Linear maps that get an adapter, by torchtitan's names."""
    names: list[str] = []
    if targets != "mlp" and model.attention.kind == "gqa":
        names.append("wqkv")
    elif targets != "mlp":
        names += ["wq_b" if model.attention.q_lora_rank else "wq", "wkv_b"]
        header.not_expressible("adapters on the maps down to the latent", "none there")
    if targets in ("all-linear", "attention"):
        names.append("wo")
    if targets in ("all-linear", "mlp"):
        if model.moe is None or model.moe_layers < model.layers or model.moe.shared_experts:
            names += ["w1", "w2", "w3"]
        if model.moe is not None:
            header.not_expressible("adapters in routed experts", "none there")
    return names


def conversions(view: PlanView, header: Header) -> dict[str, object]:
    """Quantization and low-rank adapters: sources of converters, and names to import."""
    precision, moe = view.precision, view.model.moe
    if precision != view.workload.precision and precision != "fp16":
        header.not_expressible(f"{view.workload.precision} on {one_line(view.system)}", precision)
    compiled = f"model_compile_enabled={view.switches.compile}"
    names, sources = [], []
    if precision in QUANTIZED:
        kind = QUANTIZED[precision]
        which = {
            "fp8": 'filter_fqns=["lm_head", "router.gate"]',
            "mxfp8": 'fqns=["attention", "shared_experts", "feed_forward"]',
            "nvfp4": 'fqns=["layers"]',
        }[precision]
        names.append(f"{kind}LinearConverter")
        sources.append(f"{kind}LinearConverter.Config({which},\n            {compiled})")
        if moe is not None and precision != "nvfp4":
            names.append(f"{kind}GroupedExpertsConverter")
            sources.append(f"{kind}GroupedExpertsConverter.Config({compiled})")
        elif moe is not None:
            header.not_expressible("experts in nvfp4", "bf16 experts, nvfp4 in dense layers")
    elif precision in ("mxfp4", "int8", "int4"):
        header.not_expressible(f"precision {precision}", "bf16")
    lora = view.workload.adapters
    if lora is not None:
        sources.append(
            f"LoRAConverter.Config(rank={lora.rank}, alpha={2.0 * lora.rank},"
            f" target_modules={literal(_adapted(view.model, lora.targets, header))})"
        )
        header.chosen(f"the adapters' scale, alpha {2 * lora.rank}")
        if lora.base_precision not in (None, "bf16", precision):
            header.not_expressible(f"frozen weights in {lora.base_precision}", "in bf16")
    return {
        "converters": Source(", ".join(sorted(names))),
        "conversions": [Source(source) for source in sources],
        "lora": lora is not None,
    }
