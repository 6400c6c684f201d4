"""Trees that hang on a network, eliminated exactly and in batches.

Nodes with one edge are peeled off, level by level, until none is left. What a peeled node costs at
best, for each option of its neighbour, is added to that neighbour's options (`up`); when the
neighbours have picked, the peeled nodes pick (`down`). What is left is the *core* (nodes with two
edges or more) and the roots of whole trees, which have no edge and pick their cheapest option.

One step of a level handles all peeled nodes of one shape; tables lie with the nodes innermost, so
that numpy works along long rows however small the shapes are.
"""

from dataclasses import dataclass

import numpy as np

from planner.search.network.form import Bools, Floats, Ints, Network, shapes

__all__ = ["Forest", "peel"]


@dataclass(frozen=True, slots=True)
class _Step:
    """Peeled nodes of one shape, in order of their parents; indices are [option, node]."""

    leaf: Ints
    parent: Ints
    mine: Ints  # options of the peeled nodes
    theirs: Ints  # options of the parents, each parent once
    first: Ints  # first node of each parent
    table: Floats  # [own option, option of the parent, node]


@dataclass(frozen=True, slots=True)
class Forest:
    """The peeled trees; `core` tells which nodes are left with edges, `edges` which edges."""

    steps: tuple[_Step, ...]
    core: Bools
    edges: Ints
    root: Ints
    start: Ints
    sizes: Ints

    @property
    def anchor(self) -> Ints:
        """Node of the core, or root of a tree, on which each node hangs in the end."""
        found = np.arange(self.sizes.size)
        for step in reversed(self.steps):
            found[step.leaf] = found[step.parent]
        return found

    def up(self, cost: Floats) -> Floats:
        """Add to the costs of options what the trees below them cost at best."""
        total = cost.copy()
        for step in self.steps:
            best = (total.take(step.mine)[:, None, :] + step.table).min(axis=0)
            total[step.theirs] += np.add.reduceat(best, step.first, axis=1)
        return total

    def roots(self, total: Floats) -> Floats:
        """Cheapest total of the root of every whole tree (totals from `up`)."""
        if not self.root.size:
            return np.zeros(0)
        return np.minimum.reduceat(total, self.start[:-1])[self.root]

    def down(self, total: Floats, picks: Ints) -> None:
        """Pick for roots and peeled nodes, in place (totals from `up`, core nodes picked)."""
        for size in np.unique(self.sizes[self.root]):
            nodes = self.root[self.sizes[self.root] == size]
            picks[nodes] = total[self.start[nodes][:, None] + np.arange(size)].argmin(axis=1)
        for step in reversed(self.steps):
            given = step.table[:, picks[step.parent], np.arange(step.leaf.size)]
            picks[step.leaf] = (total.take(step.mine) + given).argmin(axis=0)


def peel(net: Network) -> Forest:
    """Peel the trees off a network."""
    steps: list[_Step] = []
    nodes = net.sizes.size
    edges = np.arange(net.first.size)
    peeled = np.zeros(nodes, bool)
    while edges.size:
        first, second = net.first[edges], net.second[edges]
        degree = np.bincount(np.concatenate((first, second)), minlength=nodes)
        turn = degree[first] != 1  # the second one is the leaf
        leafy = (degree[first] == 1) | (degree[second] == 1)
        if not bool(leafy.any()):
            break
        leaf, parent = np.where(turn, second, first)[leafy], np.where(turn, first, second)[leafy]
        steps += _steps(net, edges[leafy], turn[leafy], leaf, parent)
        peeled[leaf] = True
        edges = edges[~leafy]
    degree = np.bincount(np.concatenate((net.first[edges], net.second[edges])), minlength=nodes)
    root = np.flatnonzero((degree == 0) & ~peeled)
    return Forest(tuple(steps), degree > 0, edges, root, net.start, net.sizes)


def _steps(net: Network, edges: Ints, turn: Bools, leaf: Ints, parent: Ints) -> list[_Step]:
    made = []
    for size, other, unordered in shapes(net.sizes[leaf], net.sizes[parent]):
        group = unordered[np.argsort(parent[unordered], kind="stable")]
        first = np.flatnonzero(np.diff(parent[group], prepend=-1))
        table = np.empty((size, other, group.size))
        for turned in (False, True):
            part = turn[group] == turned
            shape = (other, size) if turned else (size, other)
            own = net.tables(edges[group[part]], *shape)
            table[:, :, part] = own.transpose(2, 1, 0) if turned else own.transpose(1, 2, 0)
        made.append(
            _Step(
                leaf[group],
                parent[group],
                net.start[leaf[group]] + np.arange(size)[:, None],
                net.start[parent[group[first]]] + np.arange(other)[:, None],
                first,
                table,
            )
        )
    return made
