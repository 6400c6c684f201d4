"""The schedule: what is tried when, and what is kept.

With one processor on prices and one on pieces at first, then both on pieces:

    1. presolve; picks that use least, moved downhill
    2. prices improve step by step; beside them children solve the core at the prices of the moment
       and, where the network is small, the whole with its rows as constraints
    3. children solve the core at prices that its own answers correct, and areas of it around the
       best picks

A time limit ends each part; without one, counts do, and children are heard in a fixed order.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from planner.search.network import exact
from planner.search.network.areas import Area
from planner.search.network.child import Child
from planner.search.network.core import Shifted
from planner.search.network.descent import polish
from planner.search.network.form import Floats, Ints, Network
from planner.search.network.presolve import presolve
from planner.search.network.proof import fits, most
from planner.search.network.repair import repaired
from planner.search.network.state import State, Told
from planner.search.network.work import Found, prove, solve_piece
from planner.search.solution import Status

__all__ = ["Outcome", "Told", "run"]

_WARM = 10
_STEPS, _PIECES = 300, 24
_EVERY = 20
_SOON, _SOON_COUNTED = 5, 100
_ENOUGH = 3
_LEAST_STEPS = 60
_SHARE = 0.4
_SLOW = 1.5e-3
_BACKTRACKS, _BACKTRACKS_PROOF = 3_000, 200_000
_WORKERS = 2
_TRIES = 20
_PIECE_S, _AREA_S = 10.0, 2.0
_COUNTED_S = 3600.0


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
    state = State(made.network, end, seed, tell)
    try:
        state.offer(polish(state.net, _least_use(state.net)), solid=False)
        _Pricing(state).go()
        if not state.closed() and state.pieces:
            _improve(state)
    finally:
        state.end_children()
    picks = None if state.picks is None else made.lifted(state.picks)
    return Outcome(picks, state.status(), state.bound(), tuple(state.curve))


def _least_use(net: Network) -> Ints:
    """Pick what uses least, and costs least among that."""
    room = np.maximum(np.repeat(net.hi - net.lo, net.sizes[net.slot_node]), 1)
    used = np.bincount(net.use_option, net.use * room, net.cost.size)
    order = np.lexsort((net.cost, used, net.node_of))
    found: Ints = order[net.start[:-1]] - net.start[:-1]
    return found


class _Pricing:
    """Part 2."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.proof: Child[Found] | None = None
        self.beside: Child[Found] | None = None
        self.easy = False
        self.valued = 0

    def go(self) -> None:
        """Improve prices; beside that solve the core at them, or prove the whole."""
        state, dual = self.state, self.state.dual
        until = np.inf if state.counted else time.monotonic() + _SHARE * state.left_s()
        steps = _STEPS if state.counted else np.inf
        soon = _SOON_COUNTED if state.counted else _SOON
        dual.start(_WARM)
        small = exact.available() and fits(state.net)
        before = -np.inf
        while dual.steps < steps and time.monotonic() < until and not state.closed():
            dual.step()
            if dual.steps % _EVERY == 0:
                if state.picks is not None and dual.bound - before < _SLOW * abs(dual.bound):
                    break
                before = dual.bound
                self._offer()
                if small and self.proof is None:
                    self._start_proof()
            ready = dual.steps % soon == 0 and dual.steps > _SOON
            if ready and state.pieces and self.beside is None:
                self._start_core(min(_PIECE_S, 0.15 * max(state.left_s(), 0.0)))
            self._hear(0.0)
            if self.valued >= _ENOUGH and dual.steps >= _LEAST_STEPS:
                break
        self._finish()

    def _offer(self) -> None:
        """Make allowed picks of those that the messages suggest."""
        state, dual = self.state, self.state.dual
        if exact.available():
            state.offer(polish(state.net, dual.picks), solid=False)
            return
        state.offer(
            repaired(
                dual.shifted(),
                dual.price,
                dual.picks,
                reach=0,
                tries=_TRIES,
                counted=True,
                limit_s=0.0,
                until=np.inf,
            )  # fmt: skip
        )

    def _finish(self) -> None:
        """Let what is still at work end; prices go on beside it."""
        state = self.state
        while not state.closed() and state.left_s() > 0.3:
            self._hear(0.0)
            proving = self.proof is not None and not self.proof.done
            if self.beside is None and not proving:
                break
            if self.beside is None and state.pieces:
                self._start_core(min(_PIECE_S, 0.15 * state.left_s()))
            state.dual.step()

    def _hear(self, wait_s: float) -> None:
        """Take what the children of this part have found; counted work waits for it."""
        state = self.state
        until = np.inf if state.end is None else min(time.monotonic() + wait_s, state.end)
        if self.proof is not None and not self.proof.done and self.proof.wait(until):
            found = self.proof.answer
            if found is not None:
                state.offer(found.picks)
                closed = found.proved and (found.raw is None or found.picks is not None)
                state.proved = state.proved or closed
        if self.beside is not None and self.beside.wait(until):
            found, self.beside = self.beside.answer, None
            if found is not None:
                self._take(found)

    def _take(self, found: Found) -> None:
        state = self.state
        state.offer(found.picks)
        state.value = max(state.value, found.value)
        if found.raw is not None:
            state.raw = found.raw
            self.easy = found.proved
            if found.value > -np.inf:
                self.valued += 1
                state.correct(found.raw)

    def _start_core(self, limit_s: float) -> None:
        state = self.state
        nodes = state.core.nodes if self.easy else state.areas.draw(True, "spokes").nodes
        price = state.dual.price * state.factor.now
        area = Area(0, nodes, 1.0, True)
        self.beside = _start(state, state.dual.shifted(), area, price, limit_s, 1)

    def _start_proof(self) -> None:
        state = self.state
        net, counted = state.net, state.counted
        limit_s = _COUNTED_S if counted else max(10.0, 0.2 * state.left_s())
        upper = state.upper() if state.picks is not None else most(net)

        def work(_: float) -> Found:
            backtracks = _BACKTRACKS_PROOF if counted else None
            return prove(net, upper, limit_s=limit_s, backtracks=backtracks, seed=1)

        self.proof = state.child(work, limit_s)


