"""Layouts of tensors on a mesh, and the layouts that splitting an operator's labels asks for.

A layout says for each mesh axis: whole (every rank has all), split along a dim, or partial (the
sum over the axis is still to be made). An option of an operator gives each axis one label of its
loop nest, or none. What follows for its tensors is the same for every kind of operator:

    operand   split where it carries the label, else whole
    result    split where it carries the label; partial where the label is summed over
    gradient of the result, as the backward pass needs it    as the result, whole where partial
    gradient of an operand, as the backward pass makes it    as the operand, but partial where the
                                                            operand does not carry the label

Knows labels and sizes; no links, no seconds.
Source: GSPMD (Xu et al., 2021), section 3; Alpa (Zheng et al., OSDI 2022), section 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.operator_graph import Labels, Operator, Tensor
from planner.sharding.mesh import Mesh

__all__ = [
    "FLAT",
    "PARTIAL",
    "WHOLE",
    "Layouts",
    "OperatorOptions",
    "layouts_of_tensor",
    "local_elements",
    "options_of",
    "splittable",
]

WHOLE, PARTIAL, FLAT = -1, -2, 99
"""Of an axis: every rank has all; a sum is missing; split into equal pieces of no dim."""
Layouts = NDArray[np.int64]
"""(layouts, axes): a dim, or WHOLE, PARTIAL, FLAT."""


@dataclass(frozen=True)
class OperatorOptions:
    """Options of one operator: `picks[o, a]` is the label of axis a, an index into `labels`.

    Parameters
    ----------
    operator : whose options they are
    labels   : those that can be split
    picks    : (options, axes), -1 where an axis splits nothing
    """

    operator: Operator
    mesh: Mesh
    labels: tuple[str, ...]
    picks: NDArray[np.int64]

    def names(self) -> tuple[str, ...]:
        """Name every option: "tp:heads dp:batch"."""
        return tuple(
            " ".join(
                f"{axis.name}:{self.labels[p]}"
                for axis, p in zip(self.mesh, row, strict=True)
                if p >= 0
            )
            or "none"
            for row in self.picks
        )

    def pieces(self, label: str) -> Column:
        """Ranks that a label is split over, for every option."""
        total = np.ones(len(self.picks))
        for a, axis in enumerate(self.mesh):
            total = total * np.where(self._has(a, {label}), float(axis.degree), 1.0)
        return total

    def size(self, label: str) -> Column:
        """Local size of a label."""
        return self.operator.sizes[label] / self.pieces(label)

    def operand(self, labels: Labels) -> Layouts:
        """Layouts in which a tensor with these labels is read or made."""
        made = np.full(self.picks.shape, WHOLE)
        for dim, parts in enumerate(labels):
            for a in range(len(self.mesh)):
                if parts:
                    made[self._has(a, {parts[0]}), a] = dim
        return made

    def gradient(self, labels: Labels) -> Layouts:
        """Layouts in which the backward pass makes the gradient of an operand."""
        made = self.operand(labels)
        return np.where((made == WHOLE) & (self.picks >= 0), PARTIAL, made)

    def result(self) -> Layouts:
        """Layouts in which the result is made."""
        return self.gradient(self.operator.result.labels)

    def wanted(self) -> Layouts:
        """Layouts in which the backward pass needs the gradient of the result."""
        return self.operand(self.operator.result.labels)

    def _has(self, axis: int, labels: set[str]) -> NDArray[np.bool_]:
        indices = [i for i, label in enumerate(self.labels) if label in labels]
        return np.isin(self.picks[:, axis], indices)


def splittable(operator: Operator) -> tuple[str, ...]:
    """Labels that may be split: not `whole`, and the major one of every dim that holds them."""
    places: list[Labels] = [o.labels for o in (*operator.operands, *operator.inner)]
    places.append(operator.result.labels)
    minor = {label for labels in places for dim in labels for label in dim[1:]}
    return tuple(
        label
        for label, size in operator.sizes.items()
        if size > 1 and label not in operator.whole and label not in minor
    )


def options_of(operator: Operator, mesh: Mesh) -> OperatorOptions:
    """List the options of an operator: a label or none on every axis, whole pieces only."""
    labels = splittable(operator)
    rows: list[tuple[int, ...]] = []
    for row in product(range(-1, len(labels)), repeat=len(mesh)):
        pieces: dict[int, int] = {}
        for axis, pick in zip(mesh, row, strict=True):
            pieces[pick] = pieces.get(pick, 1) * axis.degree
        if all(p < 0 or operator.sizes[labels[p]] % n == 0 for p, n in pieces.items()):
            rows.append(row)
    picks = np.array(rows, np.int64).reshape(len(rows), len(mesh))
    return OperatorOptions(operator, mesh, labels, picks)


def layouts_of_tensor(
    shape: Sequence[int], mesh: Mesh, dims: Mapping[int, None] | Sequence[int]
) -> Layouts:
    """List every way to split a tensor along some of `dims`, whole pieces only; whole first."""
    rows: list[tuple[int, ...]] = []
    for row in product((WHOLE, *dims), repeat=len(mesh)):
        pieces: dict[int, int] = {}
        for axis, dim in zip(mesh, row, strict=True):
            pieces[dim] = pieces.get(dim, 1) * axis.degree
        if all(d == WHOLE or shape[d] % n == 0 for d, n in pieces.items()):
            rows.append(row)
    return np.array(rows, np.int64).reshape(len(rows), len(mesh))


def local_elements(tensor: Tensor, mesh: Mesh, layouts: Layouts) -> Column:
    """Entries that one rank holds in every layout."""
    pieces = np.ones(len(layouts))
    for a, axis in enumerate(mesh):
        pieces = pieces * np.where(layouts[:, a] >= 0, float(axis.degree), 1.0)
    return tensor.elements / pieces
