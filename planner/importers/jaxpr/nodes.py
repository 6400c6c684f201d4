"""What a traced function is made of: values, nodes, the bodies of loops.

Values know where they come from (parameter, input, constant, or a node), and whether a gradient
flows to them. Knows no labels and no prices.

Parts: `Value`, `Node`, `Region`, `Flat`, `root`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.importers.jaxpr.primitives import class_of

__all__ = ["Flat", "Node", "Region", "Value", "root"]


@dataclass(eq=False)
class Value:
    """An array of the traced function; equal only to itself.

    Parameters
    ----------
    origin : parameter | input | constant | initial (state before a loop's first pass) | node
    name   : of a parameter (its path) or an input
    lead   : leading dims of the parameter that loops walk along: `shape` is one slice
    piece  : index along the leading dim, where the function takes one slice out itself
    const  : follows from constants alone: computed again by whoever reads it
    grad   : a gradient flows to it
    """

    shape: tuple[int, ...]
    element_bytes: float
    floating: bool
    origin: str
    name: str = ""
    lead: tuple[int, ...] = ()
    piece: int | None = None
    node: "Node | None" = None
    const: bool = False
    grad: bool = False

    @property
    def elements(self) -> float:
        """Entries."""
        return float(math.prod(self.shape))

    @property
    def size_bytes(self) -> float:
        """Bytes."""
        return self.elements * self.element_bytes


@dataclass(eq=False)
class Node:
    """One primitive applied; `times`: how often it runs in one pass of the function."""

    primitive: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    params: Mapping[str, Any]
    region: str = ""
    times: int = 1
    scope: str = ""

    @property
    def kind(self) -> str:
        """Class of the primitive."""
        return class_of(self.primitive)


@dataclass(frozen=True)
class Region:
    """A loop body that runs `times` times; what one pass makes and what the next one reads."""

    times: int
    carries: tuple[tuple[Value, Value], ...] = ()


@dataclass
class Flat:
    """Nodes in order, regions by name, and what the function returns."""

    nodes: list[Node] = field(default_factory=list)
    regions: dict[str, Region] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()


def root(value: Value) -> Value:
    """Follow views back to the value that is stored."""
    while value.node is not None and value.node.kind == "view":
        value = value.node.inputs[0]
    return value
