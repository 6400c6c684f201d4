"""Products of several experts at once: equal rows for each, one weight matrix a head.

Parts: `forward`.
"""

from collections.abc import Mapping

import jax

from planner.calibrate.programs import DTYPES, Kernel

__all__ = ["forward"]


def forward(sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return the two products of every expert: [experts, rows, k] by [experts, k, n] and back."""
    experts, rows, n, k = (sizes[name] for name in ("experts", "rows", "n", "k"))

    def run(x: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
        return (x @ up) @ down

    shapes = [(experts, rows, k), (experts, k, n), (experts, n, k)]
    return Kernel(run, shapes, DTYPES[precision], flop=4.0 * experts * rows * n * k)
