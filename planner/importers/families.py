"""What each `model_type` of a Hugging Face `config.json` means, in the keys of `ModelConfig`.

One function a family; defaults of absent keys are those of the family's class in transformers
4.56. Knows keys and shapes; no files (see `huggingface`). What our model cannot say is refused.
"""

from collections.abc import Callable

from planner.importers import earlier
from planner.importers.experts import latent, latent_mixture, mixture, qwen_mixture
from planner.importers.fields import Fields
from planner.importers.layers import alternating, every_layer, from_layer, layer_count
from planner.importers.unlike import unlike_llama

__all__ = ["FAMILIES", "Reader", "Shape", "like_llama"]

Shape = dict[str, object]
Reader = Callable[[Fields], Shape]


def _base(f: Fields) -> Shape:
    return {
        "layers": layer_count(f),
        "hidden": f.whole("hidden_size"),
        "ffn_hidden": f.whole("intermediate_size"),
        "heads": f.whole("num_attention_heads"),
        "kv_heads": f.whole_or_none("num_key_value_heads"),
        "head_dim": f.whole_or_none("head_dim"),
        "vocab": f.whole("vocab_size"),
        "tied_embeddings": f.flag("tie_word_embeddings", False),
    }


def _biases(f: Fields) -> Shape:
    attention = f.flag("attention_bias", False)
    mlp = f.flag("mlp_bias", False)
    return {"qkv_bias": attention, "output_bias": attention, "mlp_bias": mlp}


def _llama(f: Fields) -> Shape:
    return _base(f) | _biases(f)


def like_llama(f: Fields) -> Shape:
    """Read an unknown family as llama with what it says of experts, latents and windows.

    Refused: what lacks the common keys, is no decoder, has no SiLU-gated MLP, or names parts that
    we cannot say (state-space and linear-attention layers, layers that differ one by one, experts
    in keys of its own). Absent `tie_word_embeddings` is true, as in transformers' base class.
    """
    why_not = unlike_llama(f)
    if why_not:
        name = f.text("model_type") or "(absent)"
        known = ", ".join(sorted(FAMILIES))
        raise f.error(
            "model_type",
            f"{name[:60]} is not known, and is not llama-like: {why_not}; known: {known}",
        )
    tied = {"tied_embeddings": f.flag("tie_word_embeddings", True)}
    shape = _llama(f) | tied | every_layer(f, absent=None)
    experts = ("num_local_experts", "num_experts", "n_routed_experts")
    if f.has("kv_lora_rank"):
        own = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        shape |= {"attention": latent(f) | {key: f.whole(key) for key in own}}
    if any(f.has(key) for key in experts):
        shape |= {"moe": mixture(f, f.whole(*experts))}
    return shape


def _mistral(f: Fields) -> Shape:
    kv_heads = f.whole_or_none("num_key_value_heads", absent=8)
    return _base(f) | {"kv_heads": kv_heads} | every_layer(f, absent=4096)


def _mixtral(f: Fields) -> Shape:
    kv_heads = f.whole_or_none("num_key_value_heads", absent=8)
    moe = mixture(f, f.whole("num_local_experts", default=8), top_k=2)
    return _base(f) | {"kv_heads": kv_heads, "moe": moe} | every_layer(f, absent=None)


def _qwen2(f: Fields) -> Shape:
    return _base(f) | {"qkv_bias": f.flag("qkv_bias", True)} | from_layer(f)


def _qwen2_moe(f: Fields) -> Shape:
    return _qwen2(f) | {"moe": qwen_mixture(f, shared=True)}


def _qwen3(f: Fields) -> Shape:
    head_dim = f.whole_or_none("head_dim", absent=128)
    return _base(f) | _biases(f) | {"head_dim": head_dim, "qk_norm": True} | from_layer(f)


def _qwen3_moe(f: Fields) -> Shape:
    head_dim = f.whole_or_none("head_dim")
    return _qwen3(f) | {"head_dim": head_dim, "moe": qwen_mixture(f, shared=False)}


def _deepseek(f: Fields) -> Shape:
    return _base(f) | latent_mixture(f) | {"head_dim": None}


