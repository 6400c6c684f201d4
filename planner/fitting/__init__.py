"""Fit figures of profiles and stacks to measured runs, each held near what was known before.

`constants` says what may move and puts it in place, `bench` prices prepared runs under other
constants, `least_squares` finds the constants. The benchmark that makes the shipped figures and
`sixfold validate --fit` use the same three.
"""

from planner.fitting.bench import Bench, source_weights, thinned
from planner.fitting.constants import Constant, figure_at
from planner.fitting.least_squares import Fit, fit

__all__ = ["Bench", "Constant", "Fit", "figure_at", "fit", "source_weights", "thinned"]
