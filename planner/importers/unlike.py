"""Why a Hugging Face model of an unknown family cannot be read as llama with its own sizes.

What shapes a model has to be in keys that are read; a key that speaks of parts that nobody reads
is a reason to refuse, not to guess. Knows keys; reads no shape.

Parts: `unlike_llama`.
"""

from planner.importers.fields import Fields

__all__ = ["unlike_llama"]

_COMMON = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "vocab_size",
)
_STRANGE = ("mamba", "ssm_", "linear_", "hybrid_", "block_configs", "conv_", "add_swa_")
_OF_EXPERTS = ("moe", "expert")
_READ = {
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "num_experts_per_tok",
    "experts_per_token",
    "num_experts_per_token",
    "moe_intermediate_size",
    "n_shared_experts",
    "first_k_dense_replace",
}
_EVERY_LAYER = ("_freq", "_step", "_interval", "_period")
"""How often a layer has experts: 1 says what is assumed."""


def unlike_llama(f: Fields) -> str:
    """Say what keeps the model from being llama-like; empty where nothing does."""
    missing = [key for key in _COMMON if not f.has(key)]
    if missing:
        return f"it lacks {', '.join(missing)}"
    if f.text("hidden_act") not in ("silu", "swish"):
        return "its hidden_act is not silu"
    decoders = ("ForCausalLM", "ForConditionalGeneration")
    architectures = [str(name) for name in f.items("architectures") or ()]
    if f.flag("is_encoder_decoder", False) or not all(a.endswith(decoders) for a in architectures):
        return "it is no decoder"
    strange = [str(key)[:40] for key in f.raw if str(key).startswith(_STRANGE)]
    strange += [str(key)[:40] for key, value in f.raw.items() if _of_experts(str(key), value)]
    return f"it has {', '.join(strange)}" if strange else ""


def _of_experts(key: str, value: object) -> bool:
    """Whether a key says how many, how wide or where experts are, and is not read."""
    if key in _READ or not any(word in key for word in _OF_EXPERTS):
        return False
    if isinstance(value, list | dict):
        return bool(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value != 0 and not (value == 1 and key.endswith(_EVERY_LAYER))
