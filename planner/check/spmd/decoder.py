"""A decoder layer, and the layers of a stage run one after the other.

Tensor ranks share each part of a layer: all-reduced behind it, and the gradient before it; under
sequence parallelism gathered before and scattered behind. Sharded parameters are gathered where
they are used, and again in the backward pass, as is what the recompute mode says.
"""

from collections.abc import Callable
from functools import partial

import jax
from jax import Array

from planner.check.layout import Group, Layout, Parameter
from planner.check.spmd import parallel
from planner.check.spmd.attention import attention
from planner.check.spmd.experts import experts
from planner.check.spmd.feed import feed, norm

__all__ = ["Weights", "gathered", "keeping", "layers", "whole"]

Weights = dict[str, Array]


def whole(w: Weights, layout: Layout) -> Weights:
    """Gather parameters from their shards, where these are gathered at every use.

    `w`: of one layer, or tables: without the first dim of the layout.
    """
    if not layout.gathers_often:
        return w
    return {name: gathered(x, layout.parameters[name], 1) for name, x in w.items()}


def gathered(x: Array, of: Parameter, dropped: int) -> Array:
    """Gather one parameter whose first `dropped` dims were taken away."""
    shards, copies = Group("dp", of.shards), Group("dp", of.copies)
    return parallel.gather_parameter(x, shards, copies, of.cut - dropped)


def keeping(
    part: Callable[[Array, Weights], Array], layout: Layout, mode: str
) -> Callable[[Array, Weights], Array]:
    """Keep of a part what a recompute mode keeps, and never parameters that were gathered."""
    shards = {p.shards for p in layout.parameters.values() if p.shards}
    again = layout.gathers_often and bool(shards)
    if mode not in ("full", "projections") and not again:
        return part

    def keep(primitive: object, *_: object, **parameters: object) -> bool:
        name = str(primitive)
        if mode == "full" or (again and name == "all_gather" and parameters["axis_name"] in shards):
            return False
        return mode != "projections" or name == "dot_general"

    made: Callable[[Array, Weights], Array] = jax.checkpoint(part, policy=keep)
    return made


def layers(x: Array, w: Weights, layout: Layout) -> Array:
    """Run a stage's layers; `w`: its layers' parameters, stacked."""
    step = keeping(partial(_layer, layout=layout), layout, layout.mesh.recompute)
    return jax.lax.scan(lambda x, one: (step(x, one), None), x, w)[0]


def _layer(x: Array, w: Weights, layout: Layout) -> Array:
    w = whole(w, layout)
    x = x + _shared(lambda y: attention(y, w, layout), norm(x, w["attention_norm"]), layout)
    y = norm(x, w["mlp_norm"])
    if "up" in w:
        x = x + _shared(lambda y: feed(y, w), y, layout)
    return x + experts(y, w, layout) if "router" in w else x


def _shared(part: Callable[[Array], Array], x: Array, layout: Layout) -> Array:
    """Run a part of a layer that tensor ranks share."""
    group = layout.group("tp")
    if layout.mesh.sp:
        return parallel.scatter(part(parallel.gather(x, group, 1)), group, 1)
    return parallel.reduce(part(parallel.copy(x, group)), group)
