"""Quantiles against the standard library and scipy."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from costmodels.quantiles import gamma_quantile, normal_quantile


def test_normal_quantile_is_the_standard_library_s() -> None:
    p = np.concatenate([np.logspace(-300, -1, 200), np.linspace(0.01, 0.99, 99), [1 - 1e-12]])
    exact = np.array([NormalDist().inv_cdf(float(x)) for x in p])
    np.testing.assert_allclose(normal_quantile(p), exact, rtol=2e-15, atol=2e-15)
    assert [normal_quantile(float(x)) for x in p] == np.asarray(normal_quantile(p)).tolist()


def test_normal_quantile_is_finite_at_the_ends() -> None:
    assert -40 < normal_quantile(0.0) < -37
    assert 8 < normal_quantile(1.0) < 9


@pytest.mark.parametrize(("spread", "error"), [(0.3, 0.003), (1.0, 0.025), (1.4, 0.04)])
@pytest.mark.parametrize("p", [0.5, 0.7, 0.9, 0.99, 0.999])
def test_gamma_quantile_is_near_the_exact_one(spread: float, error: float, p: float) -> None:
    shape = spread**-2
    exact = float(stats.gamma.ppf(p, shape, scale=10.0 / shape))
    assert gamma_quantile(p, 10.0, 10.0 * spread) == pytest.approx(exact, rel=error)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e9), st.floats(0, 1e9))
def test_gamma_quantile_rises_with_the_probability(
    p: float, q: float, mean: float, deviation: float
) -> None:
    low, high = sorted((p, q))
    values = [gamma_quantile(x, mean, deviation) for x in (low, high)]
    assert 0.0 <= values[0] <= values[1] < np.inf


def test_gamma_of_a_certain_value_is_that_value() -> None:
    assert gamma_quantile(0.9, 5.0, 0.0) == 5.0
    assert gamma_quantile(0.9, 0.0, 3.0) == 0.0
