"""From picks that use too much to picks that keep every row, at little cost.

Prices rise on the rows that are exceeded, and the nodes that use something there, with those next
to them, are solved anew at those prices; at last nodes move downhill under the limits themselves.
Where the exact solver is missing, single nodes move at the raised prices instead.
"""

import time

import numpy as np

from planner.search.network import exact
from planner.search.network.core import Shifted
from planner.search.network.descent import descend, polish
from planner.search.network.form import Bools, Floats, Ints

__all__ = ["repaired"]

_RAISE = 1.4
_CHARGE = 1e-5
_GROWTH = 3.0
_MOST = 2_000
_LIMIT_S = 1.5
_BACKTRACKS = 3_000


def repaired(
    shift: Shifted, price: Floats, picks: Ints, *, tries: int, counted: bool, until: float
) -> Ints | None:
    """Return picks that keep every row, near the given ones; None: not found.

    Parameters
    ----------
    tries   : how often prices are raised
    counted : limit the exact solver by backtracks, not by time
    until   : a time of `time.monotonic` after which no more is tried
    """
    core = shift.core
    net = core.net
    price = price.copy()
    for number in range(tries + 1):
        picks = polish(net, picks)
        excess = net.excess(picks)
        over = excess > 0.0
        if not bool(over.any()) or number == tries or time.monotonic() > until:
            break
        charge = _CHARGE * _GROWTH**number * abs(shift.value) / float(excess[over].sum())
        price[over] = np.maximum(_RAISE * price[over], charge)
        up = core.up(price)
        free = _near(shift, over, picks)
        if exact.available() and free.size:
            piece = shift.piece(up, free, picks, 10.0 * shift.widest(up))
            backtracks = _BACKTRACKS if counted else None
            answer = exact.solve(piece, 3600.0 if counted else _LIMIT_S, backtracks)
            if answer.picks is not None:
                picks = picks.copy()
                picks[free] = answer.picks
        else:
            picks = descend(net, net.priced(price), picks, 4)
        picks = picks.copy()
        core.forest.down(up, picks)
    return picks if net.allows(picks) else None


def _near(shift: Shifted, over: Bools, picks: Ints) -> Ints:
    """Nodes of the core that use something in the rows exceeded, or that trees below do."""
    core = shift.core
    net, sweeps = core.net, core.sweeps
    count = np.concatenate(([0], np.cumsum(over)))
    hit = (count[net.hi] > count[net.lo]) & (net.slot_use(picks) > 0.0)
    use = np.zeros(net.sizes.size)
    anchor = core.forest.anchor[net.slot_node[hit]]
    inside = anchor >= 0
    np.add.at(use, anchor[inside], net.slot_use(picks)[hit][inside])
    nodes = core.nodes[use[core.nodes] > 0.0]
    if nodes.size > _MOST:
        nodes = np.sort(nodes[np.argsort(-use[nodes], kind="stable")[:_MOST]])
    chosen = np.zeros(net.sizes.size, bool)
    chosen[nodes] = True
    near = np.concatenate(
        (sweeps.second[chosen[sweeps.first]], sweeps.first[chosen[sweeps.second]])
    )
    if nodes.size + np.unique(near).size <= 2 * _MOST:
        chosen[near] = True
    return np.flatnonzero(chosen)
