"""Causal attention as the checked step runs it, scores made again for the gradients.

Parts: `causal_attention`, `forward`, `backward`.
"""

from collections.abc import Mapping

import jax

from planner.calibrate.programs import DTYPES, Kernel
from planner.check.spmd.attention import attend

__all__ = ["backward", "causal_attention", "forward"]


def causal_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Return softmax(q k' / sqrt(d), causal) v; queries grouped by the head of keys they share."""
    return attend(q, k, v, True)


def forward(sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return the forward pass."""
    return Kernel(causal_attention, _shapes(sizes), DTYPES[precision], flop=2.0 * _flop(sizes))


def backward(sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return the gradients, the scores made again."""

    def run(dy: jax.Array, *inputs: jax.Array) -> object:
        return jax.vjp(causal_attention, *inputs)[1](dy)

    shapes = _shapes(sizes)
    return Kernel(run, [shapes[0], *shapes], DTYPES[precision], flop=5.0 * _flop(sizes))


def _shapes(sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    batch, tokens, heads, kv_heads, width = (
        sizes[name] for name in ("batch", "tokens", "heads", "kv_heads", "head_dim")
    )
    keys = (batch, tokens, kv_heads, width)
    return [(batch, tokens, kv_heads, heads // kv_heads, width), keys, keys]


def _flop(sizes: Mapping[str, int]) -> float:
    """FLOP of the causal half of the pairs, forward."""
    pairs = float(sizes["tokens"]) ** 2
    return 2.0 * sizes["batch"] * sizes["heads"] * sizes["head_dim"] * pairs
