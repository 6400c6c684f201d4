"""Errors of each source under constants that were fitted to the other sources.

What an accuracy that is worth something rests on: the source judged is not in the fit. The fits
without it take errors to be linear in the constants around the fit to all runs; the errors of the
source judged are priced under the constants found. Knows a bench.

Parts: `left_out`.
"""

from collections.abc import Callable

import numpy as np

from costmodels.units import Column
from planner.fitting.bench import Bench
from planner.fitting.least_squares import Fit, refitted

__all__ = ["left_out"]


def left_out(
    bench: Bench,
    whole: Fit,
    weight: Column,
    judged: Bench,
    progress: Callable[[str], None] | None = None,
) -> Column:
    """Return log(predicted / measured) of the runs of `judged`, their source not in the fit.

    Parameters
    ----------
    bench  : the runs of the fit
    whole  : what the fit to all of them found
    weight : of each run of the bench
    judged : the runs to judge, of any source; those of a fit may be fewer
    """
    fitted = np.array([run.source for run in bench.runs])
    named = np.array([run.source for run in judged.runs])
    errors = np.zeros(len(judged.runs))
    for source in sorted(set(named.tolist())):
        keep, mine = fitted != source, named == source
        factors = whole.factors
        if not keep.all():
            factors = refitted(bench, whole, weight, keep)
        errors[mine] = judged.only(mine).log_errors(factors)
        if progress:
            progress(f"without {source}: mean {np.abs(np.expm1(errors[mine])).mean():.1%}")
    return errors
