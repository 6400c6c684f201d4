"""Microbatches through the stages, GPipe: all forward, then backward as differentiation has it.

Every tick each stage works on what it was handed and hands its own on, m + p - 1 ticks for m
microbatches on p stages: the ticks in which a stage has nothing of its own to do are the bubble.
All stages look tokens up and take the loss; only the first one's and the last one's count.
"""

import jax
import jax.numpy as jnp
from jax import Array

from planner.check.layout import Layout
from planner.check.spmd import parallel
from planner.check.spmd.decoder import Weights, layers, whole
from planner.check.spmd.tables import embed, loss_sum

__all__ = ["piped_loss", "plain_loss"]

TABLES = ("embedding", "final_norm", "head")


def _split(w: Weights) -> tuple[Weights, Weights]:
    """Return this stage's tables, and its layers' parameters."""
    tables = {name: x[0] for name, x in w.items() if name in TABLES}
    return tables, {name: x for name, x in w.items() if name not in TABLES}


def plain_loss(w: Weights, tokens: Array, labels: Array, layout: Layout) -> Array:
    """Sum the loss of one microbatch where there is one stage."""
    tables, stacked = _split(w)
    first = whole({"embedding": tables["embedding"]}, layout)
    x = layers(embed(first["embedding"], tokens, layout), stacked, layout)
    last = {n: t for n, t in tables.items() if n != "embedding" or "head" not in tables}
    return loss_sum(x, whole(last, layout), labels, layout)  # at work when the backward begins


def piped_loss(w: Weights, tokens: Array, labels: Array, layout: Layout) -> Array:
    """Sum the loss of all microbatches (their first dim); 0 on all stages but the last."""
    group, stages = layout.group("pp"), layout.mesh.pp
    here = parallel.rank(group)
    tables, stacked = _split(w)
    looked = jax.lax.map(lambda t: embed(tables["embedding"], t, layout), tokens)
    fed = jnp.concatenate([looked, jnp.zeros((stages - 1, *looked.shape[1:]), looked.dtype)])

    def tick(handed: Array, new: Array) -> tuple[Array, Array]:
        out = layers(jnp.where(here == 0, new, handed), stacked, layout)
        return parallel.shift(out, group, stages, around=False), out

    _, made = jax.lax.scan(tick, jnp.zeros_like(looked[0]), fed)
    each = jax.lax.map(
        lambda pair: loss_sum(pair[0], tables, pair[1], layout), (made[stages - 1 :], labels)
    )
    return jnp.where(here == stages - 1, jnp.sum(each), 0.0)
