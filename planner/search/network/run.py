"""The schedule: what is tried when, and what is kept.

With one processor on prices and one on pieces at first, then both on pieces:

    1. presolve; a first walk to allowed picks
    2. prices improve step by step; beside them a child solves the core at the prices of the moment,
       and, where the network is small, the whole with its rows as constraints
    3. children solve areas of the core around the best picks, at those prices

A time limit ends each part; without one, counts do, and children are heard in a fixed order.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from planner.search.network import exact
from planner.search.network.areas import Area, Areas
from planner.search.network.child import Child
from planner.search.network.core import Core, Shifted
from planner.search.network.descent import polish
from planner.search.network.dual import Dual
from planner.search.network.factor import Factor
from planner.search.network.form import Ints, Network
from planner.search.network.presolve import presolve
from planner.search.network.proof import fits, most
from planner.search.network.work import Found, prove, solve_piece
from planner.search.solution import Status

__all__ = ["Outcome", "Told", "run"]

_WARM = 10
_STEPS = 400
_EVERY = 20
_SOON = 5
_ENOUGH = 3
_LEAST_STEPS = 60
_SHARE = 0.4
_SLOW = 1.5e-3
_PIECES = 60
_BACKTRACKS = 20_000
_PROOF_BACKTRACKS = 200_000
_WORKERS = 2
_PIECE_S, _AREA_S = 10.0, 2.0
_COUNTED_S = 3600.0
_GRACE_S = 2.0
_REPAIR_S = 6.0
_EQUAL = 1e-9
_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Outcome:
    """Picks of the network, status, bound, and when the picks got better: (seconds, cost)."""

    picks: Ints | None
    status: Status
    bound: float
    curve: tuple[tuple[float, float], ...] = ()


Told = Callable[[str, float, float], None]


def run(net: Network, end: float | None, seed: int, tell: Told | None = None) -> Outcome:
    """Solve a network (see the module); `end` is a time of `time.monotonic`."""
    if not net.sizes.size:
        return Outcome(np.zeros(0, np.int64), "optimal", net.base)
    made = presolve(net)
    if made is None:
        return Outcome(None, "infeasible", np.inf)
    search = _Search(made.network, end, seed, tell)
    search.go()
    picks = None if search.picks is None else made.lifted(search.picks)
    return Outcome(picks, search.status(), search.bound(), tuple(search.curve))


@dataclass(frozen=True, slots=True)
class _Running:
    """An area that a child is solving, since when, and the picks around it."""

    child: Child[Found]
    area: Area
    begun: float
    base: Ints


class _Search:
    """The state of one run."""

    def __init__(self, net: Network, end: float | None, seed: int, tell: Told | None) -> None:
        self.net, self.end, self.tell = net, end, tell
        self.begun = time.monotonic()
        self.rng = np.random.default_rng(seed)
        self.core = Core.of(net)
        self.dual = Dual(self.core)
        self.picks: Ints | None = None
        self.cost = np.inf
        self.proved = False
        self.curve: list[tuple[float, float]] = []
        self.children: list[Child[Found]] = []
        self.factor = Factor(net.capacity.size)
        self.areas = Areas(self.core, self.rng)
        self.raw: Ints | None = None
        self.easy = False
        self.value = -np.inf
        self.valued = 0
        self.proof: Child[Found] | None = None
        self.beside: Child[Found] | None = None
        self.exact = exact.available()

    def go(self) -> None:
        """Run all parts; no child is left behind, whatever happens."""
        try:
            self._prices()
            if not self._closed() and self.exact and self.core.nodes.size:
                self._areas()
        finally:
            for child in self.children:
                child.kill()

    def status(self) -> Status:
        """Status of what was found."""
        if self.picks is None:
            return "infeasible" if self.proved else "unknown"
        return "optimal" if self._closed() else "feasible"

    def bound(self) -> float:
        """Return a true lower bound."""
        if self.proved:
            return self.cost
        return min(max(self.dual.true_bound(), self.value), self.cost)

    def _closed(self) -> bool:
        least = self.cost - _EQUAL * abs(self.cost)
        if not self.proved and self.dual.bound >= self.cost - _NEAR * abs(self.cost):
            self.proved = self.dual.true_bound() >= least
        self.proved = self.proved or (self.picks is not None and self.value >= least)
        return self.proved

    def _left(self) -> float:
        return np.inf if self.end is None else self.end - time.monotonic()

    def offer(self, picks: Ints | None) -> bool:
        """Keep allowed picks that cost less than the best."""
        if picks is None:
            return False
        cost = self.net.price(picks)
        if cost >= self.cost or not self.net.allows(picks):
            return False
        self.picks, self.cost = picks, cost
        self.curve.append((time.monotonic() - self.begun, cost))
        if self.tell is not None:
            self.tell("search", cost, self.dual.bound)
        return True

    def _child(self, work: Callable[[float], Found], limit_s: float) -> Child[Found]:
        limit_s = max(0.1, min(limit_s, 0.6 * self._left()))
        repair_s = min(_REPAIR_S, 0.5 * (self._left() - limit_s))
        until = time.monotonic() + limit_s + repair_s
        grace_s = max(0.3, min(repair_s + _GRACE_S, self._left() - limit_s - 0.2))
        child: Child[Found] = Child(lambda: work(until), limit_s, grace_s)
        self.children = [c for c in self.children if not c.done] + [child]
        return child

    # part 2

    def _prices(self) -> None:
        """Improve prices; beside that solve the core at them, or prove the whole."""
        dual = self.dual
        until = time.monotonic() + (_SHARE * self._left() if self.end is not None else np.inf)
        dual.start(_WARM)
        small = self.exact and fits(self.net)
        before = -np.inf
        most = _STEPS if self.end is None else np.inf
        while dual.steps < most and time.monotonic() < until and not self._closed():
            dual.step()
            if dual.steps % _EVERY == 0:
                if self.picks is not None and dual.bound - before < _SLOW * abs(dual.bound):
                    break
                before = dual.bound
                self.offer(polish(self.net, dual.picks))
                if small and self.proof is None:
                    self._start_proof()
            ready = dual.steps % _SOON == 0 and dual.steps > _SOON
            if ready and self.exact and self.beside is None and self.core.nodes.size:
                self._start_core(min(_PIECE_S, 0.15 * max(self._left(), 0.0)))
            self._hear(0.0)
            if self.valued >= _ENOUGH and dual.steps >= _LEAST_STEPS:
                break
        self._hear(1.0)

    def _hear(self, wait_s: float) -> None:
        """Take what the children of this part have found; counted work waits for it."""
        until = np.inf if self.end is None else min(time.monotonic() + wait_s, self.end)
        if self.proof is not None and not self.proof.done and self.proof.wait(until):
            found = self.proof.answer
            if found is not None:
                self.offer(found.picks)
                closed = found.proved and (found.raw is None or found.picks is not None)
                self.proved = self.proved or closed
        if self.beside is not None and self.beside.wait(until):
            found, self.beside = self.beside.answer, None
            if found is not None:
                self.offer(found.picks)
                self.value = max(self.value, found.value)
                if found.raw is not None:
                    self.raw = found.raw
                    self.easy = found.proved
                    if found.value > -np.inf:
                        self.valued += 1
                        self._correct(found.raw)

    def _correct(self, raw: Ints) -> None:
        """Let the dual go on from prices that exact picks have corrected."""
        before = self.factor.now
        self._learn(raw)
        self.dual.correct(self.factor.now / before)
        self.factor.forget(self.factor.now)

    def _learn(self, raw: Ints | None) -> None:
        """Correct the prices of the next wide pieces by what exact picks use."""
        if raw is not None:
            self.raw = raw
            self.factor.learn(self.net.excess(raw) > 0.0)

    def _start_core(self, limit_s: float) -> None:
        shift, price = self.dual.shifted(), self.dual.price * self.factor.now
        picks, nodes = self._base().copy(), self.core.nodes
        if not self.easy:
            nodes = self.areas.draw(True, "spokes").nodes
        backtracks = None if self.end is not None else _BACKTRACKS
        limit_s = limit_s if self.end is not None else _COUNTED_S

        def work(until: float) -> Found:
            return solve_piece(
                shift, price, nodes, picks, wide=True, limit_s=limit_s, backtracks=backtracks,
                until=until, seed=1,
            )  # fmt: skip

        self.beside = self._child(work, 1.5 * limit_s + 1.0)

    def _start_proof(self) -> None:
        net = self.net
        limit_s = max(10.0, 0.2 * self._left()) if self.end is not None else _COUNTED_S
        upper = self.cost * (1.0 + _EQUAL) + 1.0 if self.picks is not None else most(net)
        backtracks = None if self.end is not None else _PROOF_BACKTRACKS

        def work(_: float) -> Found:
            return prove(net, upper, limit_s=limit_s, backtracks=backtracks, seed=1)

        self.proof = self._child(work, limit_s)

    # part 3

    def _areas(self) -> None:
        """Solve areas of the core: one wide, at prices that it corrects, and one narrow."""
        shift, areas = self.dual.shifted(), self.areas
        running: list[_Running] = []
        pieces = 0
        while self._left() > 0.3 and not self.proved:
            self._hear(0.0)
            busy = sum(c is not None and not c.done for c in (self.proof, self.beside))
            most = max(1, _WORKERS - busy)
            while len(running) < most and (self.end is not None or pieces < _PIECES):
                wide = not any(one.area.wide for one in running)
                running.append(self._start_area(shift, areas.draw(wide), pieces))
                pieces += 1
            if not running:
                break
            one = running.pop(0)
            wait = np.inf if self.end is None else min(time.monotonic() + 0.02, self.end - 0.2)
            if not one.child.wait(wait):
                running.append(one)
                continue
            found = one.child.answer
            self.value = max(self.value, -np.inf if found is None else found.value)
            gained = found is not None and self._merge(found.picks, one.base)
            whole = one.area.nodes.size == self.core.nodes.size
            if found is not None and whole and one.area.factor == 1.0:
                self._learn(found.raw)
            areas.reward(one.area, gained, time.monotonic() - one.begun)

    def _base(self) -> Ints:
        """Return the picks to start from: the best, or the last that the exact solver gave."""
        if self.picks is not None:
            return self.picks
        return self.raw if self.raw is not None else self.dual.picks

    def _start_area(self, shift: Shifted, area: Area, number: int) -> _Running:
        base = self._base()
        if self.picks is None:
            area = replace(area, nodes=self.core.nodes, wide=True, factor=1.0)
        price = self.dual.price * self.factor.now * area.factor
        counted = self.end is None
        limit_s = min(_PIECE_S if area.wide else _AREA_S, 0.5 * max(self._left(), 0.1))
        limit_s = _COUNTED_S if counted else limit_s

        def work(until: float) -> Found:
            return solve_piece(
                shift, price, area.nodes, base, wide=area.wide, limit_s=limit_s,
                backtracks=_BACKTRACKS if counted else None, until=until, seed=number + 1,
            )  # fmt: skip

        child = self._child(work, 1.5 * limit_s + 1.0)
        return _Running(child, area, time.monotonic(), base)

    def _merge(self, picks: Ints | None, base: Ints | None) -> bool:
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
