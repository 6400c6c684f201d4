"""A table of candidates under construction: columns that grow by crossing and shrink by rules.

Each rule that drops rows is named and counted, so that "nothing is feasible" can say why. Knows
columns and names; nothing of parallelism.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column, Num

__all__ = ["Table"]


class Table:
    """Columns of equal length, and the tally of what fell to which rule.

    Attributes
    ----------
    columns : name -> float64 column
    tally   : rule -> rows that it dropped
    """

    def __init__(self, **columns: float) -> None:
        self.columns: dict[str, Column] = {k: np.array([float(v)]) for k, v in columns.items()}
        self.tally: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Column:
        """Return a column."""
        return self.columns[name]

    def cross(self, name: str, values: Sequence[float]) -> None:
        """Pair every row with every value of a new column."""
        count = len(values)
        tiled = np.tile(np.asarray(values, np.float64), len(self))
        self.columns = {k: np.repeat(v, count) for k, v in self.columns.items()}
        self.columns[name] = tiled

    def choose(self, name: str, options: Sequence[tuple[Num, NDArray[np.bool_]]]) -> None:
        """Pair every row with the options that its mask allows: (value or column, mask)."""
        parts: dict[str, list[Column]] = {k: [] for k in (*self.columns, name)}
        where: list[NDArray[np.intp]] = []
        for value, mask in options:
            rows = np.flatnonzero(np.broadcast_to(mask, (len(self),)))
            where.append(rows)
            parts[name].append(np.broadcast_to(np.asarray(value, float), (len(self),))[rows])
        index = np.concatenate(where)
        order = np.argsort(index, kind="stable")
        index = index[order]
        self.columns = {k: v[index] for k, v in self.columns.items()}
        self.columns[name] = np.concatenate(parts[name])[order]

    def derive(self, name: str, values: Num) -> None:
        """Add a column computed from the others."""
        self.columns[name] = np.broadcast_to(np.asarray(values, float), (len(self),)).copy()

    def require(self, rule: str, mask: NDArray[np.bool_]) -> None:
        """Drop the rows where `mask` is false, and count them under `rule`."""
        kept = np.broadcast_to(mask, (len(self),))
        dropped = int(len(self) - np.count_nonzero(kept))
        if dropped:
            self.count(rule, dropped)
            self.filter(kept)

    def count(self, rule: str, dropped: int) -> None:
        """Count rows that a rule dropped."""
        self.tally[rule] = self.tally.get(rule, 0) + dropped

    def filter(self, mask: NDArray[np.bool_]) -> None:
        """Keep the rows where `mask` is true."""
        self.columns = {k: v[mask] for k, v in self.columns.items()}
