"""Parts of a step run by themselves: the exchanges of one axis after the other, and Adam.

Inside a compiled step nobody sees what an exchange takes. Alone, the same collectives on the same
groups, as often and one after the other, tell it: without the waiting for ranks that come late.

Parts: `exchanges_alone`, `adam_alone`.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec as P

from planner.check.exchanges import Exchange
from planner.check.layout import Group
from planner.check.spmd import parallel
from planner.check.spmd.decoder import Weights
from planner.check.spmd.state import adam
from planner.check.step import Step
from planner.check.turns import repeated

__all__ = ["adam_alone", "exchanges_alone"]

Run = Callable[[], object]


def exchanges_alone(step: Step, found: Mapping[Exchange, int]) -> dict[str, Run]:
    """Return calls that run the exchanges of each axis of the plan, all ranks at once."""
    terms = sorted({each.term for each in found} - {"loss"})
    return {
        term: _compiled(step, {e: times for e, times in found.items() if e.term == term})
        for term in terms
    }


def _compiled(step: Step, found: Mapping[Exchange, int]) -> Run:
    def body(seed: Array) -> Array:
        total = jnp.zeros(())
        for exchange, times in found.items():
            total = total + _repeated(exchange, times, seed + total)
        return total[None]

    mesh = step.mesh
    every = P(mesh.axis_names)
    mapped = jax.shard_map(body, mesh=mesh, in_specs=P(), out_specs=every, check_vma=False)
    run = jax.jit(mapped).lower(jnp.zeros(())).compile()
    return lambda: jax.block_until_ready(run(jnp.zeros(())))


def _repeated(exchange: Exchange, times: int, seed: Array) -> Array:
    """Run an exchange again and again, after what `seed` comes from."""
    first = jnp.broadcast_to(seed, exchange.shape).astype(exchange.dtype)
    last = repeated(lambda x: _once(exchange, x), times)(first)
    assert isinstance(last, Array)
    return last[(0,) * last.ndim].astype(jnp.float32)


def _once(exchange: Exchange, x: Array) -> Array:
    group = Group(exchange.term, exchange.axes)
    if exchange.kind == "all_reduce":
        return parallel.all_reduce(x, group)
    if exchange.kind == "all_gather":
        return parallel.all_gather(x, group, exchange.dims[0])
    if exchange.kind == "reduce_scatter":
        return parallel.reduce_scatter(x, group, exchange.dims[0])
    if exchange.kind == "all_to_all":
        return parallel.swap(x, group, *exchange.dims)
    return parallel.shift(x, group, int(lax.axis_size(exchange.axes)), around=exchange.term == "cp")


def adam_alone(step: Step) -> Run:
    """Return a call that runs Adam on what each rank owns, in place as a step does."""
    state = step.arguments[0]
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, state.first)

    def zeros() -> Weights:
        made: Weights = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding), state.first
        )
        return made

    mapped = jax.shard_map(
        lambda w, first, second, g: adam(w, first, second, g, jnp.ones(())),
        mesh=step.mesh, in_specs=(specs,) * 4, out_specs=(specs,) * 3, check_vma=False,
    )  # fmt: skip
    own, gradients = (zeros(), zeros(), zeros()), zeros()
    run = jax.jit(mapped, donate_argnums=(0, 1, 2)).lower(*own, gradients).compile()

    def updated() -> None:
        nonlocal own
        own = jax.block_until_ready(run(*own, gradients))

    return updated
