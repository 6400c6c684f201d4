"""Scales of errors are found again, outliers and few observations leave them near their priors."""

import numpy as np
import pytest

from planner.fitting.spread import scales, weighted_quantile


def test_a_quantile_is_the_least_value_that_holds_the_weight():
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])
    assert weighted_quantile(values, weight, 0.25) == 1.0
    assert weighted_quantile(values, weight, 0.5) == 2.0
    assert weighted_quantile(values, weight, 0.76) == 3.0
    assert weighted_quantile(values, weight, 1.0) == 3.0
    with pytest.raises(ValueError):
        weighted_quantile(values[:0], weight[:0], 0.5)


def fitted(errors, apart, worth=1.0, prior=0.0):
    features = np.stack([np.ones(len(errors)), apart], axis=1)
    return scales(features, errors, np.full(len(errors), worth), np.array([np.log(0.1), prior]),
                  np.array([2.0, 0.5]), np.array([-9.0, 0.0]))  # fmt: skip


def test_mean_absolute_errors_are_the_scales():
    errors = np.array([0.05, -0.15, 0.1, -0.1] * 50 + [0.2, -0.4] * 50)
    apart = np.array([0.0] * 200 + [1.0] * 100)
    base, factor = np.exp(fitted(errors, apart, 10.0))
    assert base == pytest.approx(0.1, rel=0.01)
    assert factor == pytest.approx(3.0, rel=0.01)


def test_what_is_unlike_never_narrows():
    errors = np.array([0.1, -0.1] * 50 + [0.01, -0.01] * 50)
    apart = np.array([0.0] * 100 + [1.0] * 100)
    assert fitted(errors, apart)[1] == 0.0


def test_without_an_observation_the_prior_stays():
    assert fitted(np.array([0.1, -0.1]), np.zeros(2), prior=0.3)[1] == pytest.approx(0.3)
