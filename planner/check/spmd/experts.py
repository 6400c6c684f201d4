"""A mixture of experts: tokens dealt to experts of static capacity, exchanged over expert ranks.

Two all-to-alls forward, to the experts and back, and two backward. Each rank sends every expert as
many slots as `capacity` times the tokens that it gets on average; what does not fit is dropped.
Balanced, tokens take experts in turn whatever the router says, and none is dropped.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from planner.check.layout import Layout
from planner.check.spmd import parallel
from planner.check.spmd.feed import gated
from planner.check.spmd.products import product

__all__ = ["experts"]


def experts(x: Array, w: dict[str, Array], layout: Layout) -> Array:
    """Return what the experts add to each token."""
    moe = layout.model.moe
    assert moe is not None
    flat = x.reshape(-1, x.shape[-1])
    chances = jax.nn.softmax(flat @ w["router"], -1)
    if layout.balanced:
        turn = jnp.arange(x.shape[1])[:, None] * moe.top_k + jnp.arange(moe.top_k)
        chosen = jnp.tile(turn % moe.experts, (x.shape[0], 1))
        share = jnp.take_along_axis(chances, chosen, -1)
    else:
        share, chosen = jax.lax.top_k(chances, moe.top_k)
    share = share / share.sum(-1, keepdims=True)
    slots = math.ceil(layout.capacity * len(flat) * moe.top_k / moe.experts)
    place, source = _places(chosen, moe.experts, slots)
    sent = _dealt(flat, source // moe.top_k, place).reshape(moe.experts, slots, -1)
    back = _worked(sent, w, layout).reshape(moe.experts * slots, -1)
    back = _dealt(back, place.reshape(-1), source[:, None]).reshape(*chosen.shape, -1)
    return jnp.einsum("tk,tkh->th", share, back).reshape(x.shape)


def _places(chosen: Array, count: int, slots: int) -> tuple[Array, Array]:
    """Return the slot of each token's choice, and the choice in each slot.

    One past the end means none: the slot of a choice that is dropped, the choice of an empty slot.
    """
    flat = chosen.reshape(-1)
    one = jax.nn.one_hot(flat, count, dtype=jnp.int32)
    before = jnp.take_along_axis(jnp.cumsum(one, 0), flat[:, None], 1)[:, 0] - 1
    place = jnp.where(before < slots, flat * slots + before, count * slots)
    source = jnp.full(count * slots, len(flat)).at[place].set(jnp.arange(len(flat)), mode="drop")
    return place.reshape(chosen.shape), source


@jax.custom_vjp
def _dealt(x: Array, take: Array, give: Array) -> Array:
    """Take rows; none where an index is past the end. `give`: all places that each row goes to."""
    return jnp.take(x, take, axis=0, mode="fill", fill_value=0)


def _dealt_forward(x: Array, take: Array, give: Array) -> tuple[Array, Array]:
    return _dealt(x, take, give), give


def _dealt_backward(give: Array, g: Array) -> tuple[Array, None, None]:
    """Take the gradients from those places: no rows are added to one another's memory."""
    return jnp.take(g, give, axis=0, mode="fill", fill_value=0).sum(1), None, None


_dealt.defvjp(_dealt_forward, _dealt_backward)


def _worked(sent: Array, w: dict[str, Array], layout: Layout) -> Array:
    """Send slots to the ranks of their experts, work on them there, send them back."""
    to, among = layout.group("ep"), layout.group("etp")
    here = parallel.swap(sent, to, 0, 1)
    here = parallel.gather(here, among, 1)
    wide = jax.vmap(product)(here, w["expert_up"])
    out = jax.vmap(product)(gated(wide), w["expert_down"])
    return parallel.swap(parallel.scatter(out, among, 1), to, 1, 0)
