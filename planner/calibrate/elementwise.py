"""Work bound by memory: large copies, and what a layer does between its products.

A layer's work is measured as one: two norms, two sums with the residual, a gated activation; and
its gradients. Its traffic is in elements that fused kernels read and write, as plans count it
(`planner.workloads.training.layer_ops`), so that memory's efficiency is relative to that count,
whatever a compiler fuses or copies in truth.

Parts: `KINDS`, `traffic_elements`, `kernel`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from planner.calibrate.programs import DTYPES, Kernel
from planner.check.spmd.feed import gated, norm
from planner.workloads.training.operators import BACKWARD_TRAFFIC

__all__ = ["KINDS", "LAYER", "LAYER_OPS", "kernel", "traffic_elements"]

LAYER = ("layer", "layer backward")
LAYER_OPS = 5.0
"""Kernels that a plan counts in it."""
KINDS = ("copy", *LAYER)


def _copy(x: jax.Array) -> jax.Array:
    return -x


def _layer(
    x: jax.Array, mixed: jax.Array, fed: jax.Array, wide: jax.Array, scale: jax.Array
) -> tuple[jax.Array, ...]:
    """Return what enters attention, the MLP, the MLP's last product, and the next layer.

    `mixed` and `fed` come from attention and the MLP, `wide` from the MLP's first product.
    """
    before = norm(x, scale[0])
    x = x + mixed
    return before, norm(x, scale[0]), gated(wide), x + fed


def _backward(*arrays: jax.Array) -> object:
    """Return the gradients of a layer's inputs; the first four arrays are those of its results."""
    return jax.vjp(_layer, *arrays[4:])[1](arrays[:4])


def traffic_elements(kind: str, sizes: Mapping[str, int]) -> float:
    """Count the elements read and written, as a plan does."""
    rows, width = float(sizes["rows"]), sizes["width"]
    if kind == "copy":
        return 2.0 * rows * width
    norms, sums, activation = 2 * 2 * width, 2 * 3 * width, 3 * sizes["inner"]
    forward = rows * (norms + sums + activation)
    return forward if kind == "layer" else BACKWARD_TRAFFIC * forward


def kernel(kind: str, sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return the work on [rows, width], the activation [rows, inner]."""
    rows, width = sizes["rows"], sizes["width"]
    dtype = DTYPES[precision]
    moved = traffic_elements(kind, sizes) * jnp.dtype(dtype).itemsize
    one: tuple[int, ...] = (rows, width)
    if kind == "copy":
        return Kernel(_copy, [one], dtype, bytes=moved)
    inner = sizes["inner"]
    inputs: list[tuple[int, ...]] = [one, one, one, (rows, 2, inner), (1, width)]
    if kind == "layer":
        return Kernel(_layer, inputs, dtype, bytes=moved)
    return Kernel(_backward, [one, one, (rows, inner), one, *inputs], dtype, bytes=moved)
