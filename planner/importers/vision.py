"""The vision tower of a Hugging Face `config.json`, in the keys of `Vision`.

Read are InternViT behind `internvl_chat` and the encoder of Qwen2.5-VL; of a model with another
tower only the language model is read, and `left_out` says so. How many images a sequence holds is
the job's to say.

Parts: `other_senses`, `tower`.
"""

from planner.importers.fields import Fields
from planner.importers.layers import layer_count

__all__ = ["other_senses", "tower"]

IMAGE_PIXELS = 448
"""Side of an image where the file leaves it to the data (assumed)."""
Shape = dict[str, object]


def other_senses(outer: Fields) -> Shape:
    """Return the vision tower, and the name of each encoder that is not read."""
    made = tower(outer)
    said = []
    for sense in ("vision", "audio"):
        inner = outer.nested(f"{sense}_config")
        if inner is not None and not (sense == "vision" and made is not None):
            kind = inner.text("model_type") or "no type given"
            said.append(f"{sense} encoder ({kind[:40]})")
    return {"vision": made, "left_out": " and ".join(said) or None}


def tower(outer: Fields) -> Shape | None:
    """Return the vision tower that the file describes, None where it has none that we can say."""
    inner = outer.nested("vision_config")
    if inner is None:
        return None
    if outer.text("model_type") == "qwen2_5_vl":
        return _qwen(inner)
    return _intern_vit(outer, inner) if inner.text("model_type") == "intern_vit_6b" else None


def _patches(f: Fields, pixels: int, merge: int) -> int:
    """Patches of an image, a multiple of those that are merged into one token."""
    side = pixels // f.whole("patch_size", default=14)
    if side % merge:
        raise f.error("patch_size", f"cuts an image into {side} patches a side, not by {merge}")
    return side * side


def _intern_vit(outer: Fields, f: Fields) -> Shape:
    """InternViT: a class token, learned positions, layer scales, norms of queries and keys.

    Behind it: patches shuffled to tokens, a norm with a bias, two products of the decoder's width.
    """
    hidden, layers = f.whole("hidden_size", default=3200), layer_count(f)
    ratio = outer.raw.get("downsample_ratio", 0.5)
    if not isinstance(ratio, float | int) or not 0 < ratio <= 1 or (1 / ratio) % 1:
        raise outer.error("downsample_ratio", "must be one over a whole number")
    merge = round(1 / ratio)
    patches = _patches(f, f.whole("image_size", default=224), merge)
    patch = f.whole("patch_size", default=14)
    return {
        "layers": layers,
        "hidden": hidden,
        "ffn_hidden": f.whole("intermediate_size", default=12800),
        "heads": f.whole("num_attention_heads", default=25),
        "tokens": patches,
        "merge": merge,
        "patch_values": f.whole("num_channels", default=3) * patch * patch,
        "qkv_bias": f.flag("qkv_bias", False),
        "norm_bias": f.text("norm_type", "rms_norm") == "layer_norm",
        "qk_norm": f.flag("qk_normalization", True),
        "extra_parameters": hidden * (patches + 3 + 2 * layers + 2 * merge * merge),
    }


def _qwen(f: Fields) -> Shape:
    """Qwen2.5-VL: rotary positions, gated MLPs, windows in most layers, a merger behind."""
    hidden, layers = f.whole("hidden_size"), layer_count(f, "depth")
    merge = f.whole("spatial_merge_size", default=2)
    patch = f.whole("patch_size", default=14)
    values = f.whole("in_chans", "in_channels", default=3) * patch * patch
    return {
        "layers": layers,
        "hidden": hidden,
        "ffn_hidden": f.whole("intermediate_size", default=3420),
        "heads": f.whole("num_heads", default=16),
        "gated_mlp": True,
        "tokens": _patches(f, IMAGE_PIXELS, merge),
        "merge": merge,
        "projector_hidden": hidden * merge * merge,
        "patch_values": values * f.whole("temporal_patch_size", default=2),
        "position": "rope",
        "window": (f.whole("window_size", default=112) // patch) ** 2,
        "full_attention_layers": len(f.items("fullatt_block_indexes") or (7, 15, 23, 31)),
        "norm_bias": False,
        "extra_parameters": hidden,
    }
