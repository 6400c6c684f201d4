"""What a fit of a class of constants gives: values, error bars, and how well it holds.

Parts: `Readings`, `Fitted`, `fitted`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.units import Column
from planner.calibrate.points import Point, Reading
from planner.fitting.logs import Found, fit_logs

__all__ = ["Fitted", "Measured", "fitted", "four"]

SOFT = 0.08
"""Error from which a point weighs less: about what repeats differ by."""
_EVALUATIONS = 60
PRIOR = 0.01
"""What a constant e times its start counts for, as the error of a point."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A point and what it took."""

    point: Point
    reading: Reading


@dataclass(frozen=True)
class Fitted:
    """Constants of one class.

    Parameters
    ----------
    name     : of the class
    values   : by path
    errors   : share by which each is uncertain (one standard deviation)
    points   : fitted
    inside   : median absolute error of the points that were fitted
    held     : of those held back, by constants fitted without them; None where there are none
    rows     : every point: (point, measured, predicted by constants that never saw it if held)
    judged   : which points the errors are of, where not all
    far      : rows of these off by more than a factor of two: what the form does not describe
    """

    name: str
    values: Mapping[str, float]
    errors: Mapping[str, float]
    points: int
    inside: float
    held: float | None
    rows: tuple[tuple[Point, float, float], ...]
    judged: str = ""
    far: tuple[tuple[Point, float, float], ...] = ()

    @property
    def source(self) -> str:
        """What a profile says of where these figures are from."""
        told = f"; {self.held:.1%} on shapes held back" if self.held is not None else ""
        of = f", {self.judged}" if self.judged else ""
        return f"{self.name}: {self.points} points, median error {self.inside:.1%}{told}{of}"


def fitted(
    name: str,
    measured: Sequence[Measured],
    price: Callable[[Mapping[str, float], Sequence[Point]], Sequence[float]],
    start: Mapping[str, float],
    tops: Mapping[str, float],
    weight: Callable[[Point], float] = lambda point: 1.0,
    judged: str = "",
) -> Fitted:
    """Fit a class without what is held back, judge it on that, then fit it on all.

    Parameters
    ----------
    price  : seconds of points under constants
    start  : where the search starts, and what constants that no point tells stay near
    weight : of a point's error; the errors told are of points that weigh 1, named by `judged`
    """

    def solve(rows: Sequence[Measured], first: Mapping[str, float]) -> Found:
        points = [row.point for row in rows]
        seconds = np.array([row.reading.time_s for row in rows])
        weights = np.array([weight(point) for point in points])

        def residual(values: dict[str, float]) -> Column:
            errors = weights * np.log(np.array(price(values, points)) / seconds)
            far = [np.log(value / start[name]) for name, value in values.items()]
            return np.concatenate([errors, PRIOR * np.array(far)])

        return fit_logs(residual, first, tops=tops, soft=SOFT, evaluations=_EVALUATIONS)

    seen = [row for row in measured if not row.point.held]
    back = [row for row in measured if row.point.held]
    first = solve(seen, start)
    whole = solve(measured, first.values) if back else first
    predicted = {
        row.point.key: seconds
        for rows, values in ((seen, whole.values), (back, first.values))
        for row, seconds in zip(rows, price(values, [row.point for row in rows]), strict=True)
    }
    table = tuple((row.point, row.reading.time_s, predicted[row.point.key]) for row in measured)
    full = [row for row in table if weight(row[0]) >= 1.0]
    return Fitted(
        name=name,
        values={path: four(value) for path, value in whole.values.items()},
        errors=whole.deviations,
        points=len(measured),
        inside=_median_error([row for row in full if not row[0].held]) or 0.0,
        held=_median_error([row for row in full if row[0].held]),
        rows=table,
        judged=judged,
        far=tuple(row for row in full if not 0.5 <= row[2] / row[1] <= 2.0),
    )


def _median_error(rows: Sequence[tuple[Point, float, float]]) -> float | None:
    errors = [abs(predicted / seconds - 1.0) for _, seconds, predicted in rows]
    return float(np.median(errors)) if errors else None


def four(value: float) -> float:
    """Round to four digits.

    >>> four(123456.0)
    123500.0
    """
    return float(f"{value:.4g}")
