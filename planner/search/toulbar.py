"""toulbar2, an exact solver of cost networks, on a problem in whole numbers.

Options and pairs are its cost functions, limits its knapsack constraints. It knows no maximum: a
bottleneck is one more decision, which bracket of ticks its peak is in, at the cost of the
bracket's least peak, with a knapsack for each group; brackets are split where the picks fall until
their cost is that of their true peak. Loads are rounded down in those knapsacks, to a millionth
of what a group can have: the bound stays true, a proof may miss by so much.

Only what runs inside a child process (`child`): toulbar2 cannot be stopped from outside, and its
memory is freed with the process. Source: Allouche et al., toulbar2; Cooper et al., soft arc
consistency, Artificial Intelligence 174, 2010.
"""

import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from planner.search.whole import FORBIDDEN, Bits, Cap, Ints, Whole

__all__ = ["BITS", "Found", "solve_here"]

BITS = Bits(cost=38, usage=20)
"""Products of a cost and a usage are rounded where they have more than some 60 bits together."""
TOP = 1 << 60
"""A cost that no picks may have."""
BRACKETS = 12
"""Brackets of a bottleneck to begin with."""
SPLITS = 60
"""Most times that brackets are split."""


class Network(Protocol):
    """What is used of toulbar2's network."""

    def makeEnumeratedVariable(self, name: str, least: int, most: int) -> int: ...
    def postUnaryConstraint(self, at: int, costs: list[int], incremental: bool) -> None: ...
    def postBinaryConstraint(
        self, first: int, second: int, costs: list[int], incremental: bool
    ) -> int: ...
    def postKnapsackConstraint(self, scope: list[int], text: str, kp: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class Found:
    """Picks (None: none as cheap as wanted), a bound in ticks, whether the search ended."""

    picks: tuple[int, ...] | None
    bound: float
    ended: bool


def solve_here(
    model: Whole, most: float, *, limit_s: float, backtracks: int | None, seed: int
) -> Found:
    """Solve a model in this process, for picks of at most `most` ticks.

    Notes
    -----
    The limits hold for all brackets together. `bound` is inf where nothing is allowed at all and
    `most` is inf; where only nothing as cheap is, it is `most`.
    """
    deadline = time.monotonic() + limit_s
    brackets = [_first_brackets(groups) for groups in model.peaks]
    best: tuple[int, ...] | None = None
    upper = int(min(most, TOP - 2)) + 1  # only what costs less is looked for
    bound, ended = 0.0, False
    for _ in range(SPLITS):
        left = deadline - time.monotonic()
        if left <= 0.0:
            break
        picks, least, ended = _solve(model, brackets, upper, left, backtracks, seed)
        stuck = picks == best and least <= bound  # loads are rounded further than brackets split
        bound = max(bound, least)
        if picks is not None:
            ticks = model.ticks(picks)
            if ticks < upper:
                best, upper = picks, ticks
        if not ended or picks is None or bound >= upper or stuck:
            break
        before = [list(own) for own in brackets]
        for own, groups in zip(brackets, model.peaks, strict=True):
            _split(own, groups, max(0, *(cap.used(picks) - cap.room for cap in groups)))
        if before == brackets:
            break
    if ended and best is None and most == np.inf:
        return Found(None, np.inf, True)
    return Found(best, min(bound, float(upper)), ended)


def _first_brackets(groups: list[Cap]) -> list[int]:
    """Return the ends of the first brackets, ascending; the first is 0, the last holds for all."""
    most = max(sum(int(used.max()) for used in cap.members.values()) - cap.room for cap in groups)
    return sorted({0, *(most * i // BRACKETS for i in range(1, BRACKETS + 1))})


def _unit(cap: Cap, most: int) -> int:
    """Return the ticks that loads of a group are rounded to, whose peak is `most` or less."""
    return 1 + (most + cap.room >> BITS.usage)


def _split(ends: list[int], groups: list[Cap], peak: int) -> None:
    """Make a bracket of one peak, as narrow as loads are rounded, and halve what is below."""
    hidden = max((len(cap.members) + 1) * (_unit(cap, ends[-1]) - 1) for cap in groups)
    low = max(0, peak - 1 - hidden)
    below = [end for end in ends if end < low]
    halves = {(below[-1] + low) // 2} if below else set()
    ends[:] = sorted({*ends, low, peak, *halves})


def _solve(
    model: Whole,
    brackets: list[list[int]],
    upper: int,
    limit_s: float,
    backtracks: int | None,
    seed: int,
) -> tuple[tuple[int, ...] | None, float, bool]:
    """Solve with peaks priced at the low end of their brackets."""
    import pytoulbar2

    solver = pytoulbar2.CFN(upper, vac=1, seed=seed + 1, verbose=-1)
    if backtracks is not None:
        solver.Option.backtrackLimit = backtracks
    start = time.monotonic()
    try:
        _post(solver.CFN.wcsp, model, brackets)
        solver.CFN.timer(1_000_000)
        signal.setitimer(signal.ITIMER_VIRTUAL, max(limit_s, 0.01))
        found = solver.Solve()
    except solver.Contradiction:
        return None, float(upper), True
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    ended = time.monotonic() - start < 0.99 * limit_s and (
        backtracks is None or solver.GetNbBacktracks() < backtracks
    )
    price = float(upper) if found is None else float(found[1])
    bound = price if ended else min(price, max(0.0, float(solver.GetDDualBound())))
    return (None if found is None else tuple(found[0][: len(model.costs)])), bound, ended


def _post(network: Network, model: Whole, brackets: list[list[int]]) -> None:
    """Say the model to toulbar2."""
    for at, own in enumerate(model.costs):
        network.makeEnumeratedVariable(f"x{at}", 0, len(own) - 1)
        network.postUnaryConstraint(at, _costs(own), False)
    for (a, b), table in model.pairs.items():
        network.postBinaryConstraint(a, b, _costs(table.reshape(-1)), False)
    for cap in model.limits:
        scope = list(cap.members)
        network.postKnapsackConstraint(scope, _knapsack(cap.members.values(), cap.room), kp=True)
    for peak, (ends, groups) in enumerate(zip(brackets, model.peaks, strict=True)):
        which = len(model.costs) + peak
        network.makeEnumeratedVariable(f"peak{peak}", 0, len(ends) - 1)
        lows = np.array([0, *(end + 1 for end in ends[:-1])])
        network.postUnaryConstraint(which, _costs(lows), False)
        rooms = ends[-1] - np.array(ends)
        for cap in groups:
            unit = _unit(cap, ends[-1])
            used = [*(own // unit for own in cap.members.values()), rooms // unit]
            text = _knapsack(used, (cap.room + ends[-1]) // unit)
            network.postKnapsackConstraint([*cap.members, which], text, kp=True)


def _costs(ticks: Ints) -> list[int]:
    return [TOP if tick == FORBIDDEN else int(tick) for tick in ticks]


def _knapsack(used: Iterable[Ints], room: int) -> str:
    """Say that uses sum to at most `room` as toulbar2 reads it: -uses to at least -room."""
    parts = [str(-room)]
    for own in used:
        some = np.flatnonzero(own)
        parts.append(str(len(some)))
        parts += [f"{value} {-int(own[value])}" for value in some]
    return " ".join(parts)
