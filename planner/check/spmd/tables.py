"""Embedding, head and loss, their vocabulary shared by tensor ranks.

Each rank looks up the tokens of its part of the vocabulary and the parts are added up; logits stay
where they are, and only each token's largest, sum and own logit are exchanged. Source: Shoeybi et
al. 2019, section 3.
"""

import jax.numpy as jnp
from jax import Array, lax

from planner.check.layout import Group, Layout
from planner.check.spmd import parallel
from planner.check.spmd.feed import norm
from planner.check.spmd.products import product

__all__ = ["embed", "loss_sum"]


def embed(table: Array, tokens: Array, layout: Layout) -> Array:
    """Look tokens up; under sequence parallelism each rank keeps its part of the sequence."""
    group = layout.group("tp")
    if not group.axes:
        return table[tokens]
    own = tokens - parallel.rank(group) * table.shape[0]
    mine = (own >= 0) & (own < table.shape[0])
    rows = jnp.where(mine[..., None], table[jnp.where(mine, own, 0)], 0.0)
    return parallel.scatter(rows, group, 1) if layout.mesh.sp else parallel.reduce(rows, group)


def loss_sum(x: Array, w: dict[str, Array], labels: Array, layout: Layout) -> Array:
    """Sum the cross-entropy of this rank's tokens; alike on all tensor ranks."""
    group = layout.group("tp")
    x = norm(x, w["final_norm"])
    x = parallel.gather(x, group, 1) if layout.mesh.sp else parallel.copy(x, group)
    logits = product(x, w["head"] if "head" in w else w["embedding"].T)
    return jnp.sum(_cross_entropy(logits.astype(jnp.float32), labels, group))


def _cross_entropy(logits: Array, labels: Array, group: Group) -> Array:
    largest = lax.stop_gradient(logits.max(-1))
    largest = parallel.largest(largest, group)
    own = labels - parallel.rank(group) * logits.shape[-1]
    total = parallel.reduce(jnp.sum(jnp.exp(logits - largest[..., None]), -1), group)
    aimed = jnp.arange(logits.shape[-1]) == own[..., None]
    aim = parallel.reduce(jnp.sum(jnp.where(aimed, logits, 0.0), -1), group)
    return jnp.log(total) + largest - aim
