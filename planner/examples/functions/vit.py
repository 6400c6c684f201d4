"""A vision transformer (ViT-L/16) in plain JAX: what a user's own model looks like.

`init(key)` makes the parameters, `loss(parameters, images, labels)` is what is trained; nothing
here knows of the planner. Source of the shapes: Dosovitskiy et al., ICLR 2021, table 1.
"""

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["init", "loss"]

LAYERS, HIDDEN, HEADS, MLP, PATCH, SIDE, CLASSES = 24, 1024, 16, 4096, 16, 224, 1000
WIDTH = HIDDEN // HEADS
PATCHES = (SIDE // PATCH) ** 2
Arrays = dict[str, jax.Array]


def init(key: jax.Array) -> dict[str, jax.Array | Arrays]:
    """Make the parameters."""
    keys = iter(jax.random.split(key, 16))

    def normal(*shape: int) -> jax.Array:
        return 0.02 * jax.random.normal(next(keys), shape)

    layers = {
        "attention_gain": jnp.ones((LAYERS, HIDDEN)),
        "query": normal(LAYERS, HIDDEN, HEADS, WIDTH),
        "key": normal(LAYERS, HIDDEN, HEADS, WIDTH),
        "value": normal(LAYERS, HIDDEN, HEADS, WIDTH),
        "output": normal(LAYERS, HEADS, WIDTH, HIDDEN),
        "mlp_gain": jnp.ones((LAYERS, HIDDEN)),
        "up": normal(LAYERS, HIDDEN, MLP),
        "down": normal(LAYERS, MLP, HIDDEN),
    }
    return {
        "patches": normal(PATCH, PATCH, 3, HIDDEN),
        "positions": normal(PATCHES, HIDDEN),
        "layers": layers,
        "head": normal(HIDDEN, CLASSES),
    }


def _norm(x: jax.Array, gain: jax.Array) -> jax.Array:
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gain


def _layer(h: jax.Array, w: Arrays) -> tuple[jax.Array, None]:
    x = _norm(h, w["attention_gain"])
    q = jnp.einsum("bsh,hnd->bsnd", x, w["query"]) * WIDTH**-0.5
    k = jnp.einsum("bsh,hnd->bsnd", x, w["key"])
    v = jnp.einsum("bsh,hnd->bsnd", x, w["value"])
    weights = jax.nn.softmax(jnp.einsum("bsnd,btnd->bnst", q, k), -1)
    h = h + jnp.einsum("bnst,btnd,ndh->bsh", weights, v, w["output"])
    x = _norm(h, w["mlp_gain"])
    return h + jax.nn.gelu(x @ w["up"]) @ w["down"], None


def loss(parameters: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of the classes; layers are computed again for the backward pass."""
    h = lax.conv_general_dilated(
        images,
        parameters["patches"],
        (PATCH, PATCH),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    h = h.reshape(h.shape[0], PATCHES, HIDDEN) + parameters["positions"]
    h, _ = lax.scan(jax.checkpoint(_layer), h, parameters["layers"])
    chances = jax.nn.log_softmax(h.mean(1) @ parameters["head"])
    return -jnp.take_along_axis(chances, labels[:, None], -1).mean()
