"""Which nodes of the core to solve anew while the others keep their picks.

    window  nodes that follow each other in time
    ball    a node and those near it

`Areas.draw` draws one; those that found something before are drawn more often.
"""

from dataclasses import dataclass

import numpy as np

from planner.search.network.core import Core
from planner.search.network.form import Ints, ends

__all__ = ["Area", "Areas"]

_WINDOWS = (60, 150, 400, 1000, 2000)
_BALLS = (60, 200, 600, 1200)
_FACTORS = (0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Area:
    """Nodes to solve, a factor for prices (1: as they are), the kind they were drawn by."""

    nodes: Ints
    factor: float
    kind: int


class Areas:
    """Draws areas of one core."""

    def __init__(self, core: Core, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes = core.nodes
        net, sweeps = core.net, core.sweeps
        size = net.sizes.size
        both = np.concatenate((sweeps.first, sweeps.second))
        order = np.argsort(both, kind="stable")
        self._near = np.concatenate((sweeps.second, sweeps.first))[order]
        self._start = ends(np.bincount(both, minlength=size))
        count = self._nodes.size
        self._kinds: list[tuple[str, int]] = [
            *(("window", w) for w in _WINDOWS if w < count),
            *(("ball", b) for b in _BALLS if b < count),
        ] or [("window", count)]
        self._score = np.ones(len(self._kinds))

    def draw(self) -> Area:
        """Draw an area and a factor for the prices inside it."""
        kind = int(self._rng.choice(self._score.size, p=self._score / self._score.sum()))
        name, size = self._kinds[kind]
        nodes = getattr(self, f"_{name}")(size)
        factor = float(np.exp(self._rng.uniform(*np.log(_FACTORS))))
        return Area(nodes, factor, kind)

    def reward(self, area: Area, gained: bool, seconds: float) -> None:
        """Learn from what an area gave."""
        value = (2.0 if gained else 0.3) / max(seconds, 0.3)
        self._score[area.kind] = 0.8 * self._score[area.kind] + 0.2 * value

    def _window(self, size: int) -> Ints:
        begin = int(self._rng.integers(0, max(1, self._nodes.size - size + 1)))
        return self._nodes[begin : begin + size]

    def _ball(self, size: int) -> Ints:
        seen = np.zeros(self._start.size - 1, bool)
        edge = self._rng.choice(self._nodes, 1)
        seen[edge] = True
        found = [edge]
        left = size - 1
        while left > 0 and edge.size:
            near = np.concatenate(
                [self._near[self._start[n] : self._start[n + 1]] for n in edge.tolist()]
            )
            near = np.unique(near[~seen[near]])
            if near.size > left:
                near = self._rng.choice(near, left, replace=False)
            seen[near] = True
            found.append(near)
            left -= near.size
            edge = near
        return np.sort(np.concatenate(found))
