"""What children do: solve a piece at given prices, repair the picks, hand both back.

Each function is called in a child (see `child`) and touches nothing of the parent's.
"""

from dataclasses import dataclass

from planner.search.network import exact
from planner.search.network.core import Core, Shifted, shifted
from planner.search.network.form import Floats, Ints, Network
from planner.search.network.proof import whole
from planner.search.network.repair import repaired

__all__ = ["Found", "prove", "solve_piece"]

_TRIES = 8
_EQUAL = 1e-6
_SWEEPS = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a piece.

    Parameters
    ----------
    raw     : picks as the exact solver gave them, limits or not; None: none
    picks   : allowed picks; None: none
    proved  : the exact solver searched to the end
    """

    raw: Ints | None
    picks: Ints | None
    proved: bool


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

    `until`: a time of `time.monotonic` after which no more repair is tried.
    `wide`: take the best picks even where they cost more at these prices than the present ones.
    """
    core = shift.core
    up = core.up(price)
    if wide:
        shift = _refreshed(core, price, up)
    piece = shift.piece(up, free, picks, _EQUAL if wide else 0.0)
    answer = exact.solve(piece, limit_s, backtracks, seed)
    if answer.picks is None:
        return Found(None, None, answer.proved)
    raw = picks.copy()
    raw[free] = answer.picks
    core.forest.down(up, raw)
    counted = backtracks is not None
    return Found(
        raw, repaired(shift, price, raw, tries=_TRIES, counted=counted, until=until), answer.proved
    )


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
