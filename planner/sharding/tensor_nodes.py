"""The decision of a tensor that several read: its layout, and its gradient's.

A conversion that its readers share is paid once, on the way to this layout; their gradients are
added up in it before they are reduced, once.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Memory
from planner.operator_graph import OperatorGraph, Tensor
from planner.sharding.layouts import (
    PARTIAL,
    WHOLE,
    Layouts,
    layouts_of_tensor,
    local_elements,
)
from planner.sharding.mesh import Mesh
from planner.sharding.nodes import (
    RESOURCE,
    Node,
    Port,
    in_pieces,
    kept_element_bytes,
    layout_name,
    regather_s,
    splittable_dims,
    with_pieces,
)

__all__ = ["tensor_node"]


def tensor_node(
    graph: OperatorGraph, tensor: Tensor, mesh: Mesh, passes: int, pieces: bool
) -> Node:
    """Make the decision of a tensor that several read: its layout, and its gradient's.

    Where it is whole, its gradient may be left a partial sum until all readers' are added.
    """
    readers = graph.readers(tensor.name)
    dims = {
        d: None for op in readers for o in op.operands if o.tensor == tensor.name
        for d in splittable_dims(op, o)
    }  # fmt: skip
    maker = graph.producer(tensor.name)
    if maker is not None:
        dims |= dict.fromkeys(splittable_dims(maker, maker.result))
    plain = layouts_of_tensor(tensor.shape, mesh, sorted(dims))
    rows, gradients = _with_gradients(plain)
    none = np.zeros(len(rows))
    regions = {(op.region, op.repeats) for op in readers}
    region, repeats = regions.pop() if len(regions) == 1 else ("", 1)
    port = Port(rows, gradients, none, none)
    node = Node("tensor", tensor.name, tuple(layout_name(g, mesh) for g in gradients), (), (), port,
                {0: port}, region, repeats)  # fmt: skip
    element = 0.0 if tensor.parameter else kept_element_bytes(graph, tensor.name)
    held = repeats * element * local_elements(tensor, mesh, rows)
    kept = Memory("activations", RESOURCE, held, "kept for the backward pass")
    node = replace(node, memory=(kept,))
    if not pieces or element <= 0:
        return node
    cut = element * local_elements(tensor, mesh, in_pieces(rows))
    gather_s = regather_s(tensor, element, mesh, rows)  # no compute is known to hide it
    return with_pieces(node, held - repeats * cut, passes * repeats * gather_s)


def _with_gradients(plain: Layouts) -> tuple[Layouts, Layouts]:
    """Every layout with every choice of axes on which the gradient is left partial."""
    rows: list[NDArray[np.int64]] = []
    gradients: list[NDArray[np.int64]] = []
    for row in plain:
        whole = np.flatnonzero(row == WHOLE)
        for chosen in range(1 << len(whole)):
            gradient = row.copy()
            gradient[[a for i, a in enumerate(whole) if chosen >> i & 1]] = PARTIAL
            rows.append(row)
            gradients.append(gradient)
    return np.array(rows), np.array(gradients)
