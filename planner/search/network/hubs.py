"""Which nodes with most neighbours stay as they are while all the rest is solved anew.

With some hubs fixed a core that no exact solver ends on falls into parts that it ends on within a
second. So many hubs are fixed at first and fewer after every piece that was solved to its end;
more again after one that was not. At the rung where that turns, other hubs are drawn each time.
"""

import numpy as np

from planner.search.network.core import Core
from planner.search.network.form import Ints

__all__ = ["Hubs"]

_SHARES = (0.24, 0.12, 0.06, 0.04, 0.02, 0.01, 0.0)
_WIDER = 2.0
_TURNS = 3


class Hubs:
    """Draws the nodes of wide pieces."""

    def __init__(self, core: Core, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes = core.nodes
        degree = np.bincount(
            np.concatenate((core.sweeps.first, core.sweeps.second)), minlength=core.net.sizes.size
        )
        self._order = core.nodes[np.argsort(-degree[core.nodes], kind="stable")]
        self._rung = 0
        self._climbing = True
        self._turns = 0

    def restart(self) -> None:
        """Climb from the first rung again: the picks at hand are poor."""
        self._rung, self._climbing = 0, True

    def draw(self) -> list[Ints]:
        """Return the nodes of the next pieces, to solve one after the other while they end.

        While climbing, those of all rungs from here on, the first hubs fixed; else one piece with
        any hubs fixed.
        """
        if self._climbing:
            return [self._without(self._order[: self._fixed(s)]) for s in _SHARES[self._rung :]]
        count = self._fixed(_SHARES[self._rung])
        few = self._order[: int(_WIDER * count)]
        return [self._without(self._rng.choice(few, count, replace=False))]

    def heard(self, ended: int) -> None:
        """Take in how many of the pieces last drawn were solved to their end."""
        top = len(_SHARES) - 1
        if self._climbing:
            self._climbing = False
            self._rung = min(max(self._rung + ended - 1, 0), top)
        elif not ended:
            self._rung, self._turns = max(self._rung - 1, 0), 0
        else:
            self._turns += 1
            if self._turns >= _TURNS:
                self._rung, self._turns = min(self._rung + 1, top), 0

    def _fixed(self, share: float) -> int:
        return int(share * self._nodes.size)

    def _without(self, fixed: Ints) -> Ints:
        return np.setdiff1d(self._nodes, fixed) if fixed.size else self._nodes
