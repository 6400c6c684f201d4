"""What joins two decisions: the exchanges that bring a tensor from one to the other, and back.

Forward, a tensor goes from the layout in which it is made to the one in which it is read; its
gradient comes back from the layout in which the reader makes it to the one in which the maker
wants it. Column- then row-parallel products with their all-reduce, sequence parallelism with its
gathers and scatters, gradient reduction and sharded weights are all cases of this.

Exchanges hide under compute as `costmodels.overlap` says, what hides under it once: those of
activations under the part of both operators' compute that is this tensor's, those of weights and
their gradients under the compute of the operator that reads them (a bucket of its own for each).
Knows ports; nothing of what stands behind them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodels.breakdown import Breakdown, Term
from costmodels.overlap import exposed_s, hidden_s
from costmodels.units import Column
from planner.operator_graph import Tensor
from planner.sharding.mesh import Mesh
from planner.sharding.nodes import Port
from planner.sharding.parameters import Stored
from planner.sharding.price import Figures
from planner.sharding.resharding import Exchange, Moves, convert

__all__ = ["Edge", "Step", "price", "steps_of"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor between two decisions.

    Parameters
    ----------
    first, second : decisions that make and read it, with their ports
    times    : a pass converts it so often
    exchange : how its all-to-alls are loaded
    again    : the reader's backward pass needs it once more, in the reader's layout
    stored   : of a weight, how it is stored
    """

    tensor: Tensor
    first: int
    second: int
    source: Port
    sink: Port
    times: float
    exchange: Exchange = Exchange()
    again: bool = False
    stored: Stored | None = None

    def at(self, source_option: int, sink_option: int) -> "Edge":
        """Return the edge of one pair of options."""
        return replace(
            self,
            source=self.source.at(source_option),
            sink=self.sink.at(sink_option),
            stored=None if self.stored is None else self.stored.at(source_option),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One conversion along an edge: how often a step runs it, and what it may hide under.

    Parameters
    ----------
    name  : forward | backward | again (for the backward pass) | gradient | gather (updated weights)
    moves : its collectives
    times : how often, by axis, source option and sink option
    fracs : share that can hide, by axis
    phase : what hides under one phase's compute, `under_s`, hides there once
    """

    name: str
    moves: Moves
    times: Column
    fracs: tuple[float, ...]
    phase: str
    under_s: Column


def steps_of(edge: Edge, mesh: Mesh, figures: Figures, passes: int) -> list[Step]:
    """List the conversions of an edge, for every pair of options."""
    if edge.stored is not None:
        return _of_weights(edge, edge.stored, mesh, figures, passes)
    return _of_activations(edge, mesh, passes)


def _pairs(source: Column, sink: Column) -> Column:
    return source[:, None] + sink[None, :]


def _of_activations(edge: Edge, mesh: Mesh, passes: int) -> list[Step]:
    source, sink = edge.source, edge.sink
    whole_bytes = edge.tensor.elements * edge.tensor.element_bytes
    ahead = convert(whole_bytes, mesh, source.layout, sink.layout, edge.exchange)
    back = convert(whole_bytes, mesh, sink.gradient, source.gradient, edge.exchange).turned()
    times = np.array(edge.times * passes)
    fracs = tuple(axis.overlap_frac for axis in mesh)
    forward_s = _pairs(source.forward_s, sink.forward_s)
    backward_s = _pairs(source.backward_s, sink.backward_s)
    steps = [
        Step("forward", ahead, times, fracs, "forward", forward_s),
        Step("backward", back, times, fracs, "backward", backward_s),
    ]
    if edge.again and sink.again_s is not None:
        beside_s = _pairs(0.0 * source.forward_s, sink.again_s)
        steps.append(Step("again", ahead, times, (1.0,) * len(mesh), "again", beside_s))
    return steps


def _of_weights(
    edge: Edge, stored: Stored, mesh: Mesh, figures: Figures, passes: int
) -> list[Step]:
    """In the backward pass the gather has first call on the compute, then the gradients."""
    source, sink, tensor = edge.source, edge.sink, edge.tensor
    ahead = convert(tensor.elements * tensor.element_bytes, mesh, source.layout, sink.layout)
    forward_s = _pairs(0.0 * source.forward_s, sink.forward_s)
    backward_s = _pairs(0.0 * source.backward_s, sink.backward_s)
    gather = (figures.gather_overlap_frac,) * len(mesh)
    every = np.array(edge.times * passes)
    steps = [
        Step("forward", ahead, every, gather, "forward", forward_s),
        Step("again", ahead, every, gather, "backward", backward_s),
    ]
    if tensor.given:
        return steps
    gradient_bytes = tensor.elements * figures.gradient_bytes
    down = convert(gradient_bytes, mesh, sink.gradient, source.gradient).turned()
    often = stored.node.repeats * np.where(stored.every, float(passes), 1.0).T[:, :, None]
    reduce = (figures.gradient_overlap_frac,) * len(mesh)
    updated = np.array(float(stored.node.repeats))
    return [
        *steps,
        Step("gradient", down, often, reduce, "backward", backward_s),
        Step("gather", stored.updated, updated, gather, "forward", forward_s),
    ]


def price(mesh: Mesh, steps: Sequence[Step]) -> Breakdown:
    """Sum exposed seconds by axis: tables over the options of both ends."""
    shape = steps[0].under_s.shape
    shown = [np.zeros(shape) for _ in mesh]
    left: dict[str, Column] = {}
    for step in steps:
        often = np.broadcast_to(step.times, (len(mesh), *shape))
        for a, frac in enumerate(step.fracs):
            alone_s = step.moves.seconds[a]
            if not alone_s.any():
                continue
            under_s = left.get(step.phase, step.under_s)
            shown[a] = shown[a] + often[a] * exposed_s(alone_s, under_s, frac)
            left[step.phase] = under_s - hidden_s(alone_s, under_s, frac)
    return Breakdown(
        tuple(
            Term(f"exchanges over {axis.name}", axis.kind, seconds, "resharding.convert")
            for axis, seconds in zip(mesh, shown, strict=True)
            if seconds.any()
        )
    )
