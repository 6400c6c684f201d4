"""Stacks of real widths in plain JAX; their shapes alone are ever evaluated in tests."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

LAYERS, HIDDEN, HEADS, WIDTH = 4, 4096, 32, 128
Arrays = dict[str, jax.Array]


def init() -> Arrays:
    shapes = {
        "gain": (LAYERS, HIDDEN),
        "up": (LAYERS, HIDDEN, 4 * HIDDEN),
        "down": (LAYERS, 4 * HIDDEN, HIDDEN),
        "q": (LAYERS, HIDDEN, HEADS, WIDTH),
        "k": (LAYERS, HIDDEN, HEADS, WIDTH),
        "v": (LAYERS, HIDDEN, HEADS, WIDTH),
        "o": (LAYERS, HEADS, WIDTH, HIDDEN),
    }
    return {name: jnp.zeros(shape) for name, shape in shapes.items()}


def _stack(block: Callable[[Arrays, jax.Array], jax.Array], p: Arrays, x: jax.Array) -> jax.Array:
    def layer(h: jax.Array, w: Arrays) -> tuple[jax.Array, None]:
        normed = h * lax.rsqrt((h * h).mean(-1, keepdims=True) + 1e-5) * w["gain"]
        return h + block(w, normed), None

    return (lax.scan(layer, x, p)[0] ** 2).mean()


def mlp(p: Arrays, x: jax.Array) -> jax.Array:
    own = {name: p[name] for name in ("gain", "up", "down")}
    return _stack(lambda w, h: jax.nn.relu(h @ w["up"]) @ w["down"], own, x)


def attention(p: Arrays, x: jax.Array) -> jax.Array:
    def block(w: Arrays, h: jax.Array) -> jax.Array:
        q, k, v = (jnp.einsum("bsh,hnd->bsnd", h, w[name]) for name in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bsnd,btnd->bnst", q, k), -1)
        return jnp.einsum("bnst,btnd,ndh->bsh", weights, v, w["o"])

    return _stack(block, {name: p[name] for name in ("gain", "q", "k", "v", "o")}, x)