@dataclass(frozen=True, slots=True)
class _Running:
    """An area that a child is solving, since when, and the picks around it."""

    child: Child[Found]
    area: Area
    begun: float
    base: Ints


def _improve(state: State) -> None:
    """Part 3: solve areas of the core, one wide, at prices that it corrects, and one narrow."""
    shift = state.dual.shifted()
    running: list[_Running] = []
    pieces = 0
    while state.left_s() > 0.3 and not state.closed():
        while len(running) < _WORKERS and not (state.counted and pieces >= _PIECES):
            wide = not any(one.area.wide for one in running)
            running.append(_start_area(state, shift, state.areas.draw(wide), pieces))
            pieces += 1
        if not running:
            break
        one = running.pop(0)
        wait = np.inf if state.end is None else min(time.monotonic() + 0.02, state.end - 0.2)
        if not one.child.wait(wait):
            running.append(one)
            continue
        gained = False
        found = one.child.answer
        if found is not None:
            state.value = max(state.value, found.value)
            gained = state.merge(found.picks, one.base)
            if one.area.nodes.size == state.core.nodes.size and one.area.factor == 1.0:
                state.learn(found.raw)
        spent_s = 1.0 if state.counted else time.monotonic() - one.begun
        state.areas.reward(one.area, gained, spent_s)


def _start_area(state: State, shift: Shifted, area: Area, number: int) -> _Running:
    if state.picks is None:
        area = replace(area, nodes=state.core.nodes, wide=True, factor=1.0)
    price = state.dual.price * state.factor.now * area.factor
    limit_s = min(_PIECE_S if area.wide else _AREA_S, 0.5 * max(state.left_s(), 0.1))
    base = state.base()
    child = _start(state, shift, area, price, limit_s, number + 2)
    return _Running(child, area, time.monotonic(), base)


def _start(
    state: State, shift: Shifted, area: Area, price: Floats, limit_s: float, seed: int
) -> Child[Found]:
    """Solve an area around the best picks in a child."""
    base = state.base().copy()
    backtracks = _BACKTRACKS if state.counted else None
    limit_s = _COUNTED_S if state.counted else limit_s

    def work(until: float) -> Found:
        return solve_piece(
            shift, price, area.nodes, base, wide=area.wide, limit_s=limit_s,
            backtracks=backtracks, until=until, seed=seed,
        )  # fmt: skip

    return state.child(work, 1.5 * limit_s + 1.0)
