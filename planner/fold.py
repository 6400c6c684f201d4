"""Price distinct rows once: many candidates agree in the columns that a price depends on.

`Folding` finds the distinct rows of some columns and spreads what was computed on them back over
all rows. Exact: rows are told apart by a 64-bit mix of their values, and the result is checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Num
from planner.dims import ParallelDims
from planner.errors import InternalError

__all__ = ["Folding", "fold"]

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


def fold(dims: ParallelDims, names: Sequence[str]) -> Folding:
    """Fold rows that agree in the columns `names`.

    Raises
    ------
    InternalError : two different rows were mixed to one value
    """
    mixed = np.zeros(len(dims), np.uint64)
    for name in names:
        column = np.ascontiguousarray(getattr(dims, name))
        mixed = (mixed ^ column.view(np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    few = dims.take(first)
    for name in names:
        if not np.array_equal(getattr(few, name)[inverse], getattr(dims, name)):
            raise InternalError("two different plans were folded into one")
    return Folding(few, inverse)
