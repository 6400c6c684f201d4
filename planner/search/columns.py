"""Search by pricing every row: drop what exceeds memory, keep the best, say what was covered.

Rows are priced in chunks that fit the processor's cache. Knows counts, a limit in bytes and an
objective; nothing of what a row means.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column

__all__ = ["CHUNK", "Found", "top_rows"]

CHUNK = 16384


@dataclass(frozen=True, slots=True)
class Found:
    """What a search over rows found.

    Parameters
    ----------
    rows      : the best rows, best first
    objective : their objectives
    priced    : rows whose price was computed; `dropped`: rows over the memory limit
    least_bytes, least_row : the smallest footprint seen, and its row (-1: none)
    bound     : least objective that any row not closed could have
    status    : optimal (every row was closed) | time_limit
    """

    rows: NDArray[np.intp]
    objective: Column
    priced: int
    dropped: int
    least_bytes: float
    least_row: int
    bound: float
    status: str


def top_rows(
    used_bytes: Column,
    *,
    limit_bytes: float,
    objective_of: Callable[[NDArray[np.intp]], Column],
    bound_of: Callable[[NDArray[np.intp]], Column],
    keep: int,
    deadline: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Price the rows that fit and keep the `keep` best.

    Parameters
    ----------
    used_bytes   : footprint of every row
    objective_of : objectives of the given rows, infinite where a row breaks a limit of the run
    bound_of     : a value that no objective of the given rows is below
    deadline     : `time.monotonic()` at which to stop, or None

    Notes
    -----
    Ties go to the row that stands first, so the answer does not depend on the size of the chunk.
    """
    count = len(used_bytes)
    best_rows, best = np.zeros(0, np.intp), np.zeros(0)
    priced = dropped = 0
    least, least_row, open_bound, status = np.inf, -1, np.inf, "optimal"
    for start in range(0, count, CHUNK):
        stop = min(count, start + CHUNK)
        if deadline is not None and time.monotonic() > deadline:
            status = "time_limit"
            open_bound = float(np.min(bound_of(np.arange(start, count))))
            break
        used = used_bytes[start:stop]
        smallest = int(np.argmin(used))
        if used[smallest] < least:
            least, least_row = float(used[smallest]), start + smallest
        rows = start + np.flatnonzero(used <= limit_bytes)
        dropped += (stop - start) - len(rows)
        if len(rows):
            values = objective_of(rows)
            priced += len(rows)
            best_rows = np.concatenate([best_rows, rows])
            best = np.concatenate([best, values])
            order = np.argsort(best, kind="stable")[:keep]
            best_rows, best = best_rows[order], best[order]
        if progress:
            progress(stop, count)
    finite = np.isfinite(best)
    best_rows, best = best_rows[finite], best[finite]
    found = float(best[0]) if len(best) else np.inf
    bound = min(found, open_bound)
    return Found(best_rows, best, priced, dropped, least, least_row, bound, status)
