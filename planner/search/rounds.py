"""How solvers of whole numbers answer a problem of floats: in rounds, and truly.

The first round counts in ticks of the whole range of costs, the next ones in ticks of what the
best picks leave open, until what rounding hides proves as much as floats can. Limits are rounded
so that the bound is true; where picks then break a limit by a rounding, more rounds with limits
rounded the other way find picks that hold. The ticks of the picks are checked against
`Problem.cost` every time. Knows `Whole` and a function that solves one; no solver.
"""

from collections.abc import Callable

import numpy as np

from planner.errors import InternalError
from planner.problem import Problem
from planner.search.solution import PRECISION, Solution, answer
from planner.search.tables import Tables, lower
from planner.search.whole import Bits, Whole, plain, whole

__all__ = ["Picks", "Run", "solve_in_rounds"]

ROUNDS = 4
Picks = tuple[int, ...]
Run = Callable[[Whole, float], tuple[Picks | None, float, bool]]
"""Solve a model whose picks should cost so many ticks at most: the picks, a bound in ticks (inf:
nothing is allowed below that) and whether the search ended by itself."""


def solve_in_rounds(problem: Problem, run: Run, bits: Bits, reason: str) -> Solution:
    """Solve a problem with a solver of whole numbers.

    Parameters
    ----------
    bits   : how large the solver's numbers may get
    reason : what ended the search where it did not end by itself

    Raises
    ------
    InternalError : the solver's cost of its picks is not the problem's
    """
    tables = plain(lower(problem))
    if tables is None:
        return answer(problem, None, np.inf)
    best, bound, broken = _rounds(problem, tables, run, bits, loose=True)
    if broken:
        again, _, _ = _rounds(problem, tables, run, bits, loose=False)
        found = [picks for picks in (best, again) if picks is not None]
        best = min(found, key=lambda picks: float(problem.cost(picks).total_s), default=None)
    return answer(problem, best, bound, "up to rounding" if broken else reason)


def _rounds(
    problem: Problem, tables: Tables, run: Run, bits: Bits, *, loose: bool
) -> tuple[Picks | None, float, bool]:
    """Return the best picks that break no limit, a bound, and whether some broke one."""
    best: Picks | None = None
    bound, upper = tables.base, np.inf
    for _ in range(ROUNDS):
        model = whole(tables, upper, loose, bits)
        if model is None:
            return best, upper, False
        most = np.inf if best is None else model.ticks(best) + model.error / model.tick
        picks, ticks, ended = run(model, most)
        bound = max(bound, min(upper, model.base + model.tick * ticks - model.error))
        if picks is not None:
            _check(problem, model, picks)
            if problem.broken(picks):
                return best, bound, True
            cost = float(problem.cost(picks).total_s)
            if best is None or cost < upper:
                best, upper = picks, cost
        if best is None or not ended:
            break
        scale = sum(abs(float(term.time_s)) for term in problem.cost(best).terms)
        if model.error <= 0.5 * PRECISION * scale or bound >= upper:
            break
    return best, bound, False


def _check(problem: Problem, model: Whole, picks: Picks) -> None:
    """Check the ticks of picks against their price, to half a tick for each rounded cost."""
    price = problem.cost(picks)
    cost, scale = float(price.total_s), sum(abs(float(t.time_s)) for t in price.terms)
    claimed = model.base + model.tick * model.ticks(picks)
    if abs(cost - claimed) > model.error + PRECISION * (scale + abs(model.base)):
        raise InternalError(f"a solver claims {claimed} s for picks that cost {cost} s")
