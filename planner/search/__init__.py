"""Solvers and searches: they know columns and costs, nothing of jobs."""

from planner.search import (
    cpsat,
    elimination,
    exhaustive,
    intervals,
    local,
    portfolio,
    priced,
    wcsp,
)
from planner.search.solution import Solver

__all__ = ["SOLVERS"]

SOLVERS: dict[str, Solver] = {
    m.NAME: m for m in (cpsat, elimination, exhaustive, intervals, local, portfolio, priced, wcsp)
}
