"""The plain speed-up predictor as data for a table: points, best count, where communication wins.

Takes the three constants as numbers, or fits them to measured steps; what the user gave wrong is a
`SpecError`. Refuses to know files, jobs and how the table is printed. The formula is
`costmodels.speedup`'s. Keys are those of `scaling` in plan.json.

Parts: `speedup_table`, `fitted_table`, `parse_measured`.
"""

import math
from collections.abc import Sequence
from typing import TypedDict

from costmodels import speedup as model
from planner.errors import SpecError

__all__ = ["Point", "SpeedupTable", "fitted_table", "parse_measured", "speedup_table"]

DEFAULT_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_MOST_DEVICES = 10_000_000
_LEAST_S, _MOST_S = 1e-30, 1e30


class Point(TypedDict):
    """One row: a count and what the predictor says of it."""

    devices: int
    compute_s: float
    comm_s: float
    step_time_s: float
    speedup: float
    efficiency: float
    comm_to_compute: float


class SpeedupTable(TypedDict):
    """The predictor's answer.

    `p_star` is None where more devices always help (no latency), `comm_dominated_at` where
    communication is free; the entry of each is None with it. A fit says which constants it
    `identified`, its largest relative error, and, from two counts, the smallest p* that the
    times allow. `measured` are the rows that the fit was made from.
    """

    compute_s: float
    alpha_s: float
    transfer_s: float
    points: list[Point]
    p_star: int | None
    at_p_star: Point | None
    comm_dominated_at: int | None
    at_comm_dominated: Point | None
    identified: list[str]
    fit_error: float | None
    p_star_at_least: int | None
    measured: list[list[float]]


def _point(count: int, compute_s: float, alpha_s: float, transfer_s: float) -> Point:
    constants = (compute_s, alpha_s, transfer_s)
    speedup = float(model.speedup(count, *constants))
    return {
        "devices": count,
        "compute_s": compute_s / count,
        "comm_s": float(model.comm_s(count, alpha_s, transfer_s)),
        "step_time_s": float(model.step_s(count, *constants)),
        "speedup": speedup,
        "efficiency": speedup / count,
        "comm_to_compute": float(model.comm_to_compute(count, *constants)),
    }


def _whole(count: float) -> int | None:
    return int(count) if math.isfinite(count) else None


def _check_counts(counts: Sequence[int], key: str) -> None:
    for count in counts:
        if not 1 <= count <= _MOST_DEVICES:
            raise SpecError(f"a count is from 1 to {_MOST_DEVICES:,}, not {count:.6g}", key=key)


def speedup_table(
    compute_s: float, alpha_s: float, transfer_s: float, at: Sequence[int] = ()
) -> SpeedupTable:
    """Predict the scaling of a design from its three constants.

    Parameters
    ----------
    compute_s  : C, seconds of a step on one device, > 0
    alpha_s    : seconds per hop of the all-reduce, >= 0
    transfer_s : seconds to move the model once, >= 0
    at         : the counts to tabulate, in this order; empty: powers of two up to 1,024

    Raises
    ------
    SpecError : a constant or a count that is not a number of its range

    Notes
    -----
    C / p + alpha (p - 1) + 2 B (p - 1) / p; see `costmodels.speedup`.
    """
    for key, value, least in (
        ("compute-s", compute_s, _LEAST_S),
        ("alpha-s", alpha_s, 0.0),
        ("transfer-s", transfer_s, 0.0),
    ):
        if not least <= value <= _MOST_S:
            allowed = "above 0" if least else "0 or more"
            raise SpecError(f"{value!r} is not a number of seconds {allowed}", key=f"--{key}")
    _check_counts(at, "--at")
    constants = (float(compute_s), float(alpha_s), float(transfer_s))
    p_star = _whole(float(model.best_count(*constants)))
    dominated = _whole(float(model.dominated_from(*constants)))
    return {
        "compute_s": constants[0],
        "alpha_s": constants[1],
        "transfer_s": constants[2],
        "points": [_point(count, *constants) for count in at or DEFAULT_COUNTS],
        "p_star": p_star,
        "at_p_star": None if p_star is None else _point(p_star, *constants),
        "comm_dominated_at": dominated,
        "at_comm_dominated": None if dominated is None else _point(dominated, *constants),
        "identified": [],
        "fit_error": None,
        "p_star_at_least": p_star,
        "measured": [],
    }


def fitted_table(measured: Sequence[tuple[int, float]], at: Sequence[int] = ()) -> SpeedupTable:
    """Predict the scaling of a design from steps measured at two or more counts.

    Parameters
    ----------
    measured : (devices, seconds) of each measured step
    at       : the counts to tabulate; empty: powers of two up to 1,024

    Raises
    ------
    SpecError : fewer than two different counts, or times that the predictor cannot explain

    Notes
    -----
    Two counts leave one communication constant open; `identified` says which two were fitted and
    `p_star_at_least` is p* when all communication is latency, the reading with the smallest p*.
    """
    _check_counts([count for count, _ in measured], "--measured")
    try:
        fit = model.fit([count for count, _ in measured], [seconds for _, seconds in measured])
    except ValueError as error:
        raise SpecError(str(error), key="--measured") from None
    table = speedup_table(fit.compute_s, fit.alpha_s, fit.transfer_s, at)
    table["identified"] = list(fit.identified)
    table["fit_error"] = fit.error_frac
    table["measured"] = [[float(count), float(seconds)] for count, seconds in measured]
    if fit.alternative is not None:
        table["p_star_at_least"] = _whole(float(model.best_count(*fit.alternative)))
    return table


def parse_measured(text: str) -> tuple[int, float]:
    """Read ``P:SECONDS`` of the command line, ``8:0.2006``.

    Raises
    ------
    SpecError : not a whole number, a colon and a number

    >>> parse_measured("8:0.2006")
    (8, 0.2006)
    """
    count, _, seconds = text.partition(":")
    try:
        if len(text) > 60:
            raise ValueError
        return int(count), float(seconds)
    except ValueError:
        text = text if len(text) <= 60 else f"{text[:57]}..."
        message = f"{text!r} is not DEVICES:SECONDS, for example 8:0.2006"
        raise SpecError(message, key="--measured") from None
