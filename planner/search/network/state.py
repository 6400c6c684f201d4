"""What a run of the schedule knows: the best picks, bounds, the time that is left, its children.

Knows what is kept and how it is judged; nothing of what to try next.
"""

import time
from collections.abc import Callable, Iterable

import numpy as np

from planner.search.network.child import Child
from planner.search.network.core import Core
from planner.search.network.dual import Dual
from planner.search.network.form import Ints, Network
from planner.search.network.work import Found
from planner.search.solution import Status

__all__ = ["State", "Told"]

Told = Callable[[str, float, float], None]

_GRACE_S = 2.0
_REPAIR_S = 3.0
_EQUAL = 1e-9
_NEAR = 1e-6


class State:
    """The state of one run; `end` is a time of `time.monotonic`, None: work is counted.

    `value`: the best bound that exact picks at some prices have proved.
    """

    def __init__(self, net: Network, end: float | None, tell: Told | None) -> None:
        self.net, self.end, self._tell = net, end, tell
        self._begun = time.monotonic()
        self.core = Core.of(net)
        self.dual = Dual(self.core)
        self.picks: Ints | None = None
        self.cost = np.inf
        self.proved = False
        self.value = -np.inf
        self.curve: list[tuple[float, float]] = []
        self._children: list[Child[Found]] = []

    def end_children(self) -> None:
        """Leave no child behind."""
        for child in self._children:
            child.kill()

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
        """Tell whether the best picks are proved to be the best."""
        least = self.cost - _EQUAL * abs(self.cost)
        if not self.proved and self.dual.bound >= self.cost - _NEAR * abs(self.cost):
            self.proved = self.dual.true_bound() >= least
        self.proved = self.proved or (self.picks is not None and self.value >= least)
        return self.proved

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return np.inf if self.end is None else self.end - time.monotonic()

    def offer(self, picks: Ints | None) -> bool:
        """Keep allowed picks that cost less than the best."""
        if picks is None:
            return False
        cost = self.net.price(picks)
        if cost >= self.cost or not self.net.allows(picks):
            return False
        self.picks, self.cost = picks, cost
        self.curve.append((time.monotonic() - self._begun, cost))
        if self._tell is not None:
            self._tell("search", cost, self.dual.bound)
        return True

    def child(self, work: Callable[[float], Iterable[Found]], limit_s: float) -> Child[Found]:
        """Start work in a child, which is told until when it may repair."""
        limit_s = max(0.1, min(limit_s, 0.6 * self.left_s()))
        repair_s = min(_REPAIR_S, 0.5 * (self.left_s() - limit_s))
        until = time.monotonic() + limit_s + repair_s
        grace_s = max(0.3, min(repair_s + _GRACE_S, self.left_s() - limit_s - 0.2))
        child: Child[Found] = Child(lambda: work(until), limit_s, grace_s)
        self._children = [c for c in self._children if not c.done] + [child]
        return child

    def merge(self, picks: Ints | None, base: Ints | None) -> bool:
        """Take better picks; where the best has changed since, try to put both changes together."""
        if picks is None:
            return False
        if self.picks is not None and base is not None and base is not self.picks:
            both = self.picks.copy()
            changed = picks != base
            both[changed] = picks[changed]
            if self.offer(both):
                return True
        return self.offer(picks)
