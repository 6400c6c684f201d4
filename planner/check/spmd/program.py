"""One training step of a laid-out model, as every rank runs it."""

from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from planner.check.layout import Group, Layout
from planner.check.spmd import parallel
from planner.check.spmd import state as states
from planner.check.spmd.decoder import Weights, gathered
from planner.check.spmd.pipeline import piped_loss, plain_loss

__all__ = ["Batch", "State", "program"]


T = TypeVar("T")


class State(NamedTuple, Generic[T]):
    """Parameters, Adam's moments, and the steps taken; each leaf an array, a shape or a spec."""

    parameters: dict[str, T]
    first: dict[str, T]
    second: dict[str, T]
    taken: T


class Batch(NamedTuple, Generic[T]):
    """Tokens and what comes after each: (microbatches, sequences, tokens)."""

    tokens: T
    labels: T


def program(state: State[Array], batch: Batch[Array], layout: Layout) -> tuple[State[Array], Array]:
    """Run one step; returns the state after it and the mean loss of the batch."""
    tokens = batch.tokens.shape[0] * layout.batch * layout.sequence
    w = state.parameters
    run = _piped if layout.mesh.pp > 1 else _accumulated
    loss, gradients = run(w, batch, layout, 1.0 / tokens)
    gradients = states.settled(gradients, layout)
    count = state.taken + 1
    own = states.owned(w, layout)
    own, first, second = states.adam(
        own, state.first, state.second, gradients, count.astype(jnp.float32)
    )
    w = states.gathered(own, layout)
    everyone = Group("loss", (*layout.role("pp"), *layout.role("dp"), *layout.role("cp")))
    loss = parallel.all_reduce(loss, everyone)
    return State(parameters=w, first=first, second=second, taken=count), loss


def _accumulated(
    w: Weights, batch: Batch[Array], layout: Layout, scale: float
) -> tuple[Array, Weights]:
    """Loss and gradients of the microbatches, one after the other."""

    def one(tokens: Array, labels: Array) -> tuple[Array, Weights]:
        held, tokens = lax.optimization_barrier((w, tokens))  # else gathered once for all
        loss, gradients = jax.value_and_grad(
            lambda w: scale * plain_loss(w, tokens, labels, layout)
        )(held)
        return loss, states.reduced(gradients, layout) if often else gradients

    often = layout.mesh.zero >= 2
    tokens, labels = batch.tokens, batch.labels
    if len(tokens) == 1:
        total = one(tokens[0], labels[0])
    else:

        def add(
            carry: tuple[Array, Weights], pair: tuple[Array, Array]
        ) -> tuple[tuple[Array, Weights], None]:
            return jax.tree.map(jnp.add, carry, one(*pair)), None

        shapes = jax.eval_shape(one, tokens[0], labels[0])
        start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        total = lax.scan(add, start, (tokens, labels))[0]
    loss, gradients = total
    return loss, gradients if often else states.reduced(gradients, layout)


def _piped(w: Weights, batch: Batch[Array], layout: Layout, scale: float) -> tuple[Array, Weights]:
    """Loss and gradients of the microbatches, through the stages."""

    def loss(w: Weights) -> Array:
        if layout.mesh.zero == 3:
            w = {name: gathered(x, layout.parameters[name], 0) for name, x in w.items()}
        return scale * piped_loss(w, batch.tokens, batch.labels, layout)

    total, gradients = jax.value_and_grad(loss)(w)
    return total, states.reduced(gradients, layout)
