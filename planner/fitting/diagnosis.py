"""Why measured runs differ from their prediction: which term, and which figure, explains it.

For every kind of term: the factor on it that would explain the errors best. For every figure of the
machines and stacks that may be adjusted: the same, how sure that is, and the error left after.
Each is tried alone, so two figures that act alike explain the same error. Changes no figure.

Parts: `explained` (all of it), `Finding`, `by_figure`, `by_term`, `said`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.fitting import Bench, Constant
from planner.fitting.adjustable import adjustable
from planner.validate.prepared import Price, Priced

__all__ = ["LEAST", "Finding", "by_figure", "by_term", "explained", "said"]

Progress = Callable[[str, int, int], None]

LEAST = 4
"""Timed runs below which nothing is explained."""
MOST = 120
"""Runs that are looked at, at most."""
_STEP = 0.02
_FELT = 0.005
"""Share of a step below which a figure is not felt by a run."""
_SURE = 1.645
"""Standard deviations to either side of 90%."""
_FAR = 2.5
"""Deviations of what was known before that a figure may be off, at most."""
_FACTORS = np.exp(np.linspace(-np.log(4.0), np.log(4.0), 81))


def explained(
    priced: Sequence[tuple[Priced, Price]], progress: Progress | None = None
) -> dict[str, object]:
    """Return what explains the errors of timed runs, as plain data.

    `said`: sentences; `terms`: see `by_term`; `figures`: of `Finding`, the best first; `runs`: how
    many were looked at, at most `MOST` where there are more, evenly spaced.
    """
    timed = [pair for pair in priced if pair[0].measured_s]
    if len(timed) < LEAST:
        told = f"{len(timed)} timed runs: {LEAST} are needed to say what explains an error."
        return {"runs": len(timed), "said": [told], "terms": [], "figures": []}
    every = -(-len(timed) // MOST)
    timed = timed[::every]
    runs = [run for run, _ in timed]
    errors = np.array([np.log(made.step_s / (run.measured_s or 1.0)) for run, made in timed])
    figures = by_figure(runs, progress)
    terms = by_term([made.kinds_s for _, made in timed], errors)
    return {
        "runs": len(timed),
        "said": [*said(errors, figures, terms), *_wholes(runs, errors)],
        "terms": terms,
        "figures": [asdict(one) for one in figures],
    }


def _wholes(runs: Sequence[Priced], errors: Column) -> list[str]:
    """Name the sources of which all runs are off alike: by the source, not by a term."""
    told = []
    for source in dict.fromkeys(run.source for run in runs):
        mine = errors[[run.source == source for run in runs]]
        middle = float(np.median(mine))
        if len(mine) >= LEAST and abs(middle) > 0.03 and mine.std() < 0.4 * abs(middle):
            way = "slow" if middle > 0 else "fast"
            told.append(
                f"All runs of {source} are predicted too {way} alike, by"
                f" {abs(np.expm1(middle)):.1%}: look for what they share (clocks, software, how"
                " time was taken)."
            )
    return told


@dataclass(frozen=True)
class Finding:
    """What one figure would explain, all else as it is.

    Parameters
    ----------
    figure, file : where it stands; a machine's file or `families/<name>`
    meaning      : what it is, in words
    factor       : on it, that explains the errors best; `low`, `high`: of 90%
    runs         : that feel it
    error        : mean absolute error left, over all runs
    """

    figure: str
    file: str
    meaning: str
    value: float
    factor: float
    low: float
    high: float
    runs: int
    error: float


def by_figure(runs: Sequence[Priced], progress: Progress | None = None) -> list[Finding]:
    """Return what each adjustable figure would explain, the best first.

    Notes
    -----
    The slope of each run's log time in the figure's logarithm, from one change of 2%; then the
    factor that minimises the mean absolute log error along it, no further than is plausible: 2.5
    standard deviations of what was known of the figure before.
    Its range of 90%: 1.645 sigma / sqrt(sum slope^2), sigma from the median of what is left.
    """
    figures = adjustable(runs)
    bench = Bench(runs, [constant for constant, _ in figures.values()])
    same = dict.fromkeys(figures, 1.0)
    here = bench.log_errors(same)
    found = []
    for number, (name, (constant, meaning)) in enumerate(figures.items()):
        if progress:
            progress("explaining", number, len(figures))
        step = -_STEP if constant.most < np.exp(_STEP) else _STEP
        there = bench.log_errors({**same, name: float(np.exp(step))}, constant, here)
        slope = (there - here) / step
        felt = np.abs(slope) > _FELT
        if felt.sum() >= LEAST:
            found.append(_explained(constant, meaning, here, slope, felt))
    return sorted(found, key=lambda one: (one.error, one.file, one.figure))


def _explained(
    constant: Constant, meaning: str, errors: Column, slope: Column, felt: NDArray[np.bool_]
) -> Finding:
    """Find the factor on one figure that leaves the least error."""
    most = _FAR * constant.spread
    tried = np.minimum(np.linspace(-most, most, 101), np.log(constant.most))
    left = np.abs(errors[:, None] + slope[:, None] * tried).mean(axis=0)
    best = float(tried[int(np.argmin(left))])
    rest = errors + slope * best
    sigma = max(1.4826 * float(np.median(np.abs(rest[felt]))), 0.01)
    wide = _SURE * sigma / float(np.sqrt((slope[felt] ** 2).sum()))
    return Finding(
        figure=constant.paths[0],
        file=constant.files[0],
        meaning=meaning,
        value=constant.priors[0],
        factor=float(np.exp(best)),
        low=float(np.exp(best - wide)),
        high=float(np.exp(best + wide)),
        runs=int(felt.sum()),
        error=float(np.abs(np.expm1(rest)).mean()),
    )


def by_term(kinds_s: Sequence[Mapping[str, float]], errors: Column) -> list[dict[str, object]]:
    """Return, for every kind of term, its share of a step and what a factor on it would explain.

    Parameters
    ----------
    kinds_s : exposed seconds of each run by kind
    errors  : log(predicted / measured) of each run

    Notes
    -----
    `correlation` is of the error with the term's share, None where one of them does not vary.
    """
    totals = np.array([sum(kinds.values()) for kinds in kinds_s])
    made: list[dict[str, object]] = []
    for kind in sorted({kind for kinds in kinds_s for kind in kinds}):
        share = np.array([kinds.get(kind, 0.0) for kinds in kinds_s]) / totals
        if share.max() < _FELT:
            continue
        left = errors[:, None] + np.log1p(share[:, None] * (_FACTORS - 1.0))
        best = int(np.argmin(np.abs(left).mean(axis=0)))
        varies = min(share.std(), errors.std()) > 1e-9
        made.append({
            "kind": kind,
            "share": float(share.mean()),
            "correlation": float(np.corrcoef(share, errors)[0, 1]) if varies else None,
            "factor": float(_FACTORS[best]),
            "error": float(np.abs(np.expm1(left[:, best])).mean()),
        })  # fmt: skip
    return sorted(made, key=lambda one: float(str(one["error"])))


_WORDS = {
    "compute": "arithmetic", "hbm": "memory traffic", "bubble": "the pipeline's bubble",
    "tp": "tensor-parallel communication", "cp": "context-parallel communication",
    "ep": "expert-parallel communication", "dp": "gradient and parameter communication",
    "pp": "sends between stages", "host": "launches and traffic to the host",
    "other": "stragglers and fixed times",
}  # fmt: skip


def said(
    errors: Column, figures: Sequence[Finding], terms: Sequence[Mapping[str, object]]
) -> list[str]:
    """Say in plain sentences how far the runs are off and what explains it."""
    size, bias = float(np.abs(np.expm1(errors)).mean()), float(np.expm1(errors).mean())
    way = "too slow" if bias > 0 else "too fast"
    told = [f"{len(errors)} timed runs are {size:.1%} off on average, {abs(bias):.1%} {way}."]
    if figures:
        best = figures[0]
        if best.error < 0.8 * size and not best.low < 1.0 < best.high:
            told.append(
                f"The figure that explains most is {best.figure} of {best.file}, the"
                f" {best.meaning}: times {best.factor:.2f} ({best.low:.2f} to {best.high:.2f}),"
                f" the error falls from {size:.1%} to {best.error:.1%}."
            )
            told += _rivals(figures, size)
        else:
            told.append(
                f"No single figure explains the errors: the best, {best.figure} of {best.file},"
                f" leaves {best.error:.1%} of {size:.1%}."
            )
    strong = [t for t in terms if t["correlation"] is not None
              and abs(float(str(t["correlation"]))) > 0.6]  # fmt: skip
    if strong and len(errors) >= 2 * LEAST:
        term = strong[0]
        grows = "too slow" if float(str(term["correlation"])) > 0 else "too fast"
        word = _WORDS.get(str(term["kind"]), str(term["kind"]))
        told.append(f"Runs with more of {word} are predicted {grows}.")
    return told


def _rivals(figures: Sequence[Finding], size: float) -> list[str]:
    """Name the figures that explain nearly as much: the runs cannot tell them apart."""
    best = figures[0].error
    near = [f"{one.figure} of {one.file}" for one in figures[1:4] if one.error < best + 0.1 * size]
    if not near:
        return []
    return [f"These runs hardly tell it from {' and '.join(near)}."]
