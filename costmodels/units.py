"""Units and the numeric type of every cost function.

All quantities are SI floats with the unit as the last part of the name (`_s`, `_bytes`,
`_bytes_per_s`, `flop`). A `Num` is one value or a column over candidates: a cost function is
written once, as arithmetic, and prices one plan or a million.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY_S", "GB", "GIB", "HOUR_S", "MICRO", "MIB", "TERA", "Column", "Num", "scalar"]

Column = NDArray[np.float64]
Num = float | Column

GB = 1e9
GIB = 2.0**30
MIB = 2.0**20
TERA = 1e12
MICRO = 1e-6
HOUR_S = 3600.0
DAY_S = 86400.0


def scalar(value: Num) -> float:
    """Return the number of a column of one candidate."""
    return float(np.asarray(value).reshape(-1)[0])
