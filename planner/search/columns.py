"""Search rows in order of a bound: price those that could be among the best, say what was covered.

Rows are priced in chunks that fit the processor's cache, those of the least bounds first; the rest
is closed by its bounds as soon as enough better rows are known. Knows counts, bounds and an
objective; nothing of what a row means.

Parts: `top_rows`, `Found`, `Priced`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column

__all__ = ["CHUNK", "Found", "Priced", "top_rows"]

CHUNK, FIRST = 16384, 2048
"""Rows priced together; the first chunk, whose prices close most of the others, is small."""
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Priced:
    """Rows that were priced, rows made of the given ones among them, and what did not fit.

    Parameters
    ----------
    rows, objective : infinite where a row breaks a limit of the run
    dropped         : how many exceed the memory
    least_bytes, least_row : the smallest footprint, and its row
    """

    rows: Rows
    objective: Column
    dropped: int
    least_bytes: float
    least_row: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search over rows found.

    Parameters
    ----------
    rows      : the best rows, best first
    objective : their objectives
    fits      : all rows that were priced
    priced    : how many; `dropped`: rows over the memory limit, of those that were weighed
    least_bytes, least_row : the smallest footprint seen, and its row (-1: none)
    bound     : least objective that any row not closed could have
    status    : optimal (every row was closed) | time_limit
    """

    rows: Rows
    objective: Column
    fits: Rows
    priced: int
    dropped: int
    least_bytes: float
    least_row: int
    bound: float
    status: str


def top_rows(
    bounds: Column,
    *,
    price: Callable[[Rows, float], Priced],
    keep: int,
    deadline: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Keep the `keep` best rows.

    Parameters
    ----------
    bounds   : for each row, a value that neither its objective nor that of a row made of it is
               below
    price    : weighs rows, and rows that it makes of them; prices those of them that could be
               no worse than a given objective
    deadline : `time.monotonic()` at which to stop, or None

    Notes
    -----
    Ties go to the row that stands first, so the answer does not depend on the size of the chunk.
    Rows are closed unpriced only where `keep` rows are known that are at least as good.
    """
    count = len(bounds)
    order = np.argsort(bounds, kind="stable")
    sorted_bounds = bounds[order]
    best_rows, best, fits = np.zeros(0, np.intp), np.zeros(0), [np.zeros(0, np.intp)]
    dropped, least, least_row, open_bound, status = 0, np.inf, -1, np.inf, "optimal"
    start, size = 0, min(FIRST, CHUNK)
    while start < count:
        stop = min(count, start + size)
        if len(best) >= keep:  # a row as good as the last one kept still wins where it stands first
            stop = min(stop, int(np.searchsorted(sorted_bounds, best[-1], side="right")))
        if stop <= start:
            break
        if deadline is not None and time.monotonic() > deadline:
            status, open_bound = "time_limit", float(sorted_bounds[start])
            break
        worst = float(best[-1]) if len(best) >= keep else np.inf
        made = price(np.sort(order[start:stop]), worst)
        dropped += made.dropped
        if made.least_bytes < least:
            least, least_row = made.least_bytes, made.least_row
        fits.append(made.rows)
        best_rows = np.concatenate([best_rows, made.rows])
        best = np.concatenate([best, made.objective])
        ranked = np.lexsort((best_rows, best))[:keep]
        best_rows, best = best_rows[ranked], best[ranked]
        start, size = stop, min(2 * size, CHUNK)
        if progress:
            progress(start, count)
    finite = np.isfinite(best)
    best_rows, best = best_rows[finite], best[finite]
    every = np.concatenate(fits)
    bound = min(float(best[0]) if len(best) else np.inf, open_bound)
    return Found(best_rows, best, every, len(every), dropped, least, least_row, bound, status)
