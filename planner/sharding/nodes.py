"""What is decided, before it becomes a `Problem`: operators' labels and tensors' layouts.

A node is a decision with its own price and its ports: how it makes a tensor and wants the
gradient (a source), how it reads one and makes the gradient (a sink). A tensor that several read
is a node of its own, so that a conversion which its readers share is paid once, and its gradient
is summed before it is reduced. Knows one decision at a time; what joins two is in `edges`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Memory, Term
from costmodels.units import Column
from planner.operator_graph import Operand, Operator, OperatorGraph, Tensor
from planner.sharding.layouts import (
    FLAT,
    PARTIAL,
    WHOLE,
    Layouts,
    splittable,
)
from planner.sharding.mesh import Mesh
from planner.sharding.price import element_bytes
from planner.sharding.resharding import convert_each

__all__ = [
    "RESOURCE",
    "Node",
    "Port",
    "kept_element_bytes",
    "in_pieces",
    "layout_name",
    "regather_s",
    "splittable_dims",
    "with_pieces",
]

RESOURCE = "memory"
"""What every footprint uses: bytes of one device."""


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor at a node, for each of its options.

    Parameters
    ----------
    layout   : in which the node makes it (a source) or needs it (a sink)
    gradient : in which the node wants the gradient (a source) or makes it (a sink)
    forward_s, backward_s : seconds of compute under which this tensor's exchanges may hide
    again_s  : seconds under which it may be converted once more for the backward pass; empty:
               the node does not need it there
    """

    layout: Layouts
    gradient: Layouts
    forward_s: Column
    backward_s: Column
    again_s: Column | None = None

    def take(self, rows: NDArray[np.intp]) -> "Port":
        """Select options."""
        again = None if self.again_s is None else self.again_s[rows]
        return Port(
            self.layout[rows], self.gradient[rows], self.forward_s[rows], self.backward_s[rows],
            again,
        )  # fmt: skip

    def at(self, option: int) -> "Port":
        """Return one option's."""
        return self.take(np.array([option]))


@dataclass(frozen=True)
class Node:
    """A decision in the making.

    Parameters
    ----------
    kind    : operator | tensor | parameter
    times   : seconds of a step; `memory`: bytes of one device, one entry an option
    source  : the tensor that it makes; `sinks`: operand by place
    repeats : times that it stands in the model, `region` the repeated part that it is of
    """

    kind: str
    name: str
    options: tuple[str, ...]
    times: tuple[Term, ...]
    memory: tuple[Memory, ...]
    source: Port
    sinks: Mapping[int, Port] = field(default_factory=dict)
    region: str = ""
    repeats: int = 1

    def with_times(self, *more: Term) -> "Node":
        """Return the node with more seconds."""
        return replace(self, times=(*self.times, *more))


def splittable_dims(operator: Operator, operand: Operand) -> list[int]:
    """Dims of a tensor that an operator can split."""
    labels = splittable(operator)
    return [d for d, parts in enumerate(operand.labels) if parts and parts[0] in labels]


def kept_element_bytes(graph: OperatorGraph, tensor: str) -> float:
    """Bytes of an element that the backward pass keeps of a tensor; 0 where nobody needs it."""
    sizes = [
        element_bytes(graph, op, o)
        for op in graph.readers(tensor)
        for o in op.operands
        if o.tensor == tensor and o.saved
    ]
    maker = graph.producer(tensor)
    if not sizes and maker is not None and maker.result.saved:
        sizes = [graph.tensors[tensor].element_bytes]
    return min(sizes, default=0.0)


def in_pieces(layout: Layouts) -> Layouts:
    """Return the layouts with every whole axis split flat."""
    return np.where(layout == WHOLE, FLAT, layout)


def regather_s(tensor: Tensor, element: float, mesh: Mesh, layout: Layouts) -> Column:
    """Seconds to put together, option by option, a tensor that was kept in pieces."""
    moves = convert_each(tensor.elements * element, mesh, in_pieces(layout), layout)
    return np.asarray(moves.seconds.sum(axis=0)[:, 0])


def layout_name(layout: NDArray[np.int64], mesh: Mesh, partial: str = "summed") -> str:
    """Name a layout: "tp:1 dp:0"; axes on which the tensor is whole are left out."""
    parts = []
    for code, axis in zip(layout, mesh, strict=True):
        if code >= 0:
            parts.append(f"{axis.name}:{code}")
        elif code == PARTIAL:
            parts.append(f"{axis.name}:{partial}")
    return " ".join(parts) or "whole"


def take(node: Node, rows: NDArray[np.intp]) -> Node:
    """Select options of a node."""
    return replace(
        node,
        options=tuple(node.options[r] for r in rows),
        times=tuple(replace(t, time_s=np.asarray(t.time_s)[rows]) for t in node.times),
        memory=tuple(replace(m, bytes=np.asarray(m.bytes)[rows]) for m in node.memory),
        source=node.source.take(rows),
        sinks={i: p.take(rows) for i, p in node.sinks.items()},
    )


def with_pieces(node: Node, saved: Column, shown_s: Column) -> Node:
    """Offer a second time the options that keep less in pieces.

    Parameters
    ----------
    saved   : bytes that an option keeps less in pieces, 0 where it keeps nothing whole
    shown_s : seconds of a step in which the pieces are put together again and nothing hides it
    """
    rows = np.flatnonzero(saved > 0)
    every = np.arange(len(node.options))
    made = take(node, np.concatenate([every, rows]))
    none = np.zeros(len(every))
    (kept,) = made.memory
    less = np.asarray(kept.bytes) - np.concatenate([none, saved[rows]])
    again_s = np.concatenate([none, shown_s[rows]])
    return replace(
        made,
        options=(*node.options, *(f"{node.options[r]}; kept in pieces" for r in rows)),
        memory=(replace(kept, bytes=less),),
    ).with_times(Term("activations gathered again", "other", again_s, "collectives.all_gather_s"))
