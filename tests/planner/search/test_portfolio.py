"""The portfolio: which solvers it asks, and that it adds up what they say."""

import numpy as np
import problems
import pytest

from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem, Sequence
from planner.search import exhaustive, portfolio
from planner.search.solution import PRECISION, Solution
from planner.search.tables import lower


def names(problem: Problem) -> list[str]:
    return [solver.NAME for solver in portfolio.ranked(problem, lower(problem))]


def decisions(count: int, options: int) -> tuple[Decision, ...]:
    rng = np.random.default_rng(0)
    return tuple(
        Decision(
            str(d),
            ("",) * options,
            problems.column(rng.random(options), {"memory": rng.random(options)}),
        )
        for d in range(count)
    )


def test_the_structure_picks_the_solvers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio.wcsp, "available", lambda: True)
    few, many = decisions(3, 4), decisions(20, 4)
    limit = Limit("l", "memory", tuple(range(20)), 9.0)
    half = Limit("h", "memory", tuple(range(10, 20)), 4.0)
    odd = Limit("o", "memory", tuple(range(0, 20, 2)), 4.0)
    slowest = Bottleneck("b", 1.0, tuple({d: np.arange(4.0)} for d in range(20)))
    order = Sequence(tuple(range(20)), 4, (np.arange(4),) * 20)
    table = problems.column(np.ones((4, 4)))
    dense = tuple(Coupling(a, b, table) for a in range(20) for b in range(a))
    assert names(Problem(few)) == ["exhaustive"]
    assert names(Problem(many, limits=(limit,))) == [
        "priced",
        "elimination",
        "wcsp",
        "cpsat",
        "local",
    ]
    assert names(Problem(many, limits=(half, odd))) == ["elimination", "wcsp", "cpsat", "local"]
    assert names(Problem(many, bottlenecks=(slowest,))) == ["elimination", "cpsat", "wcsp"]
    assert names(Problem(many, sequences=(order,)))[0] == "intervals"
    assert names(Problem(many, dense, (limit,))) == ["wcsp", "cpsat", "local"]


def test_large_problems_go_to_the_local_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio.wcsp, "available", lambda: True)
    count = portfolio.MANY + 1
    limit = Limit("l", "memory", tuple(range(count)), 0.4 * count)
    assert names(Problem(decisions(count, 4), limits=(limit,)))[0] == "local"


def test_without_toulbar_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio.wcsp, "available", lambda: False)
    limit = Limit("l", "memory", tuple(range(20)), 9.0)
    assert names(Problem(decisions(20, 4), limits=(limit,))) == ["priced", "elimination", "cpsat"]


@pytest.mark.parametrize("seed", range(24))
def test_larger_problems_agree_with_the_oracle(seed: int) -> None:
    """Problems of up to 10^5 combinations, which the portfolio does not try out."""
    problem = problems.problem(1000 + seed, most=9)
    best = exhaustive.solve(problem)
    found = portfolio.solve(problem)
    assert found.gap <= portfolio.ENOUGH or found.status == best.status == "infeasible"
    if best.picks is None:
        assert found.status == "infeasible"
        return
    price = problem.cost(best.picks)
    slack = PRECISION * sum(abs(float(t.time_s)) for t in price.terms)
    assert found.bound <= float(price.total_s) + slack
    cost = float(problem.cost(found.picks).total_s)
    assert cost <= float(price.total_s) + portfolio.ENOUGH * abs(cost) + slack


def test_the_best_picks_and_the_best_bound_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(decisions(20, 4))
    cheap, dear = sorted(((0,) * 20, (1,) * 20), key=lambda p: float(problem.cost(p).total_s))

    class One:
        NAME = "one"

        def __init__(self, picks: tuple[int, ...], bound: float) -> None:
            self.answer = Solution(picks, "feasible", bound, 1.0, "why")

        def solve(
            self, problem: Problem, *, time_limit_s: float | None = None, seed: int = 0
        ) -> Solution:
            return self.answer

    two = (One(cheap, 4.5), One(dear, 4.75))
    monkeypatch.setattr(portfolio, "ranked", lambda problem, tables: two)
    found = portfolio.solve(problem, time_limit_s=1.0)
    assert (found.picks, found.bound, found.status) == (cheap, 4.75, "feasible")
    assert found.reason == "why"


def test_what_no_option_allows_is_infeasible() -> None:
    never = Decision("d", ("a",), problems.column([np.inf]))
    assert portfolio.solve(Problem((never,) * 30)).status == "infeasible"
