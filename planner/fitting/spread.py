"""How far predictions miss, and by how much more where runs are unlike those of the fit.

The errors of left-out sources give a scale of |log error| that depends on what a run has in
common with the rest (`features`), and then the quantiles of the errors in that scale. Sources weigh
alike: whole sources sit high or low together, so a source of a thousand runs is not a thousand
observations. Knows errors and features; nothing of plans.

Parts: `scales`, `weighted_quantile`.
"""

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column

__all__ = ["scales", "weighted_quantile"]

_ROUNDS = 50


def weighted_quantile(values: Column, weight: Column, level: float) -> float:
    """Return the least value at or below which lies a share `level` of the weight.

    Raises
    ------
    ValueError : there are no values
    """
    if not len(values):
        raise ValueError("a quantile of nothing")
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(share, level - 1e-12)), len(values) - 1)])


def scales(
    features: NDArray[np.float64],
    errors: Column,
    weight: Column,
    priors: Column,
    spreads: Column,
    least: Column,
) -> Column:
    """Find the coefficients t of the scale exp(features @ t) of log errors.

        min  sum_i w_i (|e_i| / s_i + log s_i) + 1/2 sum_k ((t_k - prior_k) / spread_k)^2,
        t_k >= least_k

    The likelihood of two-sided exponential errors, convex in t: an outlier counts by its size, not
    by its square.

    Parameters
    ----------
    features : (errors, coefficients)
    weight   : of each error; the sum is the number of observations that they are worth
    least    : no coefficient is below: what is unlike never makes an interval narrower
    """
    t = np.maximum(priors, least)
    for _ in range(_ROUNDS):
        ratio = weight * np.abs(errors) * np.exp(-features @ t)
        slope = features.T @ (weight - ratio) + (t - priors) / spreads**2
        bend = features.T @ (ratio[:, None] * features) + np.diag(spreads**-2.0)
        free = (t > least) | (slope < 0.0)
        step = np.zeros(len(t))
        step[free] = -np.linalg.solve(bend[np.ix_(free, free)], slope[free])
        step *= min(1.0, 1.0 / max(np.abs(features @ step).max(), 1e-9))
        moved = np.maximum(t + step, least)
        if np.abs(moved - t).max() < 1e-9:
            return moved
        t = moved
    return t
