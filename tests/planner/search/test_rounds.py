"""Rounds with a solver of whole numbers that is made up: what it says is checked."""

from itertools import product

import numpy as np
import problems
import pytest

from planner.errors import InternalError
from planner.problem import Decision, Limit, Problem
from planner.search.rounds import Picks, solve_in_rounds
from planner.search.whole import FORBIDDEN, Bits, Whole


def honest(model: Whole, most: float) -> tuple[Picks | None, float, bool]:
    """Try every combination of a model."""
    best: Picks | None = None
    least = np.inf
    for picks in product(*(range(len(own)) for own in model.costs)):
        bad = any(own[p] == FORBIDDEN for own, p in zip(model.costs, picks, strict=True))
        bad |= any(table[picks[a], picks[b]] == FORBIDDEN for (a, b), table in model.pairs.items())
        if not bad and all(cap.used(picks) <= cap.room for cap in model.limits):
            ticks = model.ticks(picks)
            if ticks < least:
                best, least = picks, ticks
    return best, float(least), True


def test_coarse_ticks_become_a_proof_in_rounds() -> None:
    """Twelve bits hide a thousandth of the range; the options that matter lie closer."""
    one = Decision("d", tuple("abcd"), problems.column([1.0, 1.0 + 1e-5, 1.0 + 2e-5, 900.0]))
    problem = Problem((one,) * 3)
    found = solve_in_rounds(problem, honest, Bits(cost=12, usage=12), "why")
    assert (found.picks, found.status) == ((0, 0, 0), "optimal")


def test_picks_that_a_rounded_limit_let_through_are_replaced() -> None:
    used = [0.0, 0.5004]
    one = Decision("d", ("a", "b"), problems.column([1.0, 0.0], {"memory": used}))
    problem = Problem((one, one), limits=(Limit("l", "memory", (0, 1), 1.0),))
    found = solve_in_rounds(problem, honest, Bits(cost=20, usage=5), "why")
    assert found.picks is not None
    assert problem.allows(found.picks)
    assert (found.bound, found.status, found.reason) == (0.0, "feasible", "up to rounding")


def test_a_wrong_price_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Decision("d", ("a", "b"), problems.column([1.0, 2.0]))
    monkeypatch.setattr(Whole, "ticks", lambda model, picks: 7)
    with pytest.raises(InternalError, match="for picks that cost"):
        solve_in_rounds(Problem((one,)), lambda m, most: ((0,), 0.0, True), Bits(20, 20), "why")


def test_what_was_not_proved_is_not_said() -> None:
    one = Decision("d", ("a", "b"), problems.column([1.0, 2.0]))
    found = solve_in_rounds(
        Problem((one,)), lambda m, most: (None, 0.0, False), Bits(20, 20), "time"
    )
    assert (found.picks, found.status, found.bound, found.reason) == (None, "unknown", 1.0, "time")
