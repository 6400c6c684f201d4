"""Attention while keys and values go round a ring of context-parallel ranks.

Forward, (p - 1) sends of keys and values, in one message, results scaled by the largest score so
far. Backward they go round again, and gradients of keys and values travel behind them, (p - 1)
sends each: what a rank's own block gives stays at home. Every rank works on every block, also on
those that a causal mask hides from it, as one program for all ranks must. Kept for the backward
pass: inputs, result, and a number a query.
Source: Liu et al. 2023 (ring attention); Dao et al. 2022 (the backward).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from planner.check.layout import Group
from planner.check.spmd import parallel

__all__ = ["ring"]

MASKED = -1e30
Kept = tuple[Array, Array, Array, Array, Array]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def ring(q: Array, k: Array, v: Array, group: Group, ranks: int, causal: bool) -> Array:
    """Mix values by softmax of scores over the tokens of all ranks.

    q (batch, tokens, groups, queries, width); k, v (batch, tokens, groups, width).
    """
    return _forward(q, k, v, group, ranks, causal)[0]


def _forward(
    q: Array, k: Array, v: Array, group: Group, ranks: int, causal: bool
) -> tuple[Array, Kept]:
    own_k, own_v = k, v
    mixed = jnp.zeros(q.shape, jnp.float32)
    total = jnp.zeros((q.shape[0], *q.shape[2:4], q.shape[1]), jnp.float32)
    largest = jnp.full(total.shape, MASKED, jnp.float32)
    for turn in range(ranks):
        scores = _scores(q, k, turn, group, causal)
        top = jnp.maximum(largest, scores.max(-1))
        weights, fade = jnp.exp(scores - top[..., None]), jnp.exp(largest - top)
        total = total * fade + weights.sum(-1)
        part = jnp.einsum("bgest,btgd->bsged", weights.astype(v.dtype), v)
        mixed = mixed * _beside(fade) + part
        largest = top
        if turn + 1 < ranks:
            k, v = _on(k, v, group, ranks)
    out = (mixed / _beside(total)).astype(q.dtype)
    return out, (q, own_k, own_v, out, largest + jnp.log(total))


def _backward(
    group: Group, ranks: int, causal: bool, kept: Kept, g: Array
) -> tuple[Array, Array, Array]:
    q, k, v, out, normal = kept
    inner = jnp.einsum("bsged,bsged->bges", g, out)
    dq = jnp.zeros_like(q)
    home: tuple[Array, Array] | None = None
    away: tuple[Array, Array] | None = None
    for turn in range(ranks):
        weights = jnp.exp(_scores(q, k, turn, group, causal) - normal[..., None])
        dv = jnp.einsum("bgest,bsged->btgd", weights.astype(g.dtype), g)
        slope = jnp.einsum("bsged,btgd->bgest", g, v) - inner[..., None]
        slope = (weights * slope / math.sqrt(q.shape[-1])).astype(q.dtype)
        dq = dq + jnp.einsum("bgest,btgd->bsged", slope, k)
        dk = jnp.einsum("bgest,bsged->btgd", slope, q)
        if turn == 0:
            home = (dk, dv)
        else:
            away = (dk, dv) if away is None else (away[0] + dk, away[1] + dv)
            away = _on(*away, group, ranks)
        if turn + 1 < ranks:
            k, v = _on(k, v, group, ranks)
    assert home is not None
    if away is None:
        return dq, *home
    return dq, home[0] + away[0], home[1] + away[1]


ring.defvjp(_forward, _backward)


def _scores(q: Array, k: Array, turn: int, group: Group, causal: bool) -> Array:
    """Score a block: keys of the rank `turn` places back, whole or not at all but for its own."""
    scores = jnp.einsum("bsged,btgd->bgest", q, k).astype(jnp.float32) / math.sqrt(q.shape[-1])
    if not causal:
        return scores
    if turn == 0:
        seen = jnp.arange(k.shape[1])[None, :] <= jnp.arange(q.shape[1])[:, None]
        return jnp.where(seen, scores, MASKED)
    return jnp.where(parallel.rank(group) >= turn, scores, MASKED)


def _on(one: Array, other: Array, group: Group, ranks: int) -> tuple[Array, Array]:
    """Pass a block's two arrays on, in one message."""
    both = parallel.shift(jnp.concatenate([one, other], -1), group, ranks, around=True)
    return both[..., : one.shape[-1]], both[..., one.shape[-1] :]


def _beside(x: Array) -> Array:
    """(batch, groups, queries, tokens) laid beside (batch, tokens, groups, queries, width)."""
    return jnp.moveaxis(x, -1, 1)[..., None]
