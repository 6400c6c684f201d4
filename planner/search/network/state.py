"""What a run knows so far: the best picks, bounds, prices, and the children at work.

Knows what is kept and how it is judged; nothing of what to try next.
"""

import time
from collections.abc import Callable

import numpy as np

from planner.search.network import exact
from planner.search.network.areas import Areas
from planner.search.network.child import Child
from planner.search.network.core import Core
from planner.search.network.dual import Dual
from planner.search.network.factor import Factor
from planner.search.network.form import Ints, Network
from planner.search.network.work import Found
from planner.search.solution import Status

__all__ = ["State", "Told"]

Told = Callable[[str, float, float], None]

_GRACE_S = 2.0
_REPAIR_S = 6.0
_EQUAL = 1e-9
_NEAR = 1e-6


class State:
    """The state of one run; `end` is a time of `time.monotonic`, None: work is counted."""

    def __init__(self, net: Network, end: float | None, seed: int, tell: Told | None) -> None:
        self.net, self.end, self._tell = net, end, tell
        self._begun = time.monotonic()
        self.core = Core.of(net)
        self.dual = Dual(self.core)
        self.areas = Areas(self.core, np.random.default_rng(seed))
        self.factor = Factor(net.capacity.size)
        self.picks: Ints | None = None
        self.cost = np.inf
        self._solid: Ints | None = None
        self.raw: Ints | None = None
        self.value = -np.inf
        self.proved = False
        self.curve: list[tuple[float, float]] = []
        self._children: list[Child[Found]] = []
        self.pieces = exact.available() and self.core.nodes.size > 0

    @property
    def counted(self) -> bool:
        """Tell whether work is limited by counts."""
        return self.end is None

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return np.inf if self.end is None else self.end - time.monotonic()

    def status(self) -> Status:
        """Status of what was found."""
        if self.picks is None:
            return "infeasible" if self.proved else "unknown"
        return "optimal" if self.closed() else "feasible"

    def bound(self) -> float:
        """Return a true lower bound."""
        if self.proved:
            return self.cost
        return min(max(self.dual.true_bound(), self.value), self.cost)

    def closed(self) -> bool:
        """Tell whether nothing is left to prove."""
        least = self.cost - _EQUAL * abs(self.cost)
        if not self.proved and self.dual.bound >= self.cost - _NEAR * abs(self.cost):
            self.proved = self.dual.true_bound() >= least
        self.proved = self.proved or (self.picks is not None and self.value >= least)
        return self.proved

    def upper(self) -> float:
        """Return a cost just above that of the best picks."""
        return self.cost * (1.0 + _EQUAL) + 1.0

    def base(self) -> Ints:
        """Return the picks to start from: the best, or the last that the exact solver gave."""
        for picks in (self._solid, self.raw):
            if picks is not None:
                return picks
        return self.dual.picks

    def offer(self, picks: Ints | None, solid: bool = True) -> bool:
        """Keep allowed picks that cost less than the best; start from them where they are solid."""
        if picks is None:
            return False
        cost = self.net.price(picks)
        if cost >= self.cost or not self.net.allows(picks):
            return False
        self.picks, self.cost = picks, cost
        self._solid = picks if solid else self._solid
        self.curve.append((time.monotonic() - self._begun, cost))
        if self._tell is not None:
            self._tell("search", cost, max(self.dual.bound, self.value))
        return True

    def merge(self, picks: Ints | None, base: Ints) -> bool:
        """Keep better picks, with what has become better elsewhere since they began at `base`."""
        if picks is None:
            return False
        if self.picks is not None and base is not self.picks:
            both = self.picks.copy()
            changed = picks != base
            both[changed] = picks[changed]
            if self.offer(both):
                return True
        return self.offer(picks)

    def learn(self, raw: Ints | None) -> None:
        """Correct the prices of the next wide pieces by what exact picks use."""
        if raw is not None:
            self.raw = raw
            self.factor.learn(self.net.excess(raw) > 0.0)

    def correct(self, raw: Ints) -> None:
        """Let the dual go on from prices that exact picks have corrected."""
        before = self.factor.now
        self.learn(raw)
        self.dual.correct(self.factor.now / before)
        self.factor.forget(self.factor.now)

    def child(self, work: Callable[[float], Found], limit_s: float) -> Child[Found]:
        """Start work in a child; it is told the time at which repairs must end."""
        limit_s = max(0.1, min(limit_s, 0.6 * self.left_s()))
        repair_s = min(_REPAIR_S, 0.5 * (self.left_s() - limit_s))
        until = np.inf if self.counted else time.monotonic() + limit_s + repair_s
        grace_s = max(0.3, min(repair_s + _GRACE_S, self.left_s() - limit_s - 0.2))
        child: Child[Found] = Child(lambda: work(until), limit_s, grace_s)
        self._children = [c for c in self._children if not c.done] + [child]
        return child

    def end_children(self) -> None:
        """Leave no child behind."""
        for child in self._children:
            child.kill()
