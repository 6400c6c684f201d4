"""Options that another option of the same node betters whatever the neighbours pick.

    b betters a:   cost_b - cost_a + sum_e max_x (table_e[b, x] - table_e[a, x]) <= 0
                   and use_b <= use_a in every slot

x runs over the neighbour's options that a allows. Of two that better each other the first is
kept, so some best picks always survive, however many nodes lose options at once.
"""

import numpy as np

from planner.search.network.form import Bools, Floats, Ints, Network, shapes

__all__ = ["undominated"]

_ENTRIES = 200_000
_SAMPLE = 3
_WORK = 4e7
_NEVER = 1e300


def undominated(net: Network) -> Bools:
    """Tell which options are not bettered by another one.

    A few neighbours' options rule out most pairs; what is left is compared in full.
    """
    square = np.concatenate(([0], np.cumsum(net.sizes**2)))
    worse = _of_nodes(net, square)
    _add_uses(net, square, worse)
    sampled = worse.copy()
    _add_edges(net, square, sampled, np.ones(net.sizes.size, bool), _SAMPLE)
    likely = np.zeros(net.sizes.size, bool)
    likely[np.searchsorted(square, np.flatnonzero(sampled <= 0.0), "right") - 1] = True
    likely &= _cheap(net, likely)
    _add_edges(net, square, worse, likely, None)
    keep = np.ones(net.cost.size, bool)
    for size in np.unique(net.sizes[likely]):
        nodes = np.flatnonzero((net.sizes == size) & likely)
        at = square[nodes][:, None] + np.arange(size * size)
        better = (worse[at] <= 0.0).reshape(-1, size, size)  # [node, b, a]
        first = np.arange(size)[:, None] < np.arange(size)[None, :]
        loses = np.any(better & (first | ~better.transpose(0, 2, 1)), axis=1)
        keep[net.start[nodes][:, None] + np.arange(size)] = ~loses
    return keep


def _cheap(net: Network, nodes: Bools) -> Bools:
    """Tell at which nodes to compare in full: the cheapest ones, within a budget of work."""
    entries = np.diff(net.table_start).astype(float)
    work = np.bincount(net.first, entries * net.sizes[net.first], net.sizes.size)
    work += np.bincount(net.second, entries * net.sizes[net.second], net.sizes.size)
    order = np.argsort(np.where(nodes, work, np.inf), kind="stable")
    chosen = np.zeros(net.sizes.size, bool)
    chosen[order[np.cumsum(work[order]) <= _WORK]] = True
    return chosen


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


def _add_edges(net: Network, square: Ints, worse: Floats, nodes: Bools, sample: int | None) -> None:
    """Add what edges make b cost above a, at some nodes; `sample`: at few neighbours' options."""
    for rows, columns, edges in shapes(net.sizes[net.first], net.sizes[net.second]):
        for node, turn, size in ((net.first, False, rows), (net.second, True, columns)):
            mine = edges[nodes[node[edges]]]
            if size == 1 or not mine.size:
                continue
            across = columns if size == rows and not turn else rows
            seen = np.unique(np.linspace(0, across - 1, sample or across).astype(np.int64))
            chunk = max(1, _ENTRIES // (size * size * seen.size))
            for part in np.split(mine, np.arange(chunk, mine.size, chunk)):
                own = net.tables(part, rows, columns)
                own = np.minimum((own.transpose(0, 2, 1) if turn else own)[:, :, seen], _NEVER)
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
