"""A whole small network for the exact solver, its rows as linear constraints.

Uses are counted in whole units. Where they are not whole they are rounded down and capacities
up, so what is proved best is a bound even then; the picks must be judged by the network itself.
"""

import numpy as np

from planner.search.network.exact import Piece
from planner.search.network.form import Floats, Network, shapes

__all__ = ["fits", "most", "whole"]

_NODES = 4_000
_MEMBERS = 300_000
_ENTRIES = 4_000_000
_UNITS = 2.0**40


def fits(net: Network) -> bool:
    """Tell whether a network is small enough to be tried as a whole."""
    members = int((net.hi - net.lo).sum())
    small = int((net.sizes > 1).sum()) <= _NODES and net.table.size <= _ENTRIES
    return small and members <= _MEMBERS


def most(net: Network) -> float:
    """Return more than any allowed picks cost."""
    table = np.where(np.isfinite(net.table), net.table, 0.0)
    total = net.base + float(np.maximum.reduceat(net.cost, net.start[:-1]).sum())
    if table.size:
        total += float(np.maximum.reduceat(table, net.table_start[:-1]).sum())
    return total + 1.0 + 1e-6 * abs(total)


def whole(net: Network, upper: float) -> tuple[Piece, float]:
    """Return the network as a piece of which picks below `upper` are wanted, and its constant."""
    unary = [net.cost[a:b] for a, b in zip(net.start[:-1], net.start[1:], strict=True)]
    least = [float(u.min()) for u in unary]
    constant = net.base + sum(least)
    pairs = [
        (net.first[edges], net.second[edges], net.tables(edges, rows, columns))
        for rows, columns, edges in shapes(net.sizes[net.first], net.sizes[net.second])
    ]
    finite = net.table[np.isfinite(net.table)]
    numbers = np.concatenate((net.cost, finite, [net.base]))
    exact = bool(np.all(numbers == np.floor(numbers))) and upper - constant < _UNITS
    rest = [u - low for u, low in zip(unary, least, strict=True)]
    return Piece(rest, pairs, upper - constant, _rows(net), whole=exact), constant


def _rows(net: Network) -> list[tuple[list[int], list[Floats], int]]:
    scale = 1.0
    if not bool(np.all(net.use == np.floor(net.use))) or net.use.max(initial=0.0) > _UNITS:
        scale = _UNITS / max(float(net.capacity.max(initial=0.0)), 1e-300)
    use = np.floor(net.use * scale)
    rows: list[tuple[list[int], list[Floats], int]] = [
        ([], [], int(np.floor(c) if scale == 1.0 else np.ceil(c)))
        for c in (net.capacity * scale).tolist()
    ]
    for slot, (node, lo, hi) in enumerate(zip(net.slot_node, net.lo, net.hi, strict=True)):
        own = use[net.use_start[slot] : net.use_start[slot + 1]]
        for row in range(lo, hi):
            rows[row][0].append(int(node))
            rows[row][1].append(own)
    return rows
