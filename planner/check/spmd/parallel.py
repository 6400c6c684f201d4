"""Collectives with their gradient rules, so that what is compiled is what a plan counts.

Inside `jax.shard_map` each rank differentiates its own part of the loss. A value that ranks hold
alike has a gradient that they hold alike. Every function does nothing where a group has no axes.
Names of operations say which axis of the plan they serve: `comm_tp`, `comm_dp` ...

    copy     forward nothing             backward all-reduce
    reduce   forward all-reduce          backward nothing
    gather   forward all-gather          backward reduce-scatter
    scatter  forward reduce-scatter      backward all-gather
    swap     forward all-to-all          backward all-to-all
    shift    forward send to the next    backward send to the one before

`all_reduce`, `all_gather`, `reduce_scatter` and `largest` have no rule: for what is not
differentiated.
"""

from functools import partial
from typing import TypeVar

import jax
from jax import Array, lax

from planner.check.layout import Group

__all__ = [
    "SCOPE", "all_gather", "all_reduce", "copy", "gather", "gather_parameter", "largest", "rank",
    "reduce", "reduce_scatter", "scatter", "shift", "swap",
]  # fmt: skip

SCOPE = "comm_"
"""What the names of operations begin with, before the plan's axis."""
Tree = TypeVar("Tree")


def rank(group: Group) -> Array | int:
    """Return this rank's place in its group, the outermost axis first."""
    return lax.axis_index(group.axes) if group.axes else 0


def all_reduce(x: Tree, group: Group) -> Tree:
    """Add up what the ranks have, a whole tree in one."""
    if not group.axes:
        return x
    with jax.named_scope(SCOPE + group.term):
        return lax.psum(x, group.axes)


def largest(x: Array, group: Group) -> Array:
    """Return the largest of what the ranks have."""
    if not group.axes:
        return x
    with jax.named_scope(SCOPE + group.term):
        return lax.pmax(x, group.axes)


def all_gather(x: Array, group: Group, dim: int) -> Array:
    """Join the ranks' parts along a dim."""
    if not group.axes:
        return x
    with jax.named_scope(SCOPE + group.term):
        return lax.all_gather(x, group.axes, axis=dim, tiled=True)


def reduce_scatter(x: Array, group: Group, dim: int) -> Array:
    """Add up what the ranks have, and keep this rank's part along a dim."""
    if not group.axes:
        return x
    with jax.named_scope(SCOPE + group.term):
        return lax.psum_scatter(x, group.axes, scatter_dimension=dim, tiled=True)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def copy(x: Array, group: Group) -> Array:
    """Use a value that all ranks hold alike in work that they share."""
    return x


copy.defvjp(lambda x, group: (x, None), lambda group, _, g: (all_reduce(g, group),))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def reduce(x: Array, group: Group) -> Array:
    """Add up what the ranks have."""
    return all_reduce(x, group)


reduce.defvjp(lambda x, group: (all_reduce(x, group), None), lambda group, _, g: (g,))


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gather(x: Array, group: Group, dim: int) -> Array:
    """Join the ranks' parts along a dim."""
    return all_gather(x, group, dim)


gather.defvjp(
    lambda x, group, dim: (all_gather(x, group, dim), None),
    lambda group, dim, _, g: (reduce_scatter(g, group, dim),),
)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def scatter(x: Array, group: Group, dim: int) -> Array:
    """Add up what the ranks have, and keep this rank's part along a dim."""
    return reduce_scatter(x, group, dim)


scatter.defvjp(
    lambda x, group, dim: (reduce_scatter(x, group, dim), None),
    lambda group, dim, _, g: (all_gather(g, group, dim),),
)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def gather_parameter(x: Array, shards: Group, copies: Group, dim: int) -> Array:
    """Join a parameter's shards along a dim; its gradient is added up over all replicas."""
    return all_gather(x, shards, dim)


gather_parameter.defvjp(
    lambda x, shards, copies, dim: (all_gather(x, shards, dim), None),
    lambda shards, copies, dim, _, g: (all_reduce(reduce_scatter(g, shards, dim), copies),),
)


def swap(x: Array, group: Group, split: int, join: int) -> Array:
    """Cut one dim over the ranks and make another whole."""
    if not group.axes:
        return x
    with jax.named_scope(SCOPE + group.term):
        return lax.all_to_all(x, group.axes, split, join, tiled=True)


def shift(x: Array, group: Group, ranks: int, *, around: bool) -> Array:
    """Send to the next rank, from the last to the first too where the ranks form a ring."""
    pairs = [(i, (i + 1) % ranks) for i in range(ranks if around else ranks - 1)]
    with jax.named_scope(SCOPE + group.term):
        return lax.ppermute(x, group.axes, pairs)
