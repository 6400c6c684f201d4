"""How a weight is stored on the mesh, axis by axis: the states that ZeRO's stages are made of.

    whole      everything on every rank                    the gradient is all-reduced
    states     optimizer states in pieces (ZeRO 1)         reduce-scattered, then weights gathered
    gradients  and gradients in pieces (ZeRO 2)            the same, in every pass
    <dim>      split along a dim, with all that belongs to it: where readers carry that dim there
               (tensor and expert parallelism) nothing moves; where they read it whole (ZeRO 3) it
               is gathered for the forward and for the backward pass, and reduce-scattered

With one pass a step, gradients in pieces cost what states in pieces do: the latter are left out.
Source: Rajbhandari et al., ZeRO, SC 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Memory, Term
from costmodels.units import Column
from planner.operator_graph import OperatorGraph, Tensor
from planner.sharding.layouts import FLAT, WHOLE, Layouts
from planner.sharding.mesh import Mesh
from planner.sharding.nodes import RESOURCE, Node, Port, splittable_dims
from planner.sharding.price import Figures
from planner.sharding.resharding import Moves, convert_each

__all__ = ["GRADIENTS", "STATES", "Stored", "parameter_node", "storage_name"]

STATES, GRADIENTS = -3, -4


@dataclass(frozen=True)
class Stored:
    """A weight's node, how each option stores it, and what its step costs on every axis.

    Parameters
    ----------
    storage  : (options, axes): a dim, WHOLE, STATES or GRADIENTS
    every    : (options, axes): the gradient is reduced in every pass, not once a step
    updated  : gathers of updated weights, once a step, one column for every reader's option
    """

    node: Node
    storage: NDArray[np.int64]
    every: NDArray[np.bool_]
    updated: Moves

    def at(self, option: int) -> "Stored":
        """Return what is stored by one option."""
        u = self.updated
        few = slice(option, option + 1)
        updated = Moves(u.kind[:, few], u.seconds[:, few], u.bytes[:, few])
        return Stored(self.node, self.storage[few], self.every[few], updated)


def storage_name(storage: NDArray[np.int64], mesh: Mesh) -> str:
    """Name a way to store: "tp:1 dp:states"."""
    words = {STATES: "states", GRADIENTS: "gradients"}
    parts = [
        f"{axis.name}:{words.get(int(code), str(code))}"
        for code, axis in zip(storage, mesh, strict=True)
        if code != WHOLE
    ]
    return " ".join(parts) or "whole"


def parameter_node(
    graph: OperatorGraph, tensor: Tensor, mesh: Mesh, figures: Figures, passes: int
) -> Stored:
    """Make the decision of how a weight is stored."""
    storage = _storage(graph, tensor, mesh, passes)
    repeats, region = 1, ""
    readers = graph.readers(tensor.name)
    if not tensor.shared and len({op.region for op in readers}) == 1:
        repeats, region = readers[0].repeats, readers[0].region
    held = np.where(storage >= 0, storage, WHOLE)
    wanted = np.where(storage < WHOLE, FLAT, storage)
    local = tensor.elements / _pieces(mesh, storage >= 0)
    gradients = local / _pieces(mesh, storage == GRADIENTS)
    states = gradients / _pieces(mesh, storage == STATES)
    none = np.zeros(len(storage))
    node = Node(
        "parameter",
        tensor.name,
        tuple(storage_name(row, mesh) for row in storage),
        _times(tensor, figures, repeats, passes, gradients, states),
        _memory(tensor, figures, repeats, local, gradients, states),
        Port(held, wanted, none, none),
        {},
        region,
        repeats,
    )
    every = (storage >= 0) | (storage == GRADIENTS)
    return Stored(node, storage, every, _updated(tensor, mesh, held, wanted))


def _storage(graph: OperatorGraph, tensor: Tensor, mesh: Mesh, passes: int) -> NDArray[np.int64]:
    """List the ways to store: dims that a reader can split, and one that can be cut at all."""
    dims = {
        d: None for op in graph.readers(tensor.name) for o in op.operands
        if o.tensor == tensor.name for d in splittable_dims(op, o)
    }  # fmt: skip
    largest = max(range(len(tensor.shape)), key=lambda d: tensor.shape[d], default=None)
    if not dims and largest is not None:
        dims = {largest: None}
    codes = [WHOLE, *sorted(dims)]
    if not tensor.given:
        codes += [GRADIENTS] if passes == 1 else [STATES, GRADIENTS]
    rows: list[tuple[int, ...]] = []
    for row in product(codes, repeat=len(mesh)):
        pieces: dict[int, int] = {}
        for axis, code in zip(mesh, row, strict=True):
            pieces[code] = pieces.get(code, 1) * axis.degree
        even = all(c < 0 or tensor.shape[c] % n == 0 for c, n in pieces.items())
        if even and not _late(row):
            rows.append(row)
    return np.array(rows, np.int64).reshape(len(rows), len(mesh))


def _late(row: Sequence[int]) -> bool:
    """Tell whether an axis reduces in every pass what one before it cuts only once a step."""
    seen = False
    for code in row:
        if seen and (code >= 0 or code == GRADIENTS):
            return True
        seen = seen or code == STATES
    return False


def _pieces(mesh: Mesh, cut: NDArray[np.bool_]) -> Column:
    total = np.ones(len(cut))
    for a, axis in enumerate(mesh):
        total = total * np.where(cut[:, a], float(axis.degree), 1.0)
    return total


def _times(
    tensor: Tensor, figures: Figures, repeats: int, passes: int, gradients: Column, states: Column
) -> tuple[Term, ...]:
    """Optimizer step over the states at hand; adding up gradients where passes are several."""
    if tensor.given:
        return ()
    step_s = repeats * states * figures.step_bytes / figures.step_bytes_per_s
    added = 2.0 * figures.gradient_bytes * repeats * gradients
    added_s = passes * added / figures.rates.memory_bytes_per_s
    source = "states over memory bandwidth"
    return (
        Term("optimizer step", "hbm", step_s, source),
        Term("gradient accumulation", "hbm", added_s if passes > 1 else 0.0 * added_s, source),
    )


def _memory(
    tensor: Tensor, figures: Figures, repeats: int, local: Column, gradients: Column, states: Column
) -> tuple[Memory, ...]:
    source = "local parameters times bytes each"
    if tensor.given:
        held = repeats * local * tensor.element_bytes
        return (Memory("frozen weights", RESOURCE, held, source),)
    return (
        Memory("weights", RESOURCE, repeats * local * figures.parameter_bytes, source),
        Memory("gradients", RESOURCE, repeats * gradients * figures.gradient_bytes, source),
        Memory("optimizer states", RESOURCE, repeats * states * figures.state_bytes, source),
    )


def _updated(tensor: Tensor, mesh: Mesh, held: Layouts, wanted: Layouts) -> Moves:
    """Gathers of what the optimizer updated in pieces."""
    have = np.where(wanted == FLAT, FLAT, held)
    whole_bytes = tensor.elements * tensor.element_bytes
    return convert_each(whole_bytes, mesh, have, held)
