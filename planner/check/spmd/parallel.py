"""Collectives with their gradient rules, so that what is compiled is what a plan counts.

Inside `jax.shard_map` each rank differentiates its own part of the loss. A value that ranks hold
alike has a gradient that they hold alike. Every function takes grid axes and does nothing where
there are none.

    copy     forward nothing             backward all-reduce
    reduce   forward all-reduce          backward nothing
    gather   forward all-gather          backward reduce-scatter
    scatter  forward reduce-scatter      backward all-gather
    swap     forward all-to-all          backward all-to-all
    shift    forward send to the next    backward send to the one before
"""

from functools import partial

import jax
from jax import Array, lax

from planner.check.layout import Axes

__all__ = ["copy", "gather", "gather_parameter", "rank", "reduce", "scatter", "shift", "size",
           "swap"]  # fmt: skip


def size(axes: Axes) -> int:
    """Ranks of the axes."""
    return int(lax.axis_size(axes)) if axes else 1


def rank(axes: Axes) -> Array | int:
    """Return this rank's place among those of the axes, the outermost axis first."""
    return lax.axis_index(axes) if axes else 0


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def copy(x: Array, axes: Axes) -> Array:
    """Use a value that all ranks hold alike in work that they share."""
    return x


def _copy_forward(x: Array, axes: Axes) -> tuple[Array, None]:
    return x, None


def _copy_backward(axes: Axes, _: None, g: Array) -> tuple[Array]:
    return (lax.psum(g, axes) if axes else g,)


copy.defvjp(_copy_forward, _copy_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def reduce(x: Array, axes: Axes) -> Array:
    """Add up what the ranks have."""
    return lax.psum(x, axes) if axes else x


def _reduce_forward(x: Array, axes: Axes) -> tuple[Array, None]:
    return reduce(x, axes), None


def _reduce_backward(axes: Axes, _: None, g: Array) -> tuple[Array]:
    return (g,)


reduce.defvjp(_reduce_forward, _reduce_backward)


def _all_gather(x: Array, axes: Axes, dim: int) -> Array:
    return lax.all_gather(x, axes, axis=dim, tiled=True) if axes else x


def _reduce_scatter(x: Array, axes: Axes, dim: int) -> Array:
    return lax.psum_scatter(x, axes, scatter_dimension=dim, tiled=True) if axes else x


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gather(x: Array, axes: Axes, dim: int) -> Array:
    """Join the ranks' parts along a dim."""
    return _all_gather(x, axes, dim)


def _gather_forward(x: Array, axes: Axes, dim: int) -> tuple[Array, None]:
    return _all_gather(x, axes, dim), None


def _gather_backward(axes: Axes, dim: int, _: None, g: Array) -> tuple[Array]:
    return (_reduce_scatter(g, axes, dim),)


gather.defvjp(_gather_forward, _gather_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def scatter(x: Array, axes: Axes, dim: int) -> Array:
    """Add up what the ranks have, and keep this rank's part along a dim."""
    return _reduce_scatter(x, axes, dim)


def _scatter_forward(x: Array, axes: Axes, dim: int) -> tuple[Array, None]:
    return _reduce_scatter(x, axes, dim), None


def _scatter_backward(axes: Axes, dim: int, _: None, g: Array) -> tuple[Array]:
    return (_all_gather(g, axes, dim),)


scatter.defvjp(_scatter_forward, _scatter_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def gather_parameter(x: Array, shards: Axes, copies: Axes, dim: int) -> Array:
    """Join a parameter's shards along a dim; its gradient is added up over all replicas."""
    return _all_gather(x, shards, dim)


def _gather_parameter_forward(x: Array, shards: Axes, copies: Axes, dim: int) -> tuple[Array, None]:
    return _all_gather(x, shards, dim), None


def _gather_parameter_backward(
    shards: Axes, copies: Axes, dim: int, _: None, g: Array
) -> tuple[Array]:
    g = _reduce_scatter(g, shards, dim)
    return (lax.psum(g, copies) if copies else g,)


gather_parameter.defvjp(_gather_parameter_forward, _gather_parameter_backward)


def swap(x: Array, axes: Axes, split: int, join: int) -> Array:
    """Cut one dim over the ranks and make another whole."""
    return lax.all_to_all(x, axes, split, join, tiled=True) if axes else x


def shift(x: Array, axes: Axes, ranks: int, *, around: bool) -> Array:
    """Send to the next rank, from the last to the first too where the ranks form a ring."""
    pairs = [(i, (i + 1) % ranks) for i in range(ranks if around else ranks - 1)]
    return lax.ppermute(x, axes, pairs)
