"""Which nodes of the core to solve anew while the others keep their picks.

    window  nodes that follow each other in time
    ball    a node and those near it
    spokes  all but a random part of the nodes with most neighbours

`Areas.draw` draws one; those that found something before are drawn more often.
"""

from dataclasses import dataclass

import numpy as np

from planner.search.network.core import Core
from planner.search.network.form import Ints, ends

__all__ = ["Area", "Areas"]

_WINDOWS = (60, 150, 400, 1000)
_BALLS = (60, 200, 600)
_FIXED = (0.006, 0.012, 0.024)
_WIDE = ("all", "spokes")
_PLAIN = 0.8


@dataclass(frozen=True, slots=True)
class Area:
    """Nodes to solve, the kind they were drawn by, a factor for prices (1: as they are).

    `wide`: so large that the picks may be better though they cost more at the prices.
    """

    kind: int
    nodes: Ints
    factor: float
    wide: bool


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
        self._degree = np.diff(self._start)
        count = self._nodes.size
        self._kinds: list[tuple[str, float]] = [
            *(("window", w) for w in _WINDOWS if w < count),
            *(("ball", b) for b in _BALLS if b < count),
            *(("spokes", f) for f in _FIXED if f * count >= 1.0),
            ("all", 1.0),
        ]
        self._score = np.ones(len(self._kinds))

    def draw(self, wide: bool, only: str = "") -> Area:
        """Draw an area, wide or not, and a factor for the prices inside it."""
        ours = np.array([(name in _WIDE) == wide for name, _ in self._kinds])
        if any(name == only for name, _ in self._kinds):
            ours = np.array([name == only for name, _ in self._kinds])
        if not bool(ours.any()):
            ours[:] = wide = True
        share = np.where(ours, self._score, 0.0)
        kind = int(self._rng.choice(share.size, p=share / share.sum()))
        name, size = self._kinds[kind]
        nodes = getattr(self, f"_{name}")(size)
        low, high = (0.7, 1.2) if wide else (0.1, 2.0)
        factor = float(np.exp(self._rng.uniform(np.log(low), np.log(high))))
        plain = wide and float(self._rng.random()) < _PLAIN
        return Area(kind, nodes, 1.0 if plain else factor, wide)

    def reward(self, area: Area, gained: bool, seconds: float) -> None:
        """Learn from what an area gave."""
        value = (2.0 if gained else 0.3) / max(seconds, 0.3)
        self._score[area.kind] = 0.8 * self._score[area.kind] + 0.2 * value

    def _window(self, size: float) -> Ints:
        begin = int(self._rng.integers(0, max(1, self._nodes.size - int(size) + 1)))
        return self._nodes[begin : begin + int(size)]

    def _ball(self, size: float) -> Ints:
        seen = np.zeros(self._degree.size, bool)
        edge = self._rng.choice(self._nodes, 1)
        seen[edge] = True
        found = [edge]
        left = int(size) - 1
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

    def _spokes(self, share: float) -> Ints:
        count = max(1, int(share * self._nodes.size))
        hubs = self._nodes[np.argsort(-self._degree[self._nodes], kind="stable")[: 2 * count]]
        fixed = self._rng.choice(hubs, min(count, hubs.size), replace=False)
        return np.setdiff1d(self._nodes, fixed)

    def _all(self, size: float) -> Ints:
        return self._nodes
