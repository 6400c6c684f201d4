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

__all__ = ["KINDS", "Exchange", "Moves", "convert"]

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
    few_have, back_have = np.unique(have, axis=0, return_inverse=True)
    few_need, back_need = np.unique(need, axis=0, return_inverse=True)
    kind = _kinds(few_have, few_need)
    held = np.where(few_have[:, None, :] >= 0, True, few_need[None, :, :] >= 0)
    held = np.where(few_have[:, None, :] == PARTIAL, False, held)  # slices are done
    seconds = np.zeros(kind.shape)
    volume = np.zeros(kind.shape)
    for step in range(len(KINDS)):
        order = range(len(mesh)) if step != GATHER else reversed(range(len(mesh)))
        reduced = held.copy()
        for a in order:
            now = kind[a] == step
            if not now.any():
                continue
            table = _table(whole_bytes, mesh, a, step, exchange or Exchange())
            code = _code(reduced if step == REDUCE else held, a)
            seconds[a] = np.where(now, table[0][code], seconds[a])
            volume[a] = np.where(now, table[1][code], volume[a])
            held[..., a] = np.where(now, step in (SCATTER, SWAP), held[..., a])
            reduced[..., a] = reduced[..., a] | now
    pick = np.ix_(np.arange(len(mesh)), back_have.reshape(-1), back_need.reshape(-1))
    return Moves(kind[pick], seconds[pick], volume[pick])


def _kinds(have: Layouts, need: Layouts) -> NDArray[np.int64]:
    """Name the collective of every axis and pair."""
    h, n = have.T[:, :, None], need.T[:, None, :]
    kind = np.full(np.broadcast_shapes(h.shape, n.shape), -1)
    kind = np.where((h == PARTIAL) & (n == WHOLE), REDUCE, kind)
    kind = np.where((h == PARTIAL) & (n >= 0), SCATTER, kind)
    kind = np.where((h >= 0) & (n >= 0) & (h != n), SWAP, kind)
    return np.where((h >= 0) & (n < 0), GATHER, kind)


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
