"""Collectives in groups of devices, all groups at work at once.

Sizes are as the cost models count them: of the buffer that a rank reduces, of what is gathered in
all, of what a rank scatters, sends to all, or passes to its neighbour.

Parts: `KINDS`, `kernel`, `grid`.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from planner.calibrate.programs import DTYPES, Kernel

__all__ = ["KINDS", "grid", "kernel"]

_GROUP = "group"


def _all_reduce(x: jax.Array, ranks: int) -> jax.Array:
    made: jax.Array = jax.lax.psum(x, _GROUP)
    return made


def _all_gather(x: jax.Array, ranks: int) -> jax.Array:
    made: jax.Array = jax.lax.all_gather(x, _GROUP, tiled=True)
    return made


def _reduce_scatter(x: jax.Array, ranks: int) -> jax.Array:
    made: jax.Array = jax.lax.psum_scatter(x, _GROUP, tiled=True)
    return made


def _all_to_all(x: jax.Array, ranks: int) -> jax.Array:
    made: jax.Array = jax.lax.all_to_all(x, _GROUP, 0, 0, tiled=True)
    return made


def _permute(x: jax.Array, ranks: int) -> jax.Array:
    made: jax.Array = jax.lax.ppermute(x, _GROUP, [(i, (i + 1) % ranks) for i in range(ranks)])
    return made


KINDS: dict[str, Callable[[jax.Array, int], jax.Array]] = {
    "all_reduce": _all_reduce,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
    "alltoall": _all_to_all,
    "permute": _permute,
}


def grid(devices: Sequence[object], ranks: int, stride: int) -> Mesh:
    """Arrange devices in groups of `ranks`, neighbours `stride` apart in their order."""
    blocks = np.array(devices).reshape(-1, ranks, stride)
    return Mesh(blocks.transpose(0, 2, 1), ("block", "lane", _GROUP))


def kernel(kind: str, size_bytes: int, ranks: int, precision: str) -> Kernel:
    """Return one collective of `size_bytes` in a group of `ranks`."""
    dtype = DTYPES[precision]
    size = jnp.dtype(dtype).itemsize
    elements = max(ranks, size_bytes // size // ranks * ranks)
    own = elements // ranks if kind == "all_gather" else elements

    def run(x: jax.Array) -> jax.Array:
        return KINDS[kind](x, ranks)

    return Kernel(run, [(own,)], dtype, bytes=2.0 * elements * size)
