"""The speed-up of a distributed design, predicted from three constants before anything is built.

One step of work that takes C seconds on one machine, split over p machines that join their
results by a ring all-reduce of the model:

    T(p) = C / p + alpha (p - 1) + 2 B (p - 1) / p

C is `compute_s`, alpha is `alpha_s` (one hop), B is `transfer_s` (the time to move the model
once). Everything here is about this formula: its value, its best p, where communication overtakes
compute, and its constants from measured steps. Refuses to know what the work is or what a machine
is; the planner's own step price has hierarchy, overlap and memory, this has none.

Parts: `comm_s`, `step_s`, `speedup`, `comm_to_compute`, `best_count`, `dominated_from`, `fit`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Num

__all__ = [
    "SpeedupFit",
    "best_count",
    "comm_s",
    "comm_to_compute",
    "dominated_from",
    "fit",
    "speedup",
    "step_s",
]

_CONSTANTS = ("compute_s", "alpha_s", "transfer_s")
# Which constants explain the measurements, tried in this order; an earlier one wins a tie.
_SUPPORTS = ((0,), (0, 2), (0, 1), (0, 1, 2))
_WITHOUT_COMPUTE = ((1,), (2,), (1, 2))
_TIE = 1e-20  # of squared relative error: below it two sets of constants explain equally well
_SIGN = 1e-12  # of the largest constant: below it a negative one is rounding
_LEAST_SHARE = 1e-9  # of a step: less compute than this in every measurement is none
_NO_COMPUTE = "these times do not fall with the count as compute_s / count does"
_COUNTABLE = 2.0**50  # more machines than this is any number of them


def comm_s(count: Num, alpha_s: Num, transfer_s: Num) -> Num:
    """Time of one ring all-reduce of the model among `count` machines.

        alpha (p - 1) + 2 B (p - 1) / p

    Parameters
    ----------
    count      : p >= 1 machines; one machine sends nothing
    alpha_s    : seconds per hop
    transfer_s : B, seconds to move the model once over one link

    Notes
    -----
    Source: the design template's speed-up predictor; the bandwidth term is the ring's of Thakur,
    Rabenseifner, Gropp, IJHPCA 19(1), 2005, and the latency term counts one pass of p - 1 hops.

    >>> round(comm_s(4.0, 0.0008, 0.04), 4)
    0.0624
    """
    return alpha_s * (count - 1) + 2.0 * transfer_s * (count - 1) / count


def step_s(count: Num, compute_s: Num, alpha_s: Num, transfer_s: Num) -> Num:
    """Time of a step on `count` machines: C / p + `comm_s`; no overlap of the two.

    >>> round(step_s(32.0, 1.0, 0.0008, 0.04), 4)
    0.1336
    """
    return compute_s / count + comm_s(count, alpha_s, transfer_s)


def speedup(count: Num, compute_s: Num, alpha_s: Num, transfer_s: Num) -> Num:
    """Time on one machine over time on `count` machines, C / T(p).

    >>> round(speedup(8.0, 1.0, 0.0008, 0.04), 2)
    4.99
    """
    return compute_s / step_s(count, compute_s, alpha_s, transfer_s)


def comm_to_compute(count: Num, compute_s: Num, alpha_s: Num, transfer_s: Num) -> Num:
    """Seconds of communication per second of compute on each machine, comm / (C / p).

    >>> round(comm_to_compute(64.0, 1.0, 0.0008, 0.04), 3)
    8.266
    """
    return comm_s(count, alpha_s, transfer_s) / (compute_s / count)


def best_count(compute_s: Num, alpha_s: Num, transfer_s: Num, limit: Num = np.inf) -> Num:
    """Whole number of machines with the shortest step; the smallest of equals.

    With K = C - 2 B the step is K / p + alpha p + a constant, so one more machine helps while
    p (p + 1) < K / alpha:

        p* = ceil((sqrt(1 + 4 K / alpha) - 1) / 2), next to sqrt(K / alpha)

    Parameters
    ----------
    compute_s, alpha_s, transfer_s : C, alpha, B, all >= 0
    limit : the most machines there are, >= 1; infinite means any number

    Notes
    -----
    K <= 0: one machine is best, sharing costs more than it saves. K > 0 and alpha = 0: more is
    always better, so the answer is `limit`. The closed form is compared with its neighbours by
    `step_s` itself, so the rounding of floats cannot make it differ from a scan. An optimum above
    10**15 machines counts as no bound.
    """
    gain_s = compute_s - 2.0 * transfer_s
    unbounded = gain_s > alpha_s * _COUNTABLE**2
    ratio = np.maximum(gain_s, 0.0) / np.where(unbounded | (alpha_s <= 0.0), 1.0, alpha_s)
    root = np.ceil((np.sqrt(1.0 + 4.0 * ratio) - 1.0) / 2.0)
    root = np.where(unbounded, np.inf, np.maximum(root, 1.0))
    middle = np.minimum(root, limit)
    bounded = np.isfinite(middle)
    best = np.where(bounded, np.maximum(middle - 1.0, 1.0), 1.0)
    for offset in (0.0, 1.0):
        other = np.where(bounded, np.minimum(middle + offset, limit), 1.0)
        shorter = step_s(other, compute_s, alpha_s, transfer_s) < step_s(
            best, compute_s, alpha_s, transfer_s
        )
        best = np.where(shorter, other, best)
    return _number(np.where(bounded, best, middle))


def dominated_from(compute_s: Num, alpha_s: Num, transfer_s: Num) -> Num:
    """Smallest whole number of machines at which communication takes as long as compute.

    With q = p - 1, alpha q (q + 1) + 2 B q = C has the root

        q = 2 C / (b + sqrt(b^2 + 4 alpha C)),  b = alpha + 2 B

    Infinite where communication is free. Compared with its neighbours by `comm_to_compute` >= 1.
    """
    b = alpha_s + 2.0 * transfer_s
    below = b + np.sqrt(b * b + 4.0 * alpha_s * compute_s)
    bounded = below * _COUNTABLE > compute_s
    root = np.where(bounded, 2.0 * compute_s / np.where(bounded, below, 1.0), 1.0)
    middle = np.maximum(np.ceil(1.0 + root), 2.0)
    found = middle + 1.0
    for count in (middle, np.maximum(middle - 1.0, 2.0)):
        comm, compute = comm_s(count, alpha_s, transfer_s), compute_s / count
        found = np.where(comm >= compute, count, found)
    return _number(np.where(bounded, found, np.inf))


def _number(value: Num) -> Num:
    """Return a column as it is, and a zero-dimensional array as a float."""
    return float(value) if np.ndim(value) == 0 else value


@dataclass(frozen=True, slots=True)
class SpeedupFit:
    """Constants of the predictor from measured steps, and how far they are known.

    Parameters
    ----------
    compute_s, alpha_s, transfer_s : C, alpha, B; zero where `identified` does not name it
    identified  : the constants that the measurements determine
    error_frac  : largest |predicted / measured - 1| over the measurements
    alternative : (C, alpha, B) of another reading that reproduces the same times, with the other
                  communication constant; None where there is none
    """

    compute_s: float
    alpha_s: float
    transfer_s: float
    identified: tuple[str, ...]
    error_frac: float
    alternative: tuple[float, float, float] | None


def fit(counts: Sequence[float], seconds: Sequence[float]) -> SpeedupFit:
    """Fit C, alpha and B >= 0 to measured steps by least squares on the relative error.

    Parameters
    ----------
    counts  : machines of each measurement, whole numbers >= 1, at least two different ones
    seconds : the step's time at each, > 0

    Returns
    -------
    The fit. Three different counts identify all three constants (one that comes out at zero was
    pushed there by the sign). Two counts identify two: C, and B with alpha taken as zero, because
    a model's all-reduce is bandwidth-bound at small counts; or alpha with B taken as zero where
    only that reproduces both times. p* then has a lower bound only, that of `alternative`.

    Raises
    ------
    ValueError : fewer than two different counts, a count below 1, a time that is not positive, or
        times that leave no compute term (they do not fall as C / p at all)

    Notes
    -----
    The optimum of a non-negative least squares problem is the plain least squares solution on the
    constants that are not zero, so the seven sets of constants are solved and the best kept.
    Source: Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
    """
    p, t = np.asarray(counts, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    _check(p, t)
    rows = np.stack([1.0 / p, p - 1.0, 2.0 * (p - 1.0) / p], axis=1) / t[:, None]
    different = len(np.unique(p))
    tie = _TIE * len(t)
    solved = [(s, *_solve(rows, s)) for s in _SUPPORTS if len(s) <= different]
    best = min(error for _, error, _ in solved)
    if min(_solve(rows, s)[0] for s in _WITHOUT_COMPUTE) < best - tie:
        raise ValueError(_NO_COMPUTE)
    used, _, constants = next(entry for entry in solved if entry[1] <= best + tie)
    if np.max(rows[:, 0]) * constants[0] < _LEAST_SHARE:
        raise ValueError(_NO_COMPUTE)
    known = range(3) if different > 2 else used if len(used) == 2 else (0, 2)
    other = next((c for s, error, c in solved if s == (0, 1) and error <= best + tie), None)
    return SpeedupFit(
        *constants,
        identified=tuple(_CONSTANTS[i] for i in known),
        error_frac=float(np.max(np.abs(rows @ constants - 1.0))),
        alternative=other if different == 2 and used == (0, 2) else None,
    )


def _check(p: NDArray[np.float64], t: NDArray[np.float64]) -> None:
    if p.ndim != 1 or p.shape != t.shape or len(np.unique(p)) < 2:
        raise ValueError("a fit needs the times of at least two different counts")
    if not (np.all(np.isfinite(p)) and np.all(p >= 1.0) and np.all(p == np.floor(p))):
        raise ValueError("a count is a whole number of machines, 1 or more")
    if not (np.all(np.isfinite(t)) and np.all(t > 0.0)):
        raise ValueError("a measured time is a positive number of seconds")


def _solve(
    rows: NDArray[np.float64], support: Sequence[int]
) -> tuple[float, tuple[float, float, float]]:
    """Return the squared relative error and the constants of one set; infinite if negative."""
    part = rows[:, list(support)]
    scale = np.max(np.abs(part), axis=0)
    constants = np.zeros(3)
    if np.any(scale <= 0.0):
        return np.inf, (0.0, 0.0, 0.0)
    values = np.linalg.lstsq(part / scale, np.ones(len(rows)), rcond=None)[0] / scale
    constants[list(support)] = np.maximum(values, 0.0)
    if np.any(values < -_SIGN * np.max(np.abs(values))):
        return np.inf, (0.0, 0.0, 0.0)
    compute_s, alpha_s, transfer_s = (float(value) for value in constants)
    return float(np.sum((rows @ constants - 1.0) ** 2)), (compute_s, alpha_s, transfer_s)