def _gpt_oss(f: Fields) -> Shape:
    if not f.flag("attention_bias", True):
        raise f.error("attention_bias", "must be true, as in gpt-oss")
    return (
        _base(f)
        | {
            "head_dim": f.whole("head_dim", default=64),
            "linear_bias": True,
            "attention_sinks": True,
            "mlp_clamp": True,
            "moe": mixture(f, f.whole("num_local_experts", default=128), top_k=4),
        }
        | alternating(f, period=2, window=128)
    )


def _gemma(f: Fields) -> Shape:
    head_dim = f.whole("head_dim", default=256)
    tied = f.flag("tie_word_embeddings", True)
    return _base(f) | _biases(f) | {"head_dim": head_dim, "tied_embeddings": tied}


def _gemma2(f: Fields) -> Shape:
    return _gemma(f) | {"post_norms": True} | alternating(f, period=2, window=4096)


def _gemma3(f: Fields) -> Shape:
    absent = {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4}
    absent |= {"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26}
    full = Fields(absent | dict(f.raw), f.file, f.inside)
    shape = _gemma(full) | {"post_norms": True, "qk_norm": True}
    period = f.whole("sliding_window_pattern", "_sliding_window_pattern", default=6)
    return shape | alternating(full, period=period, window=4096)


def _llama4(f: Fields) -> Shape:
    """Read Llama 4; its chunks of attention are taken as windows of the same width."""
    layers = layer_count(f)
    every = f.whole("interleave_moe_layer_step", default=1)
    moe_layers = f.items("moe_layers")
    if moe_layers and list(moe_layers) != list(range(every - 1, layers, every)):
        raise f.error("moe_layers", f"must be each {every}. layer, or absent")
    uses_rope = f.items("no_rope_layers") or ()
    period = f.whole("no_rope_layer_interval", default=4)
    if uses_rope and list(uses_rope) != [int((i + 1) % period != 0) for i in range(layers)]:
        raise f.error("no_rope_layers", f"must be 0 at each {period}. layer, else 1, or absent")
    moe = mixture(f, f.whole("num_local_experts", default=16), top_k=1)
    moe |= {"shared_experts": 1, "every": every}
    own = {"ffn_hidden": f.whole("intermediate_size_mlp", default=16384), "moe": moe}
    kinds = alternating(f, period=period, window=8192, key="attention_chunk_size")
    return _llama(f) | {"head_dim": f.whole_or_none("head_dim", absent=128)} | own | kinds


def _nemotron(f: Fields) -> Shape:
    head_dim = f.whole_or_none("head_dim") or f.whole_or_none("kv_channels")
    return _llama(f) | {"head_dim": head_dim, "gated_mlp": False, "norm_bias": True}


def _olmo2(f: Fields) -> Shape:
    return _base(f) | _biases(f) | {"qk_norm_all": True}


def _phi3(f: Fields) -> Shape:
    return _base(f) | every_layer(f, absent=None)


def _internlm(f: Fields) -> Shape:
    bias = f.flag("bias", True)
    return _base(f) | {"qkv_bias": bias, "output_bias": bias}


def _cohere(f: Fields) -> Shape:
    tied, norms = f.flag("tie_word_embeddings", True), f.flag("use_qk_norm", False)
    own: Shape = {"tied_embeddings": tied, "norms_per_layer": 1, "qk_norm_all": norms}
    return _base(f) | _biases(f) | own


def _cohere2(f: Fields) -> Shape:
    period = f.whole("sliding_window_pattern", "_sliding_window_pattern", default=4)
    return _cohere(f) | alternating(f, period=period, window=4096)


FAMILIES: dict[str, Reader] = {
    "bloom": earlier.bloom,
    "cohere": _cohere,
    "cohere2": _cohere2,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "falcon": earlier.falcon,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma3_text": _gemma3,
    "gpt2": earlier.gpt2,
    "gpt_neox": earlier.gpt_neox,
    "gpt_oss": _gpt_oss,
    "internlm": _internlm,
    "internlm2": _internlm,
    "kimi_k2": _deepseek,
    "llama": _llama,
    "llama4": _llama4,
    "llama4_text": _llama4,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "mpt": earlier.mpt,
    "nemotron": _nemotron,
    "olmo2": _olmo2,
    "opt": earlier.opt,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen2_5_vl": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen2_vl": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "qwen3_vl_moe_text": _qwen3_moe,
    "qwen3_vl_text": _qwen3,
}
