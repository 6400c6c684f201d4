"""The feed-forward part of a dense layer, or a shared expert, and the norm before it."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from planner.check.spmd.products import product

__all__ = ["feed", "gated", "norm"]

EPSILON = 1e-6


def norm(x: Array, weight: Array) -> Array:
    """Scale tokens to a root mean square of `weight`."""
    return x * lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + EPSILON) * weight


def gated(wide: Array) -> Array:
    """Apply the nonlinearity; the dim before the last holds the gate, where there is one."""
    if wide.shape[-2] == 1:
        return jax.nn.gelu(wide[..., 0, :])
    return jax.nn.silu(wide[..., 0, :]) * wide[..., 1, :]


def feed(x: Array, w: dict[str, Array]) -> Array:
    """Return what the MLP adds, before the tensor ranks' parts are added."""
    return product(gated(product(x, w["up"])), w["down"])
