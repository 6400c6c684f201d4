"""Families from before llama's layout: ungated MLPs, norms with biases, keys of their own."""

from planner.importers.fields import Fields
from planner.importers.layers import layer_count

__all__ = ["bloom", "falcon", "gpt2", "gpt_neox", "mpt", "opt"]


def mpt(f: Fields) -> dict[str, object]:
    """Read MPT: every bias or none; ALiBi, rotary or learned positions."""
    attention = f.nested("attn_config") or Fields({}, f.file, "attn_config")
    hidden, heads = f.whole("d_model"), f.whole("n_heads")
    bias = not f.flag("no_bias", True)
    if attention.flag("alibi", f.text("model_type") == "mpt" and not f.has("attn_config")):
        position = "alibi"
    elif attention.flag("rope", False):
        position = "rope"
    else:
        position = "learned" if f.flag("learned_pos_emb", True) else "none"
    one_head = attention.text("attn_type") == "multiquery_attention"
    return {
        "layers": layer_count(f, "n_layers"),
        "hidden": hidden,
        "ffn_hidden": f.whole("expansion_ratio", default=4) * hidden,
        "heads": heads,
        "kv_heads": attention.whole("kv_n_heads", default=1 if one_head else heads),
        "head_dim": f.whole_or_none("head_dim"),
        "vocab": f.whole("vocab_size"),
        "gated_mlp": False,
        "tied_embeddings": f.flag("tie_word_embeddings", True),
        "position": position,
        "max_positions": f.whole("max_seq_len", default=2048) if position == "learned" else None,
        "linear_bias": bias,
        "norm_bias": bias,
        "qk_norm_all": attention.flag("qk_ln", False),
    }


def opt(f: Fields) -> dict[str, object]:
    """Read OPT: two of its learned positions are offsets."""
    hidden = f.whole("hidden_size")
    if f.whole("word_embed_proj_dim", default=hidden) != hidden:
        raise f.error("word_embed_proj_dim", f"must be hidden_size {hidden}: no projection here")
    if not f.flag("do_layer_norm_before", True):
        raise f.error("do_layer_norm_before", "must be true: norms behind the blocks are not read")
    return {
        "layers": layer_count(f),
        "hidden": hidden,
        "ffn_hidden": f.whole("ffn_dim", default=4 * hidden),
        "heads": f.whole("num_attention_heads"),
        "vocab": f.whole("vocab_size"),
        "gated_mlp": False,
        "tied_embeddings": f.flag("tie_word_embeddings", True),
        "position": "learned",
        "max_positions": f.whole("max_position_embeddings", default=2048) + 2,
        "linear_bias": f.flag("enable_bias", True),
        "norm_bias": f.flag("layer_norm_elementwise_affine", True),
        "norm_weight": f.flag("layer_norm_elementwise_affine", True),
    }


def bloom(f: Fields) -> dict[str, object]:
    """Read BLOOM: ALiBi, a norm behind the embedding."""
    hidden = f.whole("n_embed", "hidden_size")
    return {
        "layers": layer_count(f, "n_layer", "num_hidden_layers"),
        "hidden": hidden,
        "ffn_hidden": 4 * hidden,
        "heads": f.whole("n_head", "num_attention_heads"),
        "vocab": f.whole("vocab_size", default=250880),
        "gated_mlp": False,
        "tied_embeddings": f.flag("tie_word_embeddings", True),
        "position": "alibi",
        "linear_bias": True,
        "norm_bias": True,
        "embedding_norm": True,
    }


def falcon(f: Fields) -> dict[str, object]:
    """Read Falcon: attention and MLP side by side, behind one norm or one each."""
    hidden, heads = f.whole("hidden_size"), f.whole("num_attention_heads", "n_head")
    new = f.flag("new_decoder_architecture", False)
    one_head = f.flag("multi_query", True) and not new
    one_norm = f.whole("num_ln_in_parallel_attn", default=2 if new else 1) == 1
    return {
        "layers": layer_count(f, "num_hidden_layers", "n_layer"),
        "hidden": hidden,
        "ffn_hidden": f.whole("ffn_hidden_size", default=4 * hidden),
        "heads": heads,
        "kv_heads": 1 if one_head else f.whole("num_kv_heads", "n_head_kv", default=heads),
        "vocab": f.whole("vocab_size", default=65024),
        "gated_mlp": False,
        "tied_embeddings": f.flag("tie_word_embeddings", True),
        "position": "alibi" if f.flag("alibi", False) else "rope",
        "linear_bias": f.flag("bias", False),
        "norm_bias": True,
        "norms_per_layer": 1 if one_norm and (new or f.flag("parallel_attn", True)) else None,
    }


def gpt2(f: Fields) -> dict[str, object]:
    """Read GPT-2."""
    hidden = f.whole("n_embd", "hidden_size", default=768)
    return {
        "layers": layer_count(f, "n_layer", "num_hidden_layers"),
        "hidden": hidden,
        "ffn_hidden": f.whole("n_inner", default=4 * hidden),
        "heads": f.whole("n_head", "num_attention_heads"),
        "vocab": f.whole("vocab_size", default=50257),
        "gated_mlp": False,
        "tied_embeddings": f.flag("tie_word_embeddings", True),
        "position": "learned",
        "max_positions": f.whole("n_positions", "max_position_embeddings", default=1024),
        "linear_bias": True,
        "norm_bias": True,
    }


def gpt_neox(f: Fields) -> dict[str, object]:
    """Read GPT-NeoX and Pythia."""
    everywhere = f.flag("attention_bias", True)
    return {
        "layers": layer_count(f),
        "hidden": f.whole("hidden_size"),
        "ffn_hidden": f.whole("intermediate_size"),
        "heads": f.whole("num_attention_heads"),
        "vocab": f.whole("vocab_size"),
        "gated_mlp": False,
        "tied_embeddings": f.flag("tie_word_embeddings", False),
        "linear_bias": everywhere,
        "mlp_bias": not everywhere,
        "norm_bias": True,
    }
