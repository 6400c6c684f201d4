"""Collectives that bring a tensor from one layout to another: seconds, axis by axis.

    partial -> whole   all-reduce          split -> whole    all-gather
    partial -> split   reduce-scatter      split -> other    all-to-all
    whole   -> split   a slice, free       whole -> partial  free (one rank's counts)

What shrinks a tensor is done first: slices, reduce-scatters, all-to-alls, then all-reduces, then
all-gathers from the outermost axis inwards. An all-reduce over two axes is reduced over the outer
one in the pieces that the inner one leaves. A tensor split along one dim by two axes may lie in
either order: putting one order in the other is not priced. Knows bytes and links; no operators.

Source of the table: GSPMD (Xu et al., 2021), section 3.4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives
from costmodels.units import Column
from planner.sharding.layouts import PARTIAL, WHOLE, Layouts
from planner.sharding.mesh import Axis, Mesh

__all__ = ["KINDS", "Exchange", "Moves", "convert", "convert_each"]

KINDS = ("reduce-scatter", "all-to-all", "all-reduce", "all-gather")
"""In the order in which they are done."""
SCATTER, SWAP, REDUCE, GATHER = range(len(KINDS))


@dataclass(frozen=True, slots=True)
class Exchange:
    """How tokens are exchanged: destinations of each, and the busiest rank's share."""

    copies: float = 1.0
    load: float = 1.0


@dataclass(frozen=True, slots=True)
class Moves:
    """Conversions of every layout at hand (rows) to every one needed (columns).

    `kind[a]`: index into KINDS, -1 for none; `seconds[a]` and `bytes[a]` (the message that the
    collective is called with), each (rows, columns), for axis a.
    """

    kind: NDArray[np.int64]
    seconds: Column
    bytes: Column

    def turned(self) -> "Moves":
        """Return the same with rows and columns exchanged."""
        return Moves(
            np.swapaxes(self.kind, 1, 2),
            np.swapaxes(self.seconds, 1, 2),
            np.swapaxes(self.bytes, 1, 2),
        )


def convert(
    whole_bytes: float, mesh: Mesh, have: Layouts, need: Layouts, exchange: Exchange | None = None
) -> Moves:
    """Price the conversion of every layout in `have` to every one in `need`.

    Parameters
    ----------
    whole_bytes : of the whole tensor
    exchange    : of tokens to experts or back: how its all-to-alls are loaded
    """
    few_have, back_have = _distinct(have)
    few_need, back_need = _distinct(need)
    pairs = (len(few_have), len(few_need), len(mesh))
    moves = _moves(
        whole_bytes,
        mesh,
        np.broadcast_to(few_have[:, None, :], pairs),
        np.broadcast_to(few_need[None, :, :], pairs),
        exchange or Exchange(),
    )
    pick = np.ix_(np.arange(len(mesh)), back_have, back_need)
    return Moves(moves.kind[pick], moves.seconds[pick], moves.bytes[pick])


def convert_each(whole_bytes: float, mesh: Mesh, have: Layouts, need: Layouts) -> Moves:
    """Price the conversion of each layout in `have` to the one beside it in `need`: one column."""
    return _moves(whole_bytes, mesh, have[:, None, :], need[:, None, :], Exchange())


def _distinct(layouts: Layouts) -> tuple[Layouts, NDArray[np.intp]]:
    """Return the layouts without repetition, and where each went."""
    low = layouts.min(initial=0)
    base = layouts.max(initial=0) - low + 1
    code = np.zeros(len(layouts), np.int64)
    for column in layouts.T:
        code = code * base + column - low
    _, first, back = np.unique(code, return_index=True, return_inverse=True)
    return layouts[first], back


def _moves(
    whole_bytes: float, mesh: Mesh, have: Layouts, need: Layouts, exchange: Exchange
) -> Moves:
    """Price conversions, each from a layout to the one at the same place; axes are last."""
    kind = np.moveaxis(_kinds(have, need), -1, 0)
    held = ((have >= 0) | (need >= 0)) & (have != PARTIAL)  # slices are done
    seconds = np.zeros(kind.shape)
    volume = np.zeros(kind.shape)
    for step in range(len(KINDS)):
        order = range(len(mesh)) if step != GATHER else reversed(range(len(mesh)))
        reduced = held.copy()
        for a in order:
            now = kind[a] == step
            if not now.any():
                continue
            table = _table(whole_bytes, mesh, a, step, exchange)
            code = _code(reduced if step == REDUCE else held, a)
            seconds[a] = np.where(now, table[0][code], seconds[a])
            volume[a] = np.where(now, table[1][code], volume[a])
            held[..., a] = np.where(now, step in (SCATTER, SWAP), held[..., a])
            reduced[..., a] |= now
    return Moves(kind, seconds, volume)


def _kinds(have: Layouts, need: Layouts) -> NDArray[np.int64]:
    """Name the collective of every axis of every conversion."""
    kind = np.full(have.shape, -1)
    kind[(have == PARTIAL) & (need == WHOLE)] = REDUCE
    kind[(have == PARTIAL) & (need >= 0)] = SCATTER
    kind[(have >= 0) & (need >= 0) & (have != need)] = SWAP
    kind[(have >= 0) & (need < 0)] = GATHER
    return kind


def _code(held: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Return the number of the set of other axes that a tensor is split over."""
    code = np.zeros(held.shape[:-1], np.int64)
    for other in range(held.shape[-1]):
        if other != axis:
            code += held[..., other].astype(np.int64) << other
    return code


def _table(
    whole_bytes: float, mesh: Mesh, axis: int, step: int, exchange: Exchange
) -> tuple[Column, Column]:
    """Seconds and message bytes of one collective on an axis, for each set of other axes."""
    sets = np.arange(1 << len(mesh))
    message = np.full(len(sets), whole_bytes)
    for other, each in enumerate(mesh):
        message = np.where(sets >> other & 1, message / each.degree, message)
    if step == SWAP:
        message = message / mesh[axis].degree
    return _seconds(message, mesh[axis], step, exchange), message


def _seconds(message: Column, axis: Axis, step: int, exchange: Exchange) -> Column:
    if step == REDUCE:
        return np.asarray(collectives.all_reduce_s(message, axis.span, axis.algorithm))
    if step == SCATTER:
        return np.asarray(collectives.reduce_scatter_s(message, axis.span))
    if step == GATHER:
        return np.asarray(collectives.all_gather_s(message, axis.span))
    swap_s = collectives.all_to_all_s(message, axis.span, exchange.copies)
    return np.asarray(exchange.load * swap_s)
