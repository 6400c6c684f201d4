"""Robust least squares with priors: the factors of constants that explain measured runs best.

Minimises, over the logarithms x of the factors,

    sum_i w_i^2 rho(e_i(x) / s)  +  sum_k (x_k / spread_k)^2,   rho(z) = 2 (sqrt(1 + z^2) - 1)

with e_i = log(predicted / measured). rho is quadratic below s and linear above, so that no outlier
rules; the prior stays quadratic. Knows a bench; no file.

Parts: `Fit`, `fit`, `refitted`.

Notes
-----
Gauss-Newton with halved steps. One Jacobian serves several steps, since the share of a step that a
constant explains hardly moves: pricing is what takes time.
Source: Nocedal and Wright, Numerical Optimization, 2006, section 10.3; the loss, "soft l1":
Charbonnier et al., ICIP 1994.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.fitting.bench import Bench

__all__ = ["Fit", "fit", "refitted"]

Progress = Callable[[str], None]

SOFT = 0.08
"""s: log error from which the loss grows linearly, about the noise of careful measurements."""
_STEP = 0.02
_CHORDS = 4
_ENOUGH = 1e-3
_LINEAR_STEPS, _DAMPED, _STILL = 100, 0.7, 1e-9


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    Parameters
    ----------
    factors    : by constant
    deviations : standard deviation of each factor's logarithm, runs and prior together
    log_errors : of the bench's runs at the factors
    jacobian   : d log_errors / d log factor, (runs, constants); by it a step's share in what each
                 constant governs
    loss       : what was minimised
    """

    factors: dict[str, float]
    deviations: dict[str, float]
    log_errors: Column
    jacobian: NDArray[np.float64]
    loss: float


@dataclass(frozen=True)
class _Task:
    """The sum to minimise: a bench, the weight of its runs, and the spreads of the constants."""

    bench: Bench
    weight: Column
    spreads: Column
    tops: Column

    def factors(self, x: Column) -> dict[str, float]:
        return {c.name: float(np.exp(v)) for c, v in zip(self.bench.constants, x, strict=True)}

    def loss(self, x: Column, errors: Column) -> float:
        z = errors / SOFT
        runs = self.weight**2 * 2.0 * (np.sqrt(1.0 + z**2) - 1.0)
        return float(runs.sum() + ((x / self.spreads) ** 2).sum())

    def jacobian(self, x: Column, here: Column) -> NDArray[np.float64]:
        """Forward differences; backward where a constant is at its top."""
        made = np.zeros((len(here), len(x)))
        for k, constant in enumerate(self.bench.constants):
            step = -_STEP if x[k] + _STEP > self.tops[k] else _STEP
            moved = x.copy()
            moved[k] += step
            there = self.bench.log_errors(self.factors(moved), constant, here)
            made[:, k] = (there - here) / step
        return made

    def bend(self, errors: Column) -> Column:
        """Half the slope of the runs' loss in their errors, over the errors."""
        return np.asarray(self.weight**2 / (SOFT**2 * np.sqrt(1.0 + (errors / SOFT) ** 2)))

    def normal(self, slopes: NDArray[np.float64], errors: Column) -> NDArray[np.float64]:
        """Return the matrix of the normal equations: curvature of runs and prior."""
        bend = self.bend(errors)
        return np.asarray(slopes.T @ (bend[:, None] * slopes) + np.diag(self.spreads**-2.0))

    def newton(self, x: Column, errors: Column, slopes: NDArray[np.float64]) -> Column:
        """Return the Gauss-Newton step."""
        gradient = slopes.T @ (self.bend(errors) * errors) + x / self.spreads**2
        return np.asarray(-np.linalg.solve(self.normal(slopes, errors), gradient))

    def downhill(
        self, x: Column, errors: Column, slopes: NDArray[np.float64]
    ) -> tuple[Column, Column] | None:
        """Take a Gauss-Newton step, halved until it helps; None where none does."""
        step = self.newton(x, errors, slopes)
        before = self.loss(x, errors)
        for halvings in range(5):
            tried = np.minimum(x + step * 0.5**halvings, self.tops)
            there = self.bench.log_errors(self.factors(tried))
            if self.loss(tried, there) < before:
                return tried, there
        return None


def fit(
    bench: Bench,
    weight: Column | None = None,
    start: Mapping[str, float] | None = None,
    slopes: NDArray[np.float64] | None = None,
    *,
    rounds: int = 2,
    progress: Progress | None = None,
) -> Fit:
    """Find the factors of a bench's constants.

    Parameters
    ----------
    weight   : of each run; None: all alike
    start    : factors to start from, by constant; None: the priors
    slopes   : a Jacobian to start with, such as that of a fit to more runs; None: made at the start
    rounds   : Jacobians made at most
    progress : told of each step
    """
    task = _task(bench, np.ones(len(bench.runs)) if weight is None else weight)
    x = np.log([1.0 if start is None else start[c.name] for c in bench.constants])
    errors = bench.log_errors(task.factors(x))
    for _ in range(rounds):
        if slopes is None:
            slopes = task.jacobian(x, errors)
        before = task.loss(x, errors)
        for _ in range(_CHORDS):
            last = task.loss(x, errors)
            found = task.downhill(x, errors, slopes)
            if found is None:
                break
            x, errors = found
            if progress:
                size = np.abs(errors).mean()
                progress(f"loss {task.loss(x, errors):.3f}, mean |log error| {size:.4f}")
            if last - task.loss(x, errors) < _ENOUGH * last:
                break
        made, slopes = slopes, None
        if before - task.loss(x, errors) < _ENOUGH * before:
            break
    return _answer(task, x, errors, made)


def _task(bench: Bench, weight: Column) -> _Task:
    constants = bench.constants
    spreads = np.array([c.spread for c in constants])
    return _Task(bench, weight, spreads, np.log([c.most for c in constants]))


def refitted(bench: Bench, whole: Fit, weight: Column, keep: NDArray[np.bool_]) -> dict[str, float]:
    """Find the factors of a fit to some of the runs, errors taken as linear around another fit.

    Parameters
    ----------
    whole  : a fit to the bench's runs
    weight : of each of them
    keep   : which to fit
    """
    task = _task(bench, np.where(keep, weight, 0.0))
    around = np.log(list(whole.factors.values()))
    x = around.copy()
    for _ in range(_LINEAR_STEPS):
        errors = whole.log_errors + whole.jacobian @ (x - around)
        step = task.newton(x, errors, whole.jacobian)
        x = np.minimum(x + _DAMPED * step, task.tops)
        if np.abs(step).max() < _STILL:
            break
    return task.factors(x)


def _answer(task: _Task, x: Column, errors: Column, slopes: NDArray[np.float64]) -> Fit:
    spread = np.sqrt(np.diag(np.linalg.inv(task.normal(slopes, errors))))
    names = [c.name for c in task.bench.constants]
    deviations = dict(zip(names, spread.tolist(), strict=True))
    return Fit(task.factors(x), deviations, errors, slopes, task.loss(x, errors))
