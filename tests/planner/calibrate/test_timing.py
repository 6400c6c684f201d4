"""How a time is taken: what a clock that we hold says."""

from collections.abc import Callable

import pytest

from planner.calibrate.timing import FULL, QUICK, read, runs_of, sampled


def clock_of(work: list[float]) -> Callable[[], float]:
    """Return a clock that moves on by the next entry of `work` for every second reading."""
    now, readings = 0.0, 0

    def clock() -> float:
        nonlocal now, readings
        readings += 1
        if readings % 2 == 0:
            now += work[readings // 2 - 1]
        return now

    return clock


def test_a_sample_is_many_runs_over_the_clock() -> None:
    called: list[int] = []
    samples = sampled(called.append, 4, 3, clock_of([4.0, 8.0, 4.4]))
    assert called == [4, 4, 4]
    assert samples == pytest.approx([1.0, 2.0, 1.1])


def test_runs_fill_a_sample() -> None:
    assert runs_of(1e-3, QUICK) == 30
    assert runs_of(10.0, FULL) == 1
    assert FULL.repeats > QUICK.repeats


def test_the_median_forgives_an_outlier_and_names_it() -> None:
    quiet = read([1.0, 1.02, 1.01, 1.03, 1.0])
    odd = read([1.0, 1.02, 1.01, 9.0, 1.0])
    assert quiet.time_s == odd.time_s == 1.01
    assert (quiet.outliers, odd.outliers) == (0, 1)
    assert quiet.spread == pytest.approx(0.02)
    assert odd.spread == pytest.approx(0.02)


def test_a_busy_machine_shows_in_the_spread() -> None:
    assert read([1.0, 1.6, 1.3, 0.9, 1.9]).spread > 0.5
