"""Matrix products with weights, as two layers after each other have them, and their gradients.

A point is tokens m, width k and inner width n: x [m, k] times w [k, n] times v [n, k], several
pairs of weights in turn, so that these are no warmer in a cache than a step's.

Parts: `forward`, `gradients`.
"""

from collections.abc import Mapping

import jax

from planner.calibrate.programs import DTYPES, Kernel

__all__ = ["PAIRS", "forward", "gradients"]

PAIRS = 2
"""Pairs of weights that a run of the forward point goes through."""


def forward(sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return `PAIRS` pairs of products, (m, n, k) then (m, k, n)."""
    m, n, k = (sizes[name] for name in "mnk")

    def run(x: jax.Array, *weights: jax.Array) -> jax.Array:
        for weight in weights:
            x = x @ weight
        return x

    shapes = [(m, k), *[(k, n), (n, k)] * PAIRS]
    return Kernel(run, shapes, DTYPES[precision], flop=4.0 * PAIRS * m * n * k)


def gradients(sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return a pair of products and the gradients of its input and of both weights."""
    m, n, k = (sizes[name] for name in "mnk")

    def pair(x: jax.Array, w: jax.Array, v: jax.Array) -> jax.Array:
        return (x @ w) @ v

    def run(x: jax.Array, w: jax.Array, v: jax.Array, dy: jax.Array) -> object:
        y, back = jax.vjp(pair, x, w, v)
        return y, back(dy)

    shapes = [(m, k), (k, n), (n, k), (m, k)]
    return Kernel(run, shapes, DTYPES[precision], flop=12.0 * m * n * k)
