"""Price distinct rows once: many candidates agree in the columns that a price depends on.

`Folding` finds the distinct rows of some columns and spreads what was computed on them back over
all rows. Exact: rows are told apart by a 64-bit mix of their values, and the result is checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column, Num
from planner.dims import ParallelDims
from planner.errors import InternalError

__all__ = ["Folding", "fold", "mixed"]

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Folding:
    """Distinct rows `few`, and for every row the one that it equals."""

    few: ParallelDims
    inverse: NDArray[np.intp]

    def spread(self, value: Num) -> Num:
        """Give every row the value of its distinct row; the last axis is over rows."""
        return value if np.ndim(value) == 0 else np.asarray(value)[..., self.inverse]

    def gather(self, value: Num) -> Num:
        """Give every distinct row the value of a row that equals it: `spread` turned round."""
        if np.ndim(value) == 0:
            return value
        few = np.zeros(len(self.few))
        few[self.inverse] = value
        return few


def mixed(columns: Sequence[Column]) -> NDArray[np.uint64]:
    """Mix the values of each row of some columns into 64 bits; equal rows into equal ones."""
    key = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        key = (key ^ np.ascontiguousarray(column).view(np.uint64)) * _MIX
        key ^= key >> np.uint64(29)
    return key


def fold(dims: ParallelDims, names: Sequence[str]) -> Folding:
    """Fold rows that agree in the columns `names`.

    Raises
    ------
    InternalError : two different rows were mixed to one value
    """
    key = mixed([getattr(dims, name) for name in names])
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    few = dims.take(first)
    for name in names:
        if not np.array_equal(getattr(few, name)[inverse], getattr(dims, name)):
            raise InternalError("two different plans were folded into one")
    return Folding(few, inverse)
