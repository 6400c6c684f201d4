"""Least squares over the logarithms of constants that are all positive, forgiving outliers.

Minimises sum rho(r(x)^2 / s^2) over x = log(constants), with rho(z) = 2 (sqrt(1 + z) - 1) and r the
logarithms of predicted over measured: quadratic below s, linear above. Knows no constant.

Parts: `Found`, `fit_logs`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column

__all__ = ["Found", "fit_logs"]

_LEAST = -40.0
"""Logarithm below which no constant goes."""
_INSIDE = 1e-3


@dataclass(frozen=True)
class Found:
    """What a fit found.

    Parameters
    ----------
    values     : of the constants, by name
    deviations : standard deviation of each one's logarithm, as the residuals tell it; infinite
                 where they say nothing
    residuals  : at the values
    """

    values: dict[str, float]
    deviations: dict[str, float]
    residuals: Column


def fit_logs(
    residual: Callable[[dict[str, float]], Column],
    start: Mapping[str, float],
    *,
    tops: Mapping[str, float] | None = None,
    soft: float,
    evaluations: int,
    starts: int = 1,
    spread: float = 0.25,
) -> Found:
    """Return the constants that make the residuals least.

    Parameters
    ----------
    residual    : of constants by name, logarithms of predicted over measured
    start       : where the search starts, above 0
    tops        : constants' upper bounds; without any the search is free
    soft        : s, from which a residual weighs less
    evaluations : of the residual, at most, for each start
    starts      : searches, all but the first from `spread` about the start; the least mean wins
    """
    from scipy.optimize import least_squares

    names = list(start)

    def of(logs: NDArray[np.float64]) -> Column:
        return np.asarray(residual(dict(zip(names, np.exp(logs).tolist(), strict=True))))

    first = np.log([start[name] for name in names])
    bounds: dict[str, object] = {}
    if tops is not None:
        high = np.log([tops.get(name, np.inf) for name in names])
        first = np.minimum(first, high - _INSIDE)
        bounds = {"bounds": (np.full(len(high), _LEAST), high)}
    random = np.random.default_rng(0)
    best, least = None, np.inf
    for k in range(starts):
        moved = first + (random.normal(0.0, spread, len(first)) if k else 0.0)
        found = least_squares(
            of, moved, loss="soft_l1", f_scale=soft, max_nfev=evaluations, **bounds
        )
        cost = float(np.mean(np.abs(found.fun)))
        if best is None or cost < least:
            best, least = found, cost
    assert best is not None
    return Found(
        dict(zip(names, np.exp(best.x).tolist(), strict=True)),
        dict(zip(names, _deviations(best.jac, best.fun), strict=True)),
        np.asarray(best.fun),
    )


def _deviations(jacobian: NDArray[np.float64], residuals: Column) -> list[float]:
    """Return the deviations of the logarithms the curvature at the end of the search."""
    free = max(1, len(residuals) - jacobian.shape[1])
    variance = float(np.sum(residuals**2)) / free
    scale = np.linalg.norm(jacobian, axis=0)
    told = scale > 1e-9
    inverse = np.linalg.pinv(jacobian[:, told].T @ jacobian[:, told])
    made = np.full(jacobian.shape[1], np.inf)
    made[told] = np.sqrt(np.maximum(variance * np.diag(inverse), 0.0))
    return [float(value) for value in made]
