"""What makes layers differ, and how far a token looks back: layer kinds and document lengths."""

from dataclasses import dataclass

from planner.models.config import ModelConfig

__all__ = ["Documents", "LayerKind", "layer_kinds"]


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What distinguishes layers: how they attend, and whether their MLP is a mixture."""

    attention: str
    moe: bool

    @property
    def name(self) -> str:
        """Short name of the block."""
        return ("moe" if self.moe else "dense") + (
            "" if self.attention == "full_attention" else f" {self.attention.split('_')[0]}"
        )


@dataclass(frozen=True, slots=True)
class Documents:
    """How far a token looks back: the sequence, and where documents end.

    `pairs(window)` is the mean number of keys that a token's query meets: with the causal half,
    `(E[L^2] / E[L] + 1) / 2` over documents of length L; without it twice that; inside a window
    w of a sequence of s, `w - w (w - 1) / (2 s)`.
    """

    sequence: float
    mean_length: float
    weighted_length: float

    def pairs(self, causal: bool, window: float | None) -> float:
        """Mean keys per query."""
        length = self.weighted_length
        if window is not None and window < length:
            seen = window - window * (window - 1.0) / (2.0 * length)
            return seen if causal else min(length, 2.0 * seen)
        return (length + 1.0) / 2.0 if causal else length


def layer_kinds(model: ModelConfig) -> tuple[LayerKind, ...]:
    """Kind of every decoder layer, in order."""
    types = model.layer_types or (
        ("sliding_attention",) if model.attention.window else ("full_attention",)
    )
    moe = model.moe
    return tuple(
        LayerKind(
            types[i % len(types)],
            moe is not None and i >= moe.first_dense_layers and (i + 1) % moe.every == 0,
        )
        for i in range(model.layers)
    )
