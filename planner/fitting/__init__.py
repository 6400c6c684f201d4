"""Fit figures of profiles and stacks to measured runs, each held near what was known before.

`constants` says what may move and puts it in place, `bench` prices prepared runs under other
constants, `least_squares` finds the constants, `left_out` what they miss of sources that they never
saw, `spread` how far apart errors lie. `adjustable` lists what a user's runs may put right,
`adjusted` writes the profile that they make, `diagnosis` names the term and the figure that
explain a difference. The benchmark that makes the shipped figures and `sixfold validate --fit` use
the same.
"""

from planner.fitting.bench import Bench, per_source, source_weights, thinned
from planner.fitting.constants import Constant, figure_at
from planner.fitting.least_squares import Fit, fit
from planner.fitting.left_out import left_out

__all__ = [
    "Bench",
    "Constant",
    "Fit",
    "figure_at",
    "fit",
    "left_out",
    "per_source",
    "source_weights",
    "thinned",
]
