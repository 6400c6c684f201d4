"""Options that another option of the same node betters whatever the neighbours pick.

    b betters a:   cost_b - cost_a + sum_e max_x (table_e[b, x] - table_e[a, x]) <= 0
                   and use_b <= use_a in every slot

x runs over the neighbour's options that a allows. Of two that better each other the first is
kept, so some best picks always survive, however many nodes lose options at once.
"""

import numpy as np

from planner.search.network.form import Bools, Floats, Ints, Network, shapes

__all__ = ["undominated"]

_ENTRIES = 4_000_000
_NEVER = 1e300


def undominated(net: Network) -> Bools:
    """Tell which options are not bettered by another one."""
    square = np.concatenate(([0], np.cumsum(net.sizes**2)))
    worse = _of_nodes(net, square)
    _add_edges(net, square, worse)
    _add_uses(net, square, worse)
    keep = np.ones(net.cost.size, bool)
    for size in np.unique(net.sizes):
        nodes = np.flatnonzero(net.sizes == size)
        at = square[nodes][:, None] + np.arange(size * size)
        better = (worse[at] <= 0.0).reshape(-1, size, size)  # [node, b, a]
        first = np.arange(size)[:, None] < np.arange(size)[None, :]
        loses = np.any(better & (first | ~better.transpose(0, 2, 1)), axis=1)
        keep[net.start[nodes][:, None] + np.arange(size)] = ~loses
    return keep


def _of_nodes(net: Network, square: Ints) -> Floats:
    """cost_b - cost_a for every node, [b, a] row by row."""
    worse = np.zeros(int(square[-1]))
    for size in np.unique(net.sizes):
        nodes = np.flatnonzero(net.sizes == size)
        own = net.cost[net.start[nodes][:, None] + np.arange(size)]
        at = square[nodes][:, None] + np.arange(size * size)
        worse[at] = (own[:, :, None] - own[:, None, :]).reshape(nodes.size, -1)
        same = np.arange(size) * (size + 1)
        worse[square[nodes][:, None] + same] = _NEVER
    return worse


def _add_edges(net: Network, square: Ints, worse: Floats) -> None:
    for rows, columns, edges in shapes(net.sizes[net.first], net.sizes[net.second]):
        for node, turn, size in ((net.first, False, rows), (net.second, True, columns)):
            if size == 1:
                continue
            chunk = max(1, _ENTRIES // (size * rows * columns))
            for part in np.split(edges, np.arange(chunk, edges.size, chunk)):
                own = np.minimum(net.tables(part, rows, columns), _NEVER)
                own = own.transpose(0, 2, 1) if turn else own
                at = square[node[part]][:, None] + np.arange(size * size)
                np.add.at(worse, at, _most(own).reshape(part.size, -1))


def _most(own: Floats) -> Floats:
    """max_x (table[b, x] - table[a, x]) over the x that a allows, [edge, b, a]."""
    if own.shape[1] == own.shape[2] == 1:
        return np.zeros((own.shape[0], 1, 1))
    least = np.where(own >= _NEVER, np.inf, own)
    forbidden = own >= _NEVER
    difference = own[:, :, None, :] - np.where(forbidden, 0.0, least)[:, None, :, :]
    np.copyto(difference, -np.inf, where=forbidden[:, None, :, :])
    found: Floats = difference.max(axis=3)
    return np.minimum(found, _NEVER)


def _add_uses(net: Network, square: Ints, worse: Floats) -> None:
    """Nothing betters another where it uses more."""
    sizes = net.sizes[net.slot_node]
    for size in np.unique(sizes):
        slots = np.flatnonzero(sizes == size)
        own = net.use[net.use_start[slots][:, None] + np.arange(size)]
        more = own[:, :, None] > own[:, None, :]
        at = square[net.slot_node[slots]][:, None] + np.arange(size * size)
        np.add.at(worse, at, np.where(more, _NEVER, 0.0).reshape(slots.size, -1))
