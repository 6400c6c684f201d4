"""Small models in plain JAX, as a user would write them; imported by reference in tests."""

import jax
import jax.numpy as jnp
from jax import lax

LAYERS, HIDDEN, HEADS, WIDTH, VOCAB = 3, 64, 4, 16, 128
Arrays = dict[str, jax.Array]


def init(key: jax.Array) -> dict[str, object]:
    def make(*shape: int) -> jax.Array:
        return 0.02 * jax.random.normal(key, shape)

    stack = {
        "q": make(LAYERS, HIDDEN, HEADS, WIDTH),
        "k": make(LAYERS, HIDDEN, HEADS, WIDTH),
        "v": make(LAYERS, HIDDEN, HEADS, WIDTH),
        "o": make(LAYERS, HEADS, WIDTH, HIDDEN),
        "up": make(LAYERS, HIDDEN, 4 * HIDDEN),
        "down": make(LAYERS, 4 * HIDDEN, HIDDEN),
        "gain": jnp.ones((LAYERS, HIDDEN)),
    }
    return {
        "embedding": make(VOCAB, HIDDEN),
        "layers": stack,
        "head": make(HIDDEN, VOCAB),
        "kernel": make(3, 3, 3, 16),
        "classes": make(16, 10),
        "cell": (make(HIDDEN, HIDDEN), make(32, HIDDEN)),
        "gate": make(HIDDEN, 8),
        "experts": (make(8, HIDDEN, 128), make(8, 128, HIDDEN)),
        "mlp": [make(HIDDEN, HIDDEN) for _ in range(4)],
    }


def layer(h: jax.Array, w: Arrays) -> jax.Array:
    x = h * lax.rsqrt((h * h).mean(-1, keepdims=True) + 1e-5) * w["gain"]
    q, k, v = (jnp.einsum("bsh,hnd->bsnd", x, w[name]) for name in "qkv")
    scores = jnp.einsum("bsnd,btnd->bnst", q, k)
    mask = jnp.tril(jnp.ones((scores.shape[-1],) * 2, bool))
    a = jax.nn.softmax(jnp.where(mask, scores, -1e9), -1)
    h = h + jnp.einsum("bnst,btnd,ndh->bsh", a, v, w["o"])
    return h + jax.nn.gelu(h @ w["up"]) @ w["down"]


def _loss(p: dict[str, jax.Array], h: jax.Array, tokens: jax.Array) -> jax.Array:
    chances = jax.nn.log_softmax(h @ p["head"])
    return -jnp.take_along_axis(chances[:, :-1], tokens[:, 1:, None], -1).mean()


def loss(p: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    h, _ = lax.scan(lambda h, w: (layer(h, w), None), p["embedding"][tokens], p["layers"])
    return _loss(p, h, tokens)


def remat(p: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    step = jax.checkpoint(lambda h, w: (layer(h, w), None))
    h, _ = lax.scan(step, p["embedding"][tokens], p["layers"])
    return _loss(p, h, tokens)


def unrolled(p: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    h = p["embedding"][tokens]
    for i in range(LAYERS):
        h = layer(h, jax.tree.map(lambda w, i=i: w[i], p["layers"]))
    return _loss(p, h, tokens)


def attention(p: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    h = layer(p["embedding"][tokens], jax.tree.map(lambda w: w[0], p["layers"]))
    return _loss(p, h, tokens)


def convolutions(p: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    x = lax.conv_general_dilated(
        images, p["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    chances = jax.nn.log_softmax(jax.nn.relu(x).mean((1, 2)) @ p["classes"])
    return -(jax.nn.one_hot(labels, 10) * chances).sum(-1).mean()


def recurrent(p: dict[str, tuple[jax.Array, jax.Array]], series: jax.Array) -> jax.Array:
    u, w = p["cell"]

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.tanh(h @ u + x @ w)
        return h, h

    start = jnp.zeros((series.shape[0], HIDDEN), series.dtype)
    return (lax.scan(step, start, series.swapaxes(0, 1))[1] ** 2).mean()


def experts(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    weights, chosen = lax.top_k(jax.nn.softmax(x @ p["gate"]), 2)
    gates = (jax.nn.one_hot(chosen, 8, dtype=x.dtype) * weights[..., None]).sum(1)
    place = jnp.cumsum((gates > 0).astype(jnp.int32), 0)
    sent = jax.nn.one_hot(place, 16, dtype=x.dtype) * (gates > 0)[..., None]
    up, down = p["experts"]
    h = jax.nn.silu(jnp.einsum("ech,ehf->ecf", jnp.einsum("tec,th->ech", sent, x), up))
    y = jnp.einsum("ecf,efh->ech", h, down)
    return (jnp.einsum("tec,te,ech->th", sent, gates, y) ** 2).mean()


def mlp(p: dict[str, list[jax.Array]], x: jax.Array) -> jax.Array:
    for w in p["mlp"]:
        x = jnp.tanh(x @ w)
    return (x**2).mean()


def block(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    w = jax.tree.map(lambda w: w[0], p["layers"])
    return ((x + jax.nn.relu(x @ w["up"]) @ w["down"]) ** 2).mean()


def pixels(p: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    x = images.reshape(images.shape[0], -1, HIDDEN).reshape(-1, HIDDEN)
    return (x @ p["head"]).mean()


def cholesky(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    h = x @ p["gate"]
    return jnp.linalg.cholesky(h.T @ h + jnp.eye(8)).sum()


def vector(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return x @ p["gate"]
