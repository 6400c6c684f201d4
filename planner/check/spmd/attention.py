"""Attention of grouped queries, and how context-parallel ranks exchange keys and values.

The core is computed again in the backward pass, as fused attention does: no scores are kept, and
what it received from other ranks is received again.

    p2p         keys and values go round a ring; backward they do so again, then their gradients
    all-gather  keys and values gathered; backward again, and their gradients reduce-scattered
    a2a         tokens swapped for heads and back, around the core

Shapes: queries (batch, tokens, groups, queries of a group, width); keys, values without the
fourth dim. Source: Liu et al. 2023 (ring attention); Jacobs et al. 2023 (Ulysses).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from planner.check.layout import Group, Layout
from planner.check.spmd import parallel
from planner.check.spmd.products import product
from planner.check.spmd.ring import ring

__all__ = ["attend", "attention", "rope"]

ROPE_BASE = 10_000.0


def attention(x: Array, w: dict[str, Array], layout: Layout) -> Array:
    """Return what attention adds to a layer's tokens, before the tensor ranks' parts are added."""
    model, context = layout.model, layout.group("cp")
    qkv = product(x, w["qkv"])
    queries, keys, values = qkv[..., :-2, :], qkv[..., -2, :], qkv[..., -1, :]
    if model.position == "rope":
        first = parallel.rank(context) * x.shape[1]
        turns = _turns(layout.sequence, queries.shape[-1] // 2)
        cos, sin = (jax.lax.dynamic_slice_in_dim(t, first, x.shape[1]) for t in turns)
        queries, keys = rope(queries, cos, sin), rope(keys, cos, sin)
    mixed = _exchanged(queries, keys, values, layout, context)
    return product(mixed.reshape(*x.shape[:2], -1), w["out"])


def _turns(tokens: int, half: int) -> tuple[Array, Array]:
    """Cosines and sines of every place, as constants: inside the step they cost too much.

    A compiler fuses them into what uses them, and makes them again for every head.
    """
    angle = np.arange(tokens)[:, None] * ROPE_BASE ** (-np.arange(half) / half)
    return jnp.asarray(np.cos(angle), jnp.float32), jnp.asarray(np.sin(angle), jnp.float32)


def rope(x: Array, cos: Array, sin: Array) -> Array:
    """Turn pairs of a head's elements by an angle of their place (Su et al. 2021)."""
    half = cos.shape[-1]
    shape = (1, len(cos), *(1,) * (x.ndim - 3), half)
    cos, sin = (t.reshape(shape).astype(x.dtype) for t in (cos, sin))
    one, two, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return jnp.concatenate([one * cos - two * sin, two * cos + one * sin, rest], -1)


def _exchanged(q: Array, k: Array, v: Array, layout: Layout, group: Group) -> Array:
    causal, kind = layout.model.attention.causal, layout.mesh.cp_comm
    ranks = layout.mesh.cp
    if ranks == 1:
        return jax.checkpoint(lambda q, k, v: attend(q, k, v, causal))(q, k, v)
    if kind.startswith("a2a"):
        q, k, v = (parallel.swap(t, group, 2, 1) for t in (q, k, v))
        mixed = jax.checkpoint(lambda q, k, v: attend(q, k, v, causal))(q, k, v)
        return parallel.swap(mixed, group, 1, 2)
    if kind == "all-gather" and layout.mesh.recompute == "full":
        k, v = _all(k, v, group)  # again with the whole layer, and kept from then on
        return jax.checkpoint(lambda q, k, v: _placed(q, k, v, group, causal))(q, k, v)
    if kind == "all-gather":
        gathered = jax.checkpoint(lambda q, k, v: _placed(q, *_all(k, v, group), group, causal))
        return gathered(q, k, v)
    return ring(q, k, v, group, ranks, causal)


def attend(q: Array, k: Array, v: Array, causal: bool, mask: Array | None = None) -> Array:
    """Mix values by softmax of scores; `mask`: (queries, keys) that see each other."""
    heads = q.reshape(*q.shape[:2], -1, q.shape[-1])
    mixed = jax.nn.dot_product_attention(heads, k, v, is_causal=causal, mask=mask)
    return mixed.reshape(q.shape)


def _all(k: Array, v: Array, group: Group) -> tuple[Array, Array]:
    """Gather keys and values of all ranks."""
    return parallel.gather(k, group, 1), parallel.gather(v, group, 1)


def _placed(q: Array, k: Array, v: Array, group: Group, causal: bool) -> Array:
    """Mix values of all ranks for this rank's queries."""
    if not causal:
        return attend(q, k, v, False)
    return attend(q, k, v, False, _seen(q, k, parallel.rank(group) * q.shape[1])[None, None])


def _seen(q: Array, k: Array, ahead: Array | int) -> Array:
    """Tell which keys queries see that come `ahead` tokens after them."""
    return jnp.arange(k.shape[1])[None, :] <= ahead + jnp.arange(q.shape[1])[:, None]
