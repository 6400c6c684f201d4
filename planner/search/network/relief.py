"""From picks that use too much to picks that keep every row, by prices and small moves alone.

    price_r *= exp(pace * excess_r / capacity_r)    on the rows exceeded

and nodes of the core move downhill at these prices, the trees on them following, until nothing is
exceeded. Fast (a few sweeps over the network) and rough; `repair` is slow and fine.
"""

import numpy as np

from planner.search.network.core import Core
from planner.search.network.descent import descend, polish
from planner.search.network.form import Floats, Ints

__all__ = ["relieved"]

_ROUNDS = 60
_MOVES = 2
_PACE, _FASTER = 4.0, 20
_LEAST, _MOST = 0.01, 0.1
_FLOOR = 1e-4


def relieved(core: Core, price: Floats, picks: Ints) -> Ints | None:
    """Return picks that keep every row, near the given ones; None: not found."""
    net = core.net
    price = np.maximum(price, _FLOOR * price.max(initial=0.0))
    for number in range(_ROUNDS):
        excess = net.excess(picks)
        over = excess > 0.0
        if not bool(over.any()):
            break
        pace = _PACE * (1.0 + number // _FASTER)
        step = pace * np.clip(excess / np.maximum(net.capacity, 1e-300), _LEAST, _MOST)
        price = np.where(over, price * np.exp(step), price)
        up = core.up(price)
        picks = descend(core.inner, up, picks, _MOVES)
        core.forest.down(up, picks)
    picks = polish(net, picks)
    return picks if net.allows(picks) else None
