"""Which layers of a Hugging Face model attend in a window, as the shortest pattern that repeats.

A window no shorter than the model's context cuts nothing and is left out.
"""

from collections.abc import Sequence

from planner.importers.fields import Fields

__all__ = ["LAYER_LIMIT", "alternating", "every_layer", "from_layer", "layer_count", "shortest"]

LAYER_LIMIT = 1_000_000
"""No model has more layers; a number above it is a mistake or an attack."""

_FULL, _SLIDING = "full_attention", "sliding_attention"
_KINDS = {
    _FULL: _FULL,
    _SLIDING: _SLIDING,
    "chunked_attention": _SLIDING,
    "linear_attention": "linear_attention",
}


def layer_count(f: Fields, *keys: str) -> int:
    """Read the number of layers, at most `LAYER_LIMIT`; `keys` default to num_hidden_layers."""
    keys = keys or ("num_hidden_layers",)
    layers = f.whole(*keys)
    if layers > LAYER_LIMIT:
        raise f.error(keys[0], f"must be at most {LAYER_LIMIT} layers, is {layers}")
    return layers


def every_layer(f: Fields, absent: int | None) -> dict[str, object]:
    """All layers in the window `sliding_window` (`absent` where the key is not there)."""
    window = f.whole_or_none("sliding_window", absent=absent)
    return _windowed(f, window, (_SLIDING,))


def from_layer(f: Fields) -> dict[str, object]:
    """Qwen's rule: with `use_sliding_window`, the layers from `max_window_layers` on."""
    window = f.whole_or_none("sliding_window", absent=4096)
    if not f.flag("use_sliding_window", False):
        window = None
    layers = layer_count(f)
    full = min(f.whole("max_window_layers", default=28, least=0), layers)
    return _windowed(f, window, (_FULL,) * full + (_SLIDING,) * (layers - full))


def alternating(
    f: Fields, *, period: int, window: int, key: str = "sliding_window"
) -> dict[str, object]:
    """All but each `period`-th layer in the window `key` (`window` where it is not there)."""
    if period > LAYER_LIMIT:
        raise f.error("sliding_window_pattern", f"must be at most {LAYER_LIMIT}, is {period}")
    kinds = (_SLIDING,) * (period - 1) + (_FULL,)
    return _windowed(f, f.whole_or_none(key, absent=window), kinds[: layer_count(f)])


def shortest(kinds: Sequence[str]) -> tuple[str, ...]:
    """Shortest beginning of `kinds` that repeats to the whole of it; the last round may be cut.

    >>> shortest(("s", "s", "f", "s", "s", "f", "s"))
    ('s', 's', 'f')
    """
    overlap = [0] * len(kinds)
    for end in range(1, len(kinds)):
        length = overlap[end - 1]
        while length and kinds[length] != kinds[end]:
            length = overlap[length - 1]
        overlap[end] = length + (kinds[length] == kinds[end])
    return tuple(kinds[: len(kinds) - overlap[-1]]) if kinds else ()


def _windowed(f: Fields, window: int | None, default: Sequence[str]) -> dict[str, object]:
    """Keys `attention` and `layer_types` from `layer_types` of the file or the family's rule."""
    listed = f.items("layer_types")
    kinds = default if listed is None else _listed(f, listed)
    if "linear_attention" in kinds:
        raise f.error("layer_types", "linear_attention layers are not read")
    context = f.whole("max_position_embeddings", default=0, least=0)
    if window is None or (context and window >= context) or _SLIDING not in kinds:
        return {}
    return {"attention": {"window": window}, "layer_types": shortest(kinds)}


def _listed(f: Fields, listed: Sequence[object]) -> tuple[str, ...]:
    layers = layer_count(f)
    if len(listed) != layers:
        raise f.error("layer_types", f"has {len(listed)} entries for {layers} layers")
    for kind in listed:
        if not isinstance(kind, str) or kind not in _KINDS:
            raise f.error("layer_types", f"{str(kind)[:40]!r} is none of {', '.join(_KINDS)}")
    return tuple(_KINDS[str(kind)] for kind in listed)
