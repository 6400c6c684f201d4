"""From picks that use too much to picks that keep every row, at little cost.

The nodes that use something in the rows exceeded are solved anew, with the worst of those rows as
constraints; rows that this exceeds join them. Where that finds nothing, prices rise on the rows
exceeded. At last nodes move downhill under the limits themselves. Where the exact solver is
missing, single nodes move at the raised prices instead.
"""

import time
from dataclasses import replace

import numpy as np

from planner.search.network import exact
from planner.search.network.core import Shifted
from planner.search.network.descent import descend, polish
from planner.search.network.form import Bools, Floats, Ints
from planner.search.network.limits import constraints, worst

__all__ = ["repaired"]

Work = tuple[float, int | None]

_RAISE = 1.4
_CHARGE = 1e-5
_GROWTH = 3.0
_MOST = 600
_ROWS = 4
_SPARE = 0.02
_EQUAL = 1e-6


def repaired(
    shift: Shifted,
    price: Floats,
    picks: Ints,
    *,
    reach: int,
    tries: int,
    work: Work,
    until: float,
) -> Ints | None:
    """Return picks that keep every row, near the given ones; None: not found.

    Parameters
    ----------
    reach   : nodes to solve anew at most
    tries   : how often
    work    : seconds of processor time, or backtracks, for the exact solver each time
    until   : a time of `time.monotonic` after which no more is tried
    """
    net = shift.core.net
    price, raised = price.copy(), 0
    rows: list[int] = []
    for number in range(tries + 1):
        picks = polish(net, picks)
        excess = net.excess(picks)
        over = excess > 0.0
        if not bool(over.any()) or number == tries or time.monotonic() > until:
            break
        free = _near(shift, over, picks, reach)
        rows = worst(excess, over, rows, _ROWS)
        found = _constrained(shift, price, free, picks, rows, work)
        if found is None:
            charge = _CHARGE * _GROWTH**raised * shift.scale / float(excess[over].sum())
            price[over] = np.maximum(_RAISE * price[over], charge)
            raised += 1
            reach = min(reach, _MOST)
            found = _priced(shift, price, free, picks, work)
        picks = found
    return picks if net.allows(picks) else None


def _constrained(
    shift: Shifted, price: Floats, free: Ints, picks: Ints, rows: list[int], work: Work
) -> Ints | None:
    """Solve nodes anew with rows as constraints."""
    if not exact.available() or not free.size:
        return None
    core = shift.core
    up = core.up(price)
    kept = constraints(core, up, free, picks, rows)
    if any(capacity < 0 for _, _, capacity in kept):
        return None
    piece = replace(shift.piece(up, free, picks, _SPARE), rows=kept)
    return _solved(shift, up, piece, free, picks, work)


def _priced(shift: Shifted, price: Floats, free: Ints, picks: Ints, work: Work) -> Ints:
    """Solve nodes anew at raised prices."""
    core = shift.core
    up = core.up(price)
    found = None
    if exact.available() and free.size:
        found = _solved(shift, up, shift.piece(up, free, picks, _EQUAL), free, picks, work)
    if found is None:
        found = descend(core.net, core.net.priced(price), picks, 4)
        core.forest.down(up, found)
    return found


def _solved(
    shift: Shifted, up: Floats, piece: exact.Piece, free: Ints, picks: Ints, work: Work
) -> Ints | None:
    answer = exact.solve(piece, *work)
    if answer.picks is None:
        return None
    return shift.core.placed(up, picks, free, answer.picks)


def _near(shift: Shifted, over: Bools, picks: Ints, reach: int) -> Ints:
    """Nodes that use something in the rows exceeded, by themselves or in trees, and those near."""
    core = shift.core
    net, sweeps = core.net, core.sweeps
    count = np.concatenate(([0], np.cumsum(over)))
    hit = (count[net.hi] > count[net.lo]) & (net.slot_use(picks) > 0.0)
    use = np.zeros(net.sizes.size)
    np.add.at(use, core.forest.anchor[net.slot_node[hit]], net.slot_use(picks)[hit])
    nodes = core.nodes[use[core.nodes] > 0.0]
    if nodes.size > _MOST:
        nodes = np.sort(nodes[np.argsort(-use[nodes], kind="stable")[:_MOST]])
    chosen = np.zeros(net.sizes.size, bool)
    chosen[nodes] = True
    left = reach - nodes.size
    while left > 0:
        ring = np.concatenate(
            (sweeps.second[chosen[sweeps.first]], sweeps.first[chosen[sweeps.second]])
        )
        ring = np.unique(ring[~chosen[ring]])
        if not ring.size:
            break
        chosen[ring[np.unique(np.linspace(0, ring.size - 1, left).astype(np.int64))]] = True
        left -= ring.size
    return np.flatnonzero(chosen)
