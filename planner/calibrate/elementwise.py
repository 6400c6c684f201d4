"""Work bound by memory, forward and backward, counted as plans count it.

Traffic is in elements that a fused kernel reads and writes, as `planner.workloads.training` has it:
2 an element for a norm, 3 for a sum of two, 3 of the inner width for a gated activation, and in the
backward 1.6 times the forward's. What a plan says of memory's efficiency is relative to that count.

Parts: `KERNELS`, `traffic_elements`, `kernel`.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from planner.calibrate.programs import DTYPES, Kernel
from planner.workloads.training.operators import BACKWARD_TRAFFIC

__all__ = ["KERNELS", "kernel", "traffic_elements"]

_NEAR_ZERO = 1e-5


def _norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    mean = jnp.mean(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(mean + _NEAR_ZERO) * scale[0]


def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    return jax.nn.silu(gate) * up


def _residual(x: jax.Array, y: jax.Array) -> jax.Array:
    return x + y


def _copy(x: jax.Array) -> jax.Array:
    return -x


def _backward(forward: Callable[..., jax.Array]) -> Callable[..., object]:
    def run(dy: jax.Array, *inputs: jax.Array) -> object:
        return jax.vjp(forward, *inputs)[1](dy)

    return run


KERNELS: dict[str, tuple[Callable[..., object], int, int, float]] = {
    "copy": (_copy, 1, 0, 2.0),
    "norm": (_norm, 1, 1, 2.0),
    "norm backward": (_backward(_norm), 2, 1, 2.0 * BACKWARD_TRAFFIC),
    "gated": (_gated, 2, 0, 3.0),
    "gated backward": (_backward(_gated), 3, 0, 3.0 * BACKWARD_TRAFFIC),
    "residual": (_residual, 2, 0, 3.0),
}
"""By name: the function, its arrays [rows, width] and [1, width], traffic in elements of one."""


def traffic_elements(name: str, sizes: Mapping[str, int]) -> float:
    """Elements read and written, as a plan counts them."""
    return KERNELS[name][3] * sizes["rows"] * sizes["width"]


def kernel(name: str, sizes: Mapping[str, int], precision: str) -> Kernel:
    """Return the kernel called `name` on [rows, width]."""
    run, wide, thin, _ = KERNELS[name]
    rows, width = sizes["rows"], sizes["width"]
    dtype = DTYPES[precision]
    moved = traffic_elements(name, sizes) * jnp.dtype(dtype).itemsize
    return Kernel(run, [*[(rows, width)] * wide, *[(1, width)] * thin], dtype, bytes=moved)
