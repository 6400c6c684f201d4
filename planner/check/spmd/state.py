"""Gradients added up over replicas, and Adam on what each rank owns.

zero 0  all-reduce once a step
zero 1  reduce-scatter once a step, all-reduce over copies; parameters gathered once a step
zero 2  as zero 1, but reduced every microbatch where there is no pipeline
zero 3  in the parameters' own rule (`parallel.gather_parameter`)
"""

import jax.numpy as jnp
from jax import Array, lax

from planner.check.layout import Layout, Parameter
from planner.check.spmd import parallel
from planner.check.spmd.decoder import Weights

__all__ = ["gathered", "reduced", "settled", "updated"]

RATE, FIRST, SECOND, EPSILON = 1e-3, 0.9, 0.95, 1e-8


def gathered(w: Weights, layout: Layout) -> Weights:
    """Make parameters whole once a step: zero 3 under a pipeline."""
    of = layout.parameters
    return {
        name: parallel.gather_parameter(x, of[name].shards, of[name].copies, of[name].cut)
        for name, x in w.items()
    }


def reduced(gradients: Weights, layout: Layout) -> Weights:
    """Add gradients up over replicas, down to each rank's shard where states are sharded."""
    if layout.mesh.zero == 3:
        return gradients
    of = layout.parameters
    shards = {
        name: lax.psum_scatter(g, of[name].shards, scatter_dimension=of[name].cut, tiled=True)
        if of[name].shards
        else g
        for name, g in gradients.items()
    }
    return _summed(shards, {name: of[name].copies for name in shards})


def settled(gradients: Weights, layout: Layout) -> Weights:
    """Add up the parts of gradients of parameters that ranks hold whole but use in part."""
    return _summed(gradients, {name: p.partial for name, p in layout.parameters.items()})


def _summed(values: Weights, over: dict[str, tuple[str, ...]]) -> Weights:
    """All-reduce together what goes over the same axes."""
    out = dict(values)
    for axes in sorted(set(over.values())):
        if axes:
            names = [name for name in values if over[name] == axes]
            out |= lax.psum({name: values[name] for name in names}, axes)
    return out


def updated(
    w: Weights, first: Weights, second: Weights, gradients: Weights, count: Array, layout: Layout
) -> tuple[Weights, Weights, Weights]:
    """Take one step of Adam; parameters whole again where they are kept whole."""
    whole: Weights = {}
    moments: tuple[Weights, Weights] = ({}, {})
    for name, g in gradients.items():
        of = layout.parameters[name]
        sliced = bool(of.shards) and layout.mesh.zero < 3
        mine = _own(w[name], of) if sliced else w[name]
        one = FIRST * first[name] + (1.0 - FIRST) * g
        two = SECOND * second[name] + (1.0 - SECOND) * g * g
        scale = jnp.sqrt(two / (1.0 - SECOND**count)) + EPSILON
        mine = mine - RATE * one / (1.0 - FIRST**count) / scale
        moments[0][name], moments[1][name] = one, two
        whole[name] = lax.all_gather(mine, of.shards, axis=of.cut, tiled=True) if sliced else mine
    return whole, *moments


def _own(x: Array, of: Parameter) -> Array:
    """Return this rank's shard of a whole parameter."""
    part = x.shape[of.cut] // parallel.size(of.shards)
    return lax.dynamic_slice_in_dim(x, parallel.rank(of.shards) * part, part, of.cut)
