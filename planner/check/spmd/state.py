"""Gradients added up over replicas, and Adam on what each rank owns.

By stage of ZeRO, how gradients are added up:

    zero 0  all-reduce once a step
    zero 1  reduce-scatter once a step, all-reduce over copies; parameters gathered once a step
    zero 2  as zero 1, but reduced every microbatch where there is no pipeline
    zero 3  in the parameters' own rule (`parallel.gather_parameter`)
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from planner.check.layout import Group, Layout, Parameter
from planner.check.spmd import parallel
from planner.check.spmd.decoder import Weights

__all__ = ["adam", "gathered", "owned", "reduced", "settled"]

JOINED, JOINED_BYTES = "joined", 2**20
"""Name of small gradients laid one after the other, and the size from which one goes alone."""
RATE, FIRST, SECOND, EPSILON = 1e-3, 0.9, 0.95, 1e-8


def reduced(gradients: Weights, layout: Layout) -> Weights:
    """Add gradients up over replicas, down to each rank's shard where states are sharded."""
    if layout.mesh.zero == 3:
        return gradients
    of = layout.parameters
    shards = {
        name: parallel.reduce_scatter(g, Group("dp", of[name].shards), of[name].cut)
        for name, g in gradients.items()
    }
    return _summed(shards, {name: Group("dp", of[name].copies) for name in shards})


def settled(gradients: Weights, layout: Layout) -> Weights:
    """Add up the parts of gradients of parameters that ranks hold whole but use in part."""
    term = "tp" if layout.mesh.sp else "pp"
    of = layout.parameters
    return _summed(gradients, {name: Group(term, of[name].partial) for name in gradients})


def _summed(values: Weights, over: dict[str, Group]) -> Weights:
    """All-reduce what goes over the same ranks: large arrays as they lie, small ones joined.

    Each array that is sent pays the latency, and each that is joined is copied twice.
    """
    out = dict(values)
    for group in sorted(set(over.values())):
        names = [name for name in values if over[name] == group and group.axes]
        small = [name for name in names if values[name].nbytes < JOINED_BYTES]
        sent = {name: values[name] for name in names if name not in small}
        if small:
            sent[JOINED] = jnp.concatenate([values[name].ravel() for name in small])
        out |= parallel.all_reduce(sent, group)
        if small:
            parts = jnp.split(out.pop(JOINED), np.cumsum([values[n].size for n in small])[:-1])
            out |= {n: x.reshape(values[n].shape) for n, x in zip(small, parts, strict=True)}
    return out


def owned(w: Weights, layout: Layout) -> Weights:
    """Return what of the parameters each rank updates: its shards."""
    return {name: _own(x, layout.parameters[name], layout) for name, x in w.items()}


def _sliced(of: Parameter, layout: Layout) -> bool:
    return bool(of.shards) and layout.mesh.zero < 3


def _own(x: Array, of: Parameter, layout: Layout) -> Array:
    if not _sliced(of, layout):
        return x
    group = Group("dp", of.shards)
    part = x.shape[of.cut] // lax.axis_size(group.axes)
    return lax.dynamic_slice_in_dim(x, parallel.rank(group) * part, part, of.cut)


def gathered(w: Weights, layout: Layout) -> Weights:
    """Make updated parameters whole again, where they are kept whole."""
    of = layout.parameters
    return {
        name: parallel.all_gather(x, Group("dp", of[name].shards), of[name].cut)
        if _sliced(of[name], layout)
        else x
        for name, x in w.items()
    }


def adam(
    w: Weights, first: Weights, second: Weights, gradients: Weights, count: Array
) -> tuple[Weights, Weights, Weights]:
    """Take one step of Adam on what a rank owns (Kingma, Ba 2015)."""
    out: Weights = {}
    moments: tuple[Weights, Weights] = ({}, {})
    for name, g in gradients.items():
        one = FIRST * first[name] + (1.0 - FIRST) * g
        two = SECOND * second[name] + (1.0 - SECOND) * g * g
        scale = jnp.sqrt(two / (1.0 - SECOND**count)) + EPSILON
        moved = w[name] - RATE * one / (1.0 - FIRST**count) / scale
        out[name] = moved.astype(w[name].dtype)
        moments[0][name], moments[1][name] = one, two
    return out, *moments
