"""From picks that use too much to picks that keep every row, at little cost.

Prices rise on the rows that are exceeded; trees pick anew, nodes move downhill at those prices;
at last nodes move downhill under the limits themselves.
"""

import numpy as np

from planner.search.network.core import Core
from planner.search.network.descent import descend, polish
from planner.search.network.form import Floats, Ints

__all__ = ["repaired"]

_TRIES = 40
_RAISE = 1.5
_LEAST = 1e-3


def repaired(core: Core, price: Floats, picks: Ints, tries: int = _TRIES) -> Ints | None:
    """Return picks that keep every row, near the given ones; None: not found."""
    net = core.net
    picks = polish(net, picks)
    price = price.copy()
    base = float(price.mean()) if price.size else 0.0
    for _ in range(tries):
        over = net.excess(picks) > 0.0
        if not bool(over.any()):
            break
        price[over] = np.maximum(price[over], _LEAST * base) * _RAISE
        up = core.up(price)
        picks = picks.copy()
        core.forest.down(up, picks)
        picks = descend(net, net.priced(price), picks, 4)
    picks = polish(net, picks)
    return picks if net.allows(picks) else None
