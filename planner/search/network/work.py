"""What children do: solve a piece at given prices, repair the picks, hand both back.

Each function is called in a child (see `child`) and touches nothing of the parent's.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.search.network import exact
from planner.search.network.core import Core, Shifted, shifted
from planner.search.network.form import Floats, Ints, Network
from planner.search.network.limits import constraints, tight
from planner.search.network.proof import whole
from planner.search.network.relief import relieved
from planner.search.network.repair import repaired

__all__ = ["Found", "prove", "solve_narrow", "solve_wide"]

_TRIES = 8
_EQUAL = 1e-6
_ROWS = 6
_WIDE_S, _NARROW_S = 2.0, 1.0
_ROUNDING = 1e-12
_NEAR, _FAR = 600, 2_500
_SWEEPS, _SWEEPS_WHOLE = 6, 25
_COUNTED_S, _BACKTRACKS = 3600.0, 3_000


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a piece.

    Parameters
    ----------
    raw     : picks as the exact solver gave them, limits or not; None: none
    picks   : allowed picks; None: none
    ended   : how many pieces the exact solver searched to their end
    value   : a true lower bound of the network, where the picks are the best at their prices
    """

    raw: Ints | None
    picks: Ints | None
    ended: int
    value: float = -np.inf


def solve_wide(
    core: Core,
    price: Floats,
    pieces: list[Ints],
    picks: Ints,
    *,
    limit_s: float,
    backtracks: int | None,
    until: float,
    seed: int,
) -> Iterator[Found]:
    """Solve large pieces of the core at row prices, one after the other while they end; repair.

    The best picks are taken even where they cost more at these prices than the present ones. What
    is found is told at once, and told again with better picks.

    `until`: a time of `time.monotonic` after which no more repair is tried.
    """
    net, up = core.net, core.up(price)
    whole = pieces[-1].size == core.nodes.size
    shift = _refreshed(core, price, up, _SWEEPS_WHOLE if whole else _SWEEPS)
    raw, value, ended = None, -np.inf, 0
    until_s = time.process_time() + limit_s
    for free in pieces:
        piece = shift.piece(up, free, picks, _EQUAL)
        answer = exact.solve(piece, until_s - time.process_time(), backtracks, seed)
        if answer.picks is not None:
            picks = raw = core.placed(up, picks, free, answer.picks)
        if not answer.proved:
            break
        ended += 1
        if raw is not None and free.size == core.nodes.size:
            value = _value(net, price, raw, piece)
    yield Found(raw, None, ended, value)
    if raw is None:
        return
    rough = relieved(core, price, raw)
    yield Found(raw, rough, ended, value)
    if value > -np.inf:
        work = _work(backtracks, _WIDE_S)
        fine = repaired(shift, price, raw, reach=_FAR, tries=_TRIES, work=work, until=until)
        yield Found(raw, net.better(rough, fine), ended, value)


def solve_narrow(
    shift: Shifted,
    price: Floats,
    free: Ints,
    picks: Ints,
    *,
    limit_s: float,
    backtracks: int | None,
    until: float,
    seed: int,
) -> Iterator[Found]:
    """Solve the nodes `free` at row prices, rows with little room as constraints; repair."""
    core = shift.core
    up = core.up(price)
    rows = constraints(core, up, free, picks, tight(core, free, picks, _ROWS))
    piece = replace(shift.piece(up, free, picks, 0.0), rows=rows)
    answer = exact.solve(piece, limit_s, backtracks, seed)
    if answer.picks is None:
        return
    raw = core.placed(up, picks, free, answer.picks)
    work = _work(backtracks, _NARROW_S)
    kept = repaired(shift, price, raw, reach=_NEAR, tries=_TRIES, work=work, until=until)
    yield Found(raw, kept, int(answer.proved))


def _work(backtracks: int | None, limit_s: float) -> tuple[float, int | None]:
    """Return what each solve of a repair may take: counts where the run counts, else seconds."""
    return (limit_s, None) if backtracks is None else (_COUNTED_S, _BACKTRACKS)


def _value(net: Network, price: Floats, raw: Ints, piece: exact.Piece) -> float:
    """Return the bound that the best picks at these prices prove, less what was rounded."""
    excess = net.excess(raw)
    parts = np.concatenate(([net.price(raw)], price * excess))
    tables = net.sizes.size + net.first.size
    rounded = tables * piece.upper / exact.UNITS + _ROUNDING * float(np.abs(parts).sum())
    return float(parts.sum()) - rounded


def _refreshed(core: Core, price: Floats, up: Floats, sweeps: int) -> Shifted:
    """Sweep a little at other prices, so that the messages suit them."""
    for _ in range(sweeps):
        total, value = core.sweeps.sweep(up)
    return shifted(core, total, value + core.constant(up, price))


def prove(
    net: Network, upper: float, *, limit_s: float, backtracks: int | None, seed: int
) -> Found:
    """Solve a small network as a whole; ended without picks: none cost less than `upper`."""
    piece, _ = whole(net, upper)
    answer = exact.solve(piece, limit_s, backtracks, seed)
    picks = answer.picks
    allowed = picks if picks is not None and net.allows(picks) else None
    return Found(picks, allowed, int(answer.proved))
