"""OR-tools' CP-SAT: for many limits, many bottlenecks and counting.

One Boolean for every option, one for every pair of options with its marginals (the local
polytope), a sum for every limit, an integer above every group of a bottleneck. Costs are in ticks
(`whole`), and what CP-SAT says of its picks is checked against their price (`rounds`).

Without a time limit, work is limited by CP-SAT's deterministic time on one thread. Source: Perron
and Furnon, OR-Tools; Google, developers.google.com/optimization.
"""

import os
import time
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import InternalError
from planner.problem import Problem
from planner.search.rounds import Picks, solve_in_rounds
from planner.search.solution import Solution
from planner.search.whole import FORBIDDEN, Bits, Cap, Ints, Whole

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, IntVar, LinearExprT

__all__ = ["NAME", "WORK", "solve"]

NAME = "cpsat"
WORK = 20.0
"""Deterministic time of all solves, where no time limit is given; about as many seconds."""
BITS = Bits(cost=44, usage=36)
Options = list[list["IntVar | None"]]


def solve(problem: Problem, *, time_limit_s: float | None = None, seed: int = 0) -> Solution:
    """Solve by CP-SAT: to proof, or to the limit."""
    budget = _Budget(time_limit_s, seed)
    reason = "the limit of work was reached"
    return solve_in_rounds(problem, lambda model, _: _solve(model, budget), BITS, reason)


class _Budget:
    """What is left of the time limit, or of deterministic time."""

    def __init__(self, time_limit_s: float | None, seed: int) -> None:
        self.seed = seed
        self.timed = time_limit_s is not None
        self.left = WORK if time_limit_s is None else time_limit_s

    def run(self, model: "CpModel") -> tuple[list[int] | None, float, bool]:
        """Solve: values of all variables, a bound on the objective, whether it is proved."""
        from ortools.sat.python import cp_model

        solver = cp_model.CpSolver()
        solver.parameters.random_seed = self.seed
        solver.parameters.presolve_inclusion_work_limit = 0  # it overflows on large coefficients
        solver.parameters.num_workers = (os.cpu_count() or 1) if self.timed else 1
        if self.timed:
            solver.parameters.max_time_in_seconds = max(self.left, 0.0)
        else:
            solver.parameters.max_deterministic_time = max(self.left, 0.0)
        start = time.monotonic()
        status = solver.solve(model)
        response = solver.response_proto
        spent = time.monotonic() - start if self.timed else float(response.deterministic_time)
        self.left -= spent
        if status == cp_model.MODEL_INVALID:
            raise InternalError(f"CP-SAT refuses the model: {model.validate()}")
        if status == cp_model.INFEASIBLE:
            return None, np.inf, True
        found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
        bound = max(0.0, float(np.floor(response.best_objective_bound + 0.5)))
        return list(response.solution) if found else None, bound, status == cp_model.OPTIMAL


def _solve(model: Whole, budget: _Budget) -> tuple[Picks | None, float, bool]:
    """Solve one model: picks, a bound in ticks (inf: infeasible), whether it is proved."""
    from ortools.sat.python import cp_model

    made = cp_model.CpModel()
    options = [[made.new_bool_var("") if at >= 0 else None for at in own] for own in model.costs]
    terms: list[tuple[IntVar, int]] = []
    for own, variables in zip(model.costs, options, strict=True):
        made.add_exactly_one(v for v in variables if v is not None)
        terms += [(v, int(t)) for v, t in zip(variables, own, strict=True) if v is not None and t]
    for (a, b), table in model.pairs.items():
        terms += _pair(made, options[a], options[b], table)
    for cap in model.limits:
        made.add(_sum(options, cap) <= cap.room)
    for groups in model.peaks:
        most = sum(int(used.max()) for cap in groups for used in cap.members.values())
        peak = made.new_int_var(0, most, "")
        for cap in groups:
            made.add(_sum(options, cap) <= peak + cap.room)
        terms.append((peak, 1))
    made.minimize(cp_model.LinearExpr.weighted_sum([v for v, _ in terms], [t for _, t in terms]))
    values, bound, proved = budget.run(made)
    if values is None:
        return None, bound, proved
    picks = tuple(
        next(at for at, v in enumerate(own) if v is not None and values[v.index]) for own in options
    )
    ticks = model.ticks(picks)
    if ticks > sum(t * values[v.index] for v, t in terms):  # a peak may stand higher than need be
        raise InternalError("CP-SAT's objective is below what its picks cost in ticks")
    return picks, min(bound, float(ticks)), proved


def _sum(options: Options, cap: Cap) -> "LinearExprT":
    """Sum what the picked options use."""
    from ortools.sat.python import cp_model

    used = [
        (v, int(amount))
        for d, amounts in cap.members.items()
        for v, amount in zip(options[d], amounts, strict=True)
        if v is not None and amount
    ]
    return cp_model.LinearExpr.weighted_sum([v for v, _ in used], [u for _, u in used])


def _pair(
    made: "CpModel", rows: "list[IntVar | None]", columns: "list[IntVar | None]", table: Ints
) -> "list[tuple[IntVar, int]]":
    """Say a table: implications where it only forbids, else a Boolean for each pair."""
    for own, others, view in ((rows, columns, table), (columns, rows, table.T)):
        if np.any(table > 0):
            break
        for v, line in zip(own, view, strict=True):
            if v is not None and np.any(line == FORBIDDEN):
                good = [w for w, t in zip(others, line, strict=True) if w is not None and t >= 0]
                made.add_bool_or([*good, v.negated()])
    else:
        return []
    pairs: dict[tuple[int, int], IntVar] = {}
    for i, v in enumerate(rows):
        for j, w in enumerate(columns):
            if v is not None and w is not None and table[i, j] >= 0:
                pairs[i, j] = made.new_bool_var("")
    for own, axis in ((rows, 0), (columns, 1)):
        lines: list[list[IntVar]] = [[] for _ in own]
        for at, pair in pairs.items():
            lines[at[axis]].append(pair)
        for v, line in zip(own, lines, strict=True):
            if v is not None:
                made.add(sum(line) == v)
    return [(pair, int(table[at])) for at, pair in pairs.items() if table[at]]
