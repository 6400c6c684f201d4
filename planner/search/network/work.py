"""What children do: solve a piece at given prices, repair the picks, hand both back.

Each function is called in a child (see `child`) and touches nothing of the parent's.
"""

from dataclasses import dataclass, replace

import numpy as np

from planner.search.network import exact
from planner.search.network.core import Core, Shifted, shifted
from planner.search.network.form import Floats, Ints, Network
from planner.search.network.limits import constraints, tight
from planner.search.network.proof import whole
from planner.search.network.repair import repaired

__all__ = ["Found", "prove", "solve_piece"]

_TRIES = 8
_EQUAL = 1e-6
_ROWS = 6
_WIDE_S, _NARROW_S = 4.0, 1.5
_ROUNDING = 1e-12
_NEAR, _FAR = 600, 2_500
_SWEEPS = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a piece.

    Parameters
    ----------
    raw     : picks as the exact solver gave them, limits or not; None: none
    picks   : allowed picks; None: none
    proved  : the exact solver searched to the end
    value   : a true lower bound of the network, where the picks are the best at their prices
    """

    raw: Ints | None
    picks: Ints | None
    proved: bool
    value: float = -np.inf


def solve_piece(
    shift: Shifted,
    price: Floats,
    free: Ints,
    picks: Ints,
    *,
    wide: bool,
    limit_s: float,
    backtracks: int | None,
    until: float,
    seed: int,
) -> Found:
    """Solve the nodes `free` at row prices, the others kept; then repair.

    Unless the piece is wide, rows with little room are constraints of it.

    `until`: a time of `time.monotonic` after which no more repair is tried.
    `wide`: take the best picks even where they cost more at these prices than the present ones.
    """
    core = shift.core
    net = core.net
    up = core.up(price)
    if wide:
        shift = _refreshed(core, price, up)
    piece = shift.piece(up, free, picks, _EQUAL if wide else 0.0)
    if not wide:
        rows = tight(core, free, picks, _ROWS)
        piece = replace(piece, rows=constraints(core, up, free, picks, rows))
    answer = exact.solve(piece, limit_s, backtracks, seed)
    if answer.picks is None:
        return Found(None, None, answer.proved)
    raw = picks.copy()
    raw[free] = answer.picks
    core.forest.down(up, raw)
    kept = repaired(
        shift,
        price,
        raw,
        reach=_FAR if wide else _NEAR,
        tries=_TRIES,
        counted=backtracks is not None,
        limit_s=_WIDE_S if wide else _NARROW_S,
        until=until,
    )
    value = -np.inf
    if answer.proved and free.size == core.nodes.size:
        value = _value(net, price, raw, piece)
    return Found(raw, kept, answer.proved, value)


def _value(net: Network, price: Floats, raw: Ints, piece: exact.Piece) -> float:
    """Return the bound that the best picks at these prices prove, less what was rounded."""
    excess = net.excess(raw)
    parts = np.concatenate(([net.price(raw)], price * excess))
    tables = net.sizes.size + net.first.size
    rounded = tables * piece.upper / exact.UNITS + _ROUNDING * float(np.abs(parts).sum())
    return float(parts.sum()) - rounded


def _refreshed(core: Core, price: Floats, up: Floats) -> Shifted:
    """Sweep a little at other prices, so that the messages suit them."""
    for _ in range(_SWEEPS):
        total, value = core.sweeps.sweep(up)
    return shifted(core, total, value + core.constant(up, price))


def prove(
    net: Network, upper: float, *, limit_s: float, backtracks: int | None, seed: int
) -> Found:
    """Solve a small network as a whole; `proved` without picks: none cost less than `upper`."""
    piece, _ = whole(net, upper)
    answer = exact.solve(piece, limit_s, backtracks, seed)
    picks = answer.picks
    allowed = picks if picks is not None and net.allows(picks) else None
    return Found(picks, allowed, answer.proved)
