"""Experts and multi-latent attention of a Hugging Face model, in the keys of `ModelConfig`."""

from planner.importers.fields import Fields

__all__ = ["latent", "latent_mixture", "mixture", "qwen_mixture"]

_TOP_K = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token")


def mixture(f: Fields, experts: int, top_k: int | None = None) -> dict[str, object]:
    """Experts of a family that names what it has in the common keys."""
    return {
        "experts": experts,
        "top_k": f.whole(*_TOP_K, default=top_k),
        "ffn_hidden": f.whole("moe_intermediate_size", "intermediate_size"),
        "shared_experts": f.whole("n_shared_experts", default=0, least=0),
        "first_dense_layers": f.whole("first_k_dense_replace", default=0, least=0),
    }


def qwen_mixture(f: Fields, *, shared: bool) -> dict[str, object]:
    """Qwen's experts: each `decoder_sparse_step`-th layer but `mlp_only_layers`."""
    dense = f.items("mlp_only_layers") or ()
    if list(dense) != list(range(len(dense))):
        raise f.error("mlp_only_layers", "must be the first layers, or empty")
    moe: dict[str, object] = {
        "experts": f.whole("num_experts", default=60 if shared else 128),
        "top_k": f.whole("num_experts_per_tok", default=4 if shared else 8),
        "ffn_hidden": f.whole("moe_intermediate_size", default=1408 if shared else 768),
        "every": f.whole("decoder_sparse_step", default=1),
        "first_dense_layers": len(dense),
    }
    if shared:
        width = f.whole("shared_expert_intermediate_size", default=5632, least=0)
        moe |= {"shared_ffn_hidden": width or None, "shared_gate": width > 0}
    return moe


def latent(f: Fields) -> dict[str, object]:
    """Multi-latent attention (DeepSeek-V2, arXiv:2405.04434)."""
    if f.flag("attention_bias", False):
        raise f.error("attention_bias", "must be false with multi-latent attention")
    return {
        "kind": "mla",
        "q_lora_rank": f.whole_or_none("q_lora_rank", absent=1536),
        "kv_lora_rank": f.whole("kv_lora_rank", default=512),
        "qk_nope_head_dim": f.whole("qk_nope_head_dim", default=128),
        "qk_rope_head_dim": f.whole("qk_rope_head_dim", default=64),
        "v_head_dim": f.whole("v_head_dim", default=128),
    }


def latent_mixture(f: Fields) -> dict[str, object]:
    """Attention, experts and prediction layers of DeepSeek V2, V3 and Kimi K2."""
    shape: dict[str, object] = {
        "attention": latent(f),
        "mtp_layers": f.whole("num_nextn_predict_layers", default=0, least=0),
    }
    if not f.has("n_routed_experts"):
        return shape
    if f.whole("moe_layer_freq", default=1) != 1:
        raise f.error("moe_layer_freq", "must be 1: every layer behind the dense ones has experts")
    moe = mixture(f, f.whole("n_routed_experts"))
    moe["ffn_hidden"] = f.whole("moe_intermediate_size")
    v3 = f.text("model_type") != "deepseek_v2"
    method = f.text("topk_method", "noaux_tc" if v3 else "greedy")
    moe["score_bias"] = method == "noaux_tc"
    groups = f.whole("n_group", default=1, least=0)
    if groups > 1 and method != "greedy":
        moe |= {"groups": groups, "top_k_groups": f.whole("topk_group", default=groups)}
    return shape | {"moe": moe}
