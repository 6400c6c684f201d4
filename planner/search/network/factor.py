"""By how much the dual's prices are wrong, row by row, learned from exact picks.

The prices that sweeps find are good in shape, but picks at them jump: all rows have room, or some
are exceeded. So each row's factor is halved in, on a scale of logarithms, between one at which it
was kept and one at which it was exceeded.
"""

import numpy as np

from planner.search.network.form import Bools, Floats

__all__ = ["Factor"]

_STEP = 4.0
_NEAR = 1.1
_PACE, _LEAST_PACE, _SLOWER, _CLIP = 0.3, 0.06, 10.0, 0.3


class Factor:
    """`now`: the factors to try next."""

    def __init__(self, rows: int) -> None:
        self.now = np.ones(rows)
        self._kept = np.full(rows, np.inf)
        self._over = np.zeros(rows)
        self._nudges = 0

    def forget(self) -> None:
        """Count from here: the present factors have been taken into the prices."""
        self._kept = self._kept / self.now
        self._over = self._over / self.now
        self.now = np.ones(self.now.size)

    def nudge(self, ratio: Floats) -> None:
        """Move a little, less each time, by how far picks that need not be the best are off."""
        self._nudges += 1
        pace = max(_LEAST_PACE, _PACE / (1.0 + self._nudges / _SLOWER))
        self.now = self.now * np.exp(pace * np.clip(ratio, -_CLIP, _CLIP))

    def learn(self, over: Bools) -> None:
        """Take in which rows were exceeded at the present factors."""
        if not bool(over.any()):
            self._kept = self.now.copy()
            self._over[self._over * _NEAR >= self.now] = 0.0
        self._over = np.where(over, self.now, self._over)
        self._kept = np.where(over & (self._kept <= _NEAR * self.now), np.inf, self._kept)
        if bool(over.any()):
            raised = _middle(self.now, self._kept)
            self.now = np.where(over, raised, self.now)
        else:
            self.now = _middle(self._over, self.now)


def _middle(low: Floats, high: Floats) -> Floats:
    """Return the geometric middle; a step where one end is not known."""
    end = np.where(np.isfinite(high), high, _STEP * _STEP * low)
    begin = np.where(low > 0.0, low, end / (_STEP * _STEP))
    middle: Floats = np.sqrt(begin * end)
    return middle
