"""Solvers and searches: they know columns and costs, nothing of jobs."""

from planner.search import elimination, exhaustive, intervals, priced
from planner.search.solution import Solver

__all__ = ["SOLVERS"]

SOLVERS: dict[str, Solver] = {m.NAME: m for m in (elimination, exhaustive, intervals, priced)}
