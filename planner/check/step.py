"""The real train step of a plan: its mesh, its shardings, its collectives, compiled by JAX.

`build` takes a plan (what `plan.json` holds: `job` and `strategy`) and as many devices as it has,
real ones or compile-only ones. The step is one `jax.shard_map` over grid axes that are the common
refinement of the plan's cuts, in float32 unless told otherwise. It is a plain decoder (see
`reduced` for what it leaves out) with Adam; its collectives are those that the planner counts, but
for

- norms and routers under sequence parallelism: their gradients are added up over tp as well;
- a pipeline runs m + p - 1 ticks, all of them with their sends and tensor-parallel collectives;
- of what zero 3 shards, tables (and norms that are not recomputed) are gathered once;
- under a pipeline, zero 3 gathers once a step;
- the loss: three numbers a token over tp, and one number over all.

Parts: `Step`, `build`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from numpy.typing import NDArray

from planner.check.layout import Axes, Layout, layout_of
from planner.check.spmd.program import Batch, State, program
from planner.emit.text import Header
from planner.emit.view import read
from planner.errors import SpecError

__all__ = ["Step", "build"]

NORMS = ("attention_norm", "mlp_norm", "final_norm")
WEIGHT = 0.02
"""Standard deviation of initial weights."""


@dataclass(frozen=True)
class Step:
    """A train step on some devices.

    Parameters
    ----------
    axes      : the grid, outermost first
    roles     : tp, cp, dp, pp, fsdp, ep, etp, efsdp -> the grid axes that make it up
    arguments : state and batch, as shapes with shardings
    run       : compiled when first called; takes `place()`, returns the next state and the loss;
                the state that it is given is used up
    notes     : what of the plan the step does otherwise
    """

    layout: Layout
    mesh: Mesh
    axes: Mapping[str, int]
    roles: Mapping[str, Axes]
    arguments: tuple[State[jax.ShapeDtypeStruct], Batch[jax.ShapeDtypeStruct]]
    run: jax.stages.Wrapped
    notes: tuple[str, ...]

    def lower(self) -> jax.stages.Lowered:
        """Lower the step for its devices."""
        return self.run.lower(*self.arguments)

    def place(self, seed: int = 0) -> tuple[State[jax.Array], Batch[jax.Array]]:
        """Make initial parameters and a batch, alike for every mesh of the same model."""
        key = np.random.default_rng(seed)
        state, batch = self.arguments

        def put(value: NDArray[np.generic], like: jax.ShapeDtypeStruct) -> jax.Array:
            made = np.broadcast_to(value, like.shape).astype(like.dtype)
            return jax.device_put(made, like.sharding)

        parameters, first, second = (
            {name: put(draw(name), like) for name, like in sorted(part.items())}
            for part, draw in (
                (state.parameters, lambda name: self._weight(key, name)),
                (state.first, lambda _: np.zeros(())),
                (state.second, lambda _: np.zeros(())),
            )
        )
        count = put(np.zeros(()), state.taken)
        shape = batch.tokens.shape
        drawn = key.integers(0, self.layout.model.vocab, (shape[0] * shape[1], shape[2] + 1))
        tokens, labels = drawn[:, :-1].reshape(shape), drawn[:, 1:].reshape(shape)
        return (
            State(parameters=parameters, first=first, second=second, taken=count),
            Batch(tokens=put(tokens, batch.tokens), labels=put(labels, batch.labels)),
        )

    def _weight(self, key: np.random.Generator, name: str) -> NDArray[np.generic]:
        """Draw a parameter; every stage has the same tables."""
        dims = self.layout.parameters[name].dims
        shape = tuple(1 if what == "stages" else size for what, size, _ in dims)
        if name in NORMS:
            return np.ones(shape, np.float32)
        return WEIGHT * key.standard_normal(shape, np.float32)


def build(
    plan: Mapping[str, object], devices: Sequence[jax.Device], dtype: str = "float32"
) -> Step:
    """Build the train step of a plan on as many devices as the plan has.

    Parameters
    ----------
    devices : real ones, or such as one can only compile for
    dtype   : of parameters, gradients and activations; moments and loss are float32

    Raises
    ------
    SpecError : not a plan of one training job; another number of devices; a dim that the ranks
                do not divide
    """
    view = read(plan)
    if len(devices) != view.mesh.devices:
        raise SpecError(f"the plan has {view.mesh.devices} devices, {len(devices)} were given")
    header = Header("")
    layout = layout_of(view, header)
    sizes = dict(layout.axes.sizes) or {"dp": 1}
    mesh = Mesh(np.asarray(devices).reshape(tuple(sizes.values())), tuple(sizes))
    specs = _specs(layout)
    arguments = _arguments(layout, mesh, specs, jnp.dtype(dtype))

    def body(
        state: State[jax.Array], batch: Batch[jax.Array]
    ) -> tuple[State[jax.Array], jax.Array]:
        return program(state, batch, layout)

    mapped = jax.shard_map(
        body, mesh=mesh, in_specs=specs, out_specs=(specs[0], P()), check_vma=False
    )
    return Step(
        layout=layout,
        mesh=mesh,
        axes=sizes,
        roles=layout.axes.roles,
        arguments=arguments,
        run=jax.jit(mapped, donate_argnums=0),
        notes=tuple(header.lost),
    )


def _specs(layout: Layout) -> tuple[State[P], Batch[P]]:
    """Return the partition specs of state and batch, in their places."""
    of, zero = layout.parameters, layout.mesh.zero
    used = {name: P(*(axes or None for axes in p.used)) for name, p in of.items()}
    sharded = {name: P(*(axes or None for axes in p.sharded)) for name, p in of.items()}
    moments = sharded if zero else used
    batch = P(None, layout.role("dp") or None, layout.role("cp") or None)
    return (
        State(parameters=sharded if zero == 3 else used, first=moments, second=moments, taken=P()),
        Batch(tokens=batch, labels=batch),
    )


def _arguments(
    layout: Layout, mesh: Mesh, specs: tuple[State[P], Batch[P]], dtype: jnp.dtype
) -> tuple[State[jax.ShapeDtypeStruct], Batch[jax.ShapeDtypeStruct]]:
    """Return shapes of state and batch with their shardings; `dtype`: of parameters."""
    shapes = {name: p.shape for name, p in layout.parameters.items()}
    tokens = (layout.mesh.microbatches, layout.batch, layout.sequence)

    def one(shape: tuple[int, ...], spec: P, dtype: jnp.dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    def each(part: Mapping[str, P], dtype: jnp.dtype) -> dict[str, jax.ShapeDtypeStruct]:
        return {name: one(shapes[name], spec, dtype) for name, spec in part.items()}

    state, batch = specs
    whole, moment = jnp.dtype("int32"), jnp.dtype("float32")
    return (
        State(
            parameters=each(state.parameters, dtype),
            first=each(state.first, moment),
            second=each(state.second, moment),
            taken=one((), state.taken, whole),
        ),
        Batch(tokens=one(tokens, batch.tokens, whole), labels=one(tokens, batch.labels, whole)),
    )
