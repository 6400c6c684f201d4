"""The two bounds and their join; moving data."""

import numpy as np
import pytest

from costmodels.roofline import memory_bound_s, smooth_max


@pytest.mark.parametrize(
    ("a", "b", "power", "joined"),
    [
        (3.0, 4.0, 1.0, 7.0),
        (3.0, 4.0, 2.0, 5.0),
        (1.0, 1.0, 4.0, 2.0**0.25),
        (2.0, 1.0, 4.0, 17.0**0.25),
        (0.0, 5.0, 4.0, 5.0),
        (0.0, 0.0, 4.0, 0.0),
        (1e-300, 1e-300, 4.0, 2.0**0.25 * 1e-300),  # a power of the seconds would be zero
        (1e200, 1e200, 4.0, 2.0**0.25 * 1e200),  # or infinite
    ],
)
def test_join_of_two_bounds(a: float, b: float, power: float, joined: float) -> None:
    assert smooth_max(a, b, power) == pytest.approx(joined, rel=1e-14)
    assert smooth_max(b, a, power) == smooth_max(a, b, power)


def test_the_fast_power_is_the_plain_one() -> None:
    a, b = np.geomspace(1e-6, 1.0, 50), np.geomspace(1.0, 1e-6, 50)
    fast, plain = np.asarray(smooth_max(a, b, 4.0)), (a**4 + b**4) ** 0.25
    np.testing.assert_allclose(fast, plain, rtol=1e-14)


def test_moving_data_by_hand() -> None:
    assert memory_bound_s(1e9, 2e12, 5e-6) == pytest.approx(5.05e-4, rel=1e-14)


def test_the_bandwidth_ramps_with_the_bytes() -> None:
    reached = [size / memory_bound_s(size, 2e12, 5e-6) for size in (1e5, 1e7, 1e9, 1e11)]
    assert reached == sorted(reached)
    assert reached[1] == pytest.approx(1e12, rel=1e-12)  # as long to move as to start: half
    assert reached[-1] > 0.99 * 2e12
