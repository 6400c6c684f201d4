"""The schedule: what is tried when, and what is kept.

With one processor on prices and one on pieces at first, then both on pieces:

    1. presolve; a first walk to allowed picks
    2. prices improve step by step; beside them a child solves the core at the prices of the moment,
       and, where the network is small, the whole with its rows as constraints
    3. children solve areas of the core around the best picks, at those prices

A time limit ends each part; without one, counts do, and children are heard in a fixed order.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.search.network import exact
from planner.search.network.areas import Area, Areas
from planner.search.network.child import Child
from planner.search.network.core import Shifted
from planner.search.network.descent import polish
from planner.search.network.factor import Factor
from planner.search.network.form import Ints, Network
from planner.search.network.hubs import Hubs
from planner.search.network.presolve import presolve
from planner.search.network.proof import fits, most
from planner.search.network.state import State, Told
from planner.search.network.work import Found, prove, solve_narrow, solve_wide
from planner.search.solution import Status

__all__ = ["Outcome", "Told", "run"]

_WARM = 10
_STEPS = 400
_EVERY = 20
_SOON, _FIRST = 5, 40
_ENOUGH = 3
_LEAST_STEPS = 60
_SHARE = 0.4
_SLOW = 1.5e-3
_PIECES = 60
_BACKTRACKS = 20_000
_PROOF_BACKTRACKS = 200_000
_WORKERS = 2
_PIECE_S, _AREA_S = 6.0, 2.0
_COUNTED_S = 3600.0
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """Picks of the network, status, bound, and when the picks got better: (seconds, cost)."""

    picks: Ints | None
    status: Status
    bound: float
    curve: tuple[tuple[float, float], ...] = ()


def run(net: Network, end: float | None, seed: int, tell: Told | None = None) -> Outcome:
    """Solve a network (see the module); `end` is a time of `time.monotonic`."""
    if not net.sizes.size:
        return Outcome(np.zeros(0, np.int64), "optimal", net.base)
    made = presolve(net)
    if made is None:
        return Outcome(None, "infeasible", np.inf)
    state = State(made.network, end, tell)
    _Search(state, seed).go()
    picks = None if state.picks is None else made.lifted(state.picks)
    return Outcome(picks, state.status(), state.bound(), tuple(state.curve))


@dataclass(frozen=True, slots=True)
class _Running:
    """A child at work on an area (None: on wide pieces), since when, and the best picks then."""

    child: Child[Found]
    area: Area | None
    begun: float
    base: Ints | None


class _Search:
    """The schedule of one run."""

    def __init__(self, state: State, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.state = state
        self.factor = Factor(state.net.capacity.size)
        self.areas, self.hubs = Areas(state.core, rng), Hubs(state.core, rng)
        self.raw: Ints | None = None
        self.valued = 0
        self.before = -np.inf
        self.proof: Child[Found] | None = None
        self.beside: Child[Found] | None = None
        self.exact = exact.available()

    def go(self) -> None:
        """Run all parts; no child is left behind, whatever happens."""
        try:
            self._prices()
            if not self.state.closed() and self.exact and self.state.core.nodes.size:
                self._areas()
        finally:
            self.state.end_children()

    # part 2

    def _prices(self) -> None:
        """Improve prices; beside that solve the core at them, or prove the whole."""
        dual = self.state.dual
        until = time.monotonic() + (
            _SHARE * self.state.left_s() if self.state.end is not None else np.inf
        )
        dual.start(_WARM)
        small = self.exact and fits(self.state.net)
        most = _STEPS if self.state.end is None else np.inf
        while dual.steps < most and time.monotonic() < until and not self.state.closed():
            dual.step()
            if dual.steps % _EVERY == 0:
                slow = dual.bound - self.before < _SLOW * abs(dual.bound)
                if self.state.picks is not None and slow:
                    break
                self.before = dual.bound
                self.state.offer(polish(self.state.net, dual.picks))
                if small and self.proof is None:
                    self._start_proof()
            ready = dual.steps % _SOON == 0 and dual.steps >= _FIRST
            if ready and self.exact and self.beside is None and self.state.core.nodes.size:
                self.beside = self._wide(min(_PIECE_S, 0.15 * max(self.state.left_s(), 0.0)), 1)
            self._hear(0.0)
            if self.valued >= _ENOUGH and dual.steps >= _LEAST_STEPS:
                break
        self._hear(1.0)

    def _hear(self, wait_s: float) -> None:
        """Take what the children of this part have found; counted work waits for it."""
        until = np.inf if self.state.end is None else min(time.monotonic() + wait_s, self.state.end)
        if self.proof is not None and not self.proof.done and self.proof.wait(until):
            found = self.proof.answer
            if found is not None:
                self.state.offer(found.picks)
                closed = found.ended > 0 and (found.raw is None or found.picks is not None)
                self.state.proved = self.state.proved or closed
        if self.beside is not None and self.beside.wait(until):
            found, self.beside = self.beside.answer, None
            self.hubs.heard(0 if found is None else found.ended)
            if found is not None:
                self.state.offer(found.picks)
                self.state.value = max(self.state.value, found.value)
                self.raw = found.raw if found.raw is not None else self.raw
                if found.raw is not None and found.value > -np.inf:
                    self.valued += 1
                    self._correct(found.raw)

    def _correct(self, raw: Ints) -> None:
        """Let the dual go on from prices that exact picks have corrected."""
        before = self.factor.now
        self.factor.learn(self.state.net.excess(raw) > 0.0)
        self.state.dual.correct(self.factor.now / before)
        self.factor.forget()
        self.before = -np.inf  # the bound may fall at first

    def _learn(self, found: Found) -> None:
        """Correct the prices of the next wide pieces by what this one's picks use."""
        self.hubs.heard(found.ended)
        if found.raw is None:
            return
        self.raw = found.raw
        excess = self.state.net.excess(found.raw)
        if found.value > -np.inf:
            self.valued += 1
            self.factor.learn(excess > 0.0)
        elif not self.valued:
            self.factor.nudge(excess / self.state.dual.scale)

    def _wide(self, limit_s: float, seed: int) -> Child[Found]:
        """Solve wide pieces in a child, from the last picks of the exact solver."""
        core, price, pieces = (
            self.state.core,
            self.state.dual.price * self.factor.now,
            self.hubs.draw(),
        )
        picks = self.raw if self.raw is not None else self.state.dual.picks.copy()
        counted = self.state.end is None
        limit_s = _COUNTED_S if counted else limit_s

        def work(until: float) -> Iterable[Found]:
            return solve_wide(
                core, price, pieces, picks, limit_s=limit_s,
                backtracks=_BACKTRACKS if counted else None, until=until, seed=seed,
            )  # fmt: skip

        return self.state.child(work, 1.5 * limit_s + 1.0)

    def _narrow(self, shift: Shifted, area: Area, limit_s: float, seed: int) -> Child[Found]:
        """Solve an area around the best picks in a child."""
        price, picks = self.state.dual.price * self.factor.now * area.factor, self.state.picks
        assert picks is not None
        counted = self.state.end is None
        limit_s = _COUNTED_S if counted else limit_s

        def work(until: float) -> Iterable[Found]:
            return solve_narrow(
                shift, price, area.nodes, picks, limit_s=limit_s,
                backtracks=_BACKTRACKS if counted else None, until=until, seed=seed,
            )  # fmt: skip

        return self.state.child(work, 1.5 * limit_s + 1.0)

    def _start_proof(self) -> None:
        net = self.state.net
        limit_s = max(10.0, 0.2 * self.state.left_s()) if self.state.end is not None else _COUNTED_S
        upper = (
            self.state.cost * (1.0 + _EQUAL) + 1.0 if self.state.picks is not None else most(net)
        )
        backtracks = None if self.state.end is not None else _PROOF_BACKTRACKS

        def work(_: float) -> Iterable[Found]:
            yield prove(net, upper, limit_s=limit_s, backtracks=backtracks, seed=1)

        self.proof = self.state.child(work, limit_s)

    # part 3

    def _areas(self) -> None:
        """Solve areas of the core: wide ones, at prices that they correct, and narrow ones."""
        shift = self.state.dual.shifted()
        if not self.valued:  # picks of earlier prices are far from those of the last
            self.raw = None
            self.hubs.restart()
        running: list[_Running] = []
        pieces = 0
        while self.state.left_s() > 0.3 and not self.state.proved:
            self._hear(0.0)
            busy = sum(c is not None and not c.done for c in (self.proof, self.beside))
            most = max(1, _WORKERS - busy)
            while len(running) < most and (self.state.end is not None or pieces < _PIECES):
                if (one := self._start_area(shift, running, pieces + 1)) is None:
                    break
                running.append(one)
                pieces += 1
            if not running:
                break
            one = running.pop(0)
            wait = (
                np.inf
                if self.state.end is None
                else min(time.monotonic() + 0.02, self.state.end - 0.2)
            )
            if one.child.wait(wait):
                self._take(one)
            else:
                running.append(one)

    def _start_area(self, shift: Shifted, running: list[_Running], number: int) -> _Running | None:
        """Start a wide piece where none is running, else a narrow one, once there are picks."""
        begun, half = time.monotonic(), 0.5 * max(self.state.left_s(), 0.1)
        if all(one.area is not None for one in running):
            child = self._wide(min(_PIECE_S, half), number)
            return _Running(child, None, begun, self.state.picks)
        if self.state.picks is None:
            return None
        area = self.areas.draw()
        child = self._narrow(shift, area, min(_AREA_S, half), number)
        return _Running(child, area, begun, self.state.picks)

    def _take(self, one: _Running) -> None:
        """Take what an area has found."""
        found = one.child.answer
        gained = found is not None and self.state.merge(found.picks, one.base)
        if one.area is not None:
            self.areas.reward(one.area, gained, time.monotonic() - one.begun)
        elif found is None:
            self.hubs.heard(0)
        else:
            self.state.value = max(self.state.value, found.value)
            self._learn(found)
