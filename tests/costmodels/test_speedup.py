"""Speed-up predictor: the printed table to the digit, laws of p*, and constants from times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels import speedup as sp

# Code 41.4.1's constants and Output 41.4.1's rows, as printed.
C, ALPHA, B = 1.0, 0.0008, 0.040
PRINTED = """
    1    1.0000   0.0000   1.0000     1.00      0.000
    2    0.5000   0.0408   0.5408     1.85      0.082
    4    0.2500   0.0624   0.3124     3.20      0.250
    8    0.1250   0.0756   0.2006     4.99      0.605
   16    0.0625   0.0870   0.1495     6.69      1.392
   32    0.0312   0.1023   0.1336     7.49      3.274
   64    0.0156   0.1291   0.1448     6.91      8.266
  128    0.0078   0.1810   0.1888     5.30     23.165
  256    0.0039   0.2837   0.2876     3.48     72.624
  512    0.0020   0.4886   0.4906     2.04    250.186
 1024    0.0010   0.8983   0.8993     1.11    919.882
"""


def test_printed_table_to_the_last_digit() -> None:
    counts = 2.0 ** np.arange(11)
    columns = zip(
        counts,
        C / counts,
        sp.comm_s(counts, ALPHA, B),
        sp.step_s(counts, C, ALPHA, B),
        sp.speedup(counts, C, ALPHA, B),
        sp.comm_to_compute(counts, C, ALPHA, B),
        strict=True,
    )
    lines = [
        f"{p:>5.0f} {a:>9.4f} {b:>8.4f} {c:>8.4f} {d:>8.2f} {e:>10.3f}"
        for p, a, b, c, d, e in columns
    ]
    assert lines == PRINTED.strip("\n").split("\n")


def test_printed_optimum_and_domination() -> None:
    best = sp.best_count(C, ALPHA, B)
    assert best == 34.0
    assert f"{sp.speedup(best, C, ALPHA, B):.2f}" == "7.49"
    assert f"{sp.speedup(best, C, ALPHA, B) / best * 100:.1f}" == "22.0"
    assert f"{sp.comm_to_compute(best, C, ALPHA, B):.2f}" == "3.54"
    first = sp.dominated_from(C, ALPHA, B)
    assert first == 13.0
    assert f"{sp.speedup(first, C, ALPHA, B):.2f}" == "6.24"


seconds = st.floats(1e-6, 1e3)
small = st.one_of(st.just(0.0), st.floats(1e-7, 10.0))


@given(seconds, small, small, st.integers(1, 400))
def test_best_count_is_the_scan_s(c: float, alpha: float, b: float, limit: int) -> None:
    scan = min(range(1, limit + 1), key=lambda p: sp.step_s(p, c, alpha, b))
    found = sp.best_count(c, alpha, b, limit)
    # Where two counts tie in exact arithmetic, floats may order them either way.
    assert sp.step_s(found, c, alpha, b) <= sp.step_s(scan, c, alpha, b) * (1 + 1e-14)
    assert found == pytest.approx(scan, abs=1) or alpha == 0.0


@given(seconds, small, small)
def test_dominated_from_is_the_first(c: float, alpha: float, b: float) -> None:
    first = sp.dominated_from(c, alpha, b)
    if alpha == 0.0 and b == 0.0:
        assert first == np.inf
        return
    assert first >= 2.0
    assert sp.comm_to_compute(first, c, alpha, b) >= 1.0 - 1e-12
    assert first == 2.0 or sp.comm_to_compute(first - 1.0, c, alpha, b) < 1.0


def test_free_latency_wants_every_machine() -> None:
    assert sp.best_count(1.0, 0.0, 0.04) == np.inf
    assert sp.best_count(1.0, 0.0, 0.04, 512.0) == 512.0
    assert sp.dominated_from(1.0, 0.0, 0.04) == 14.0  # 2 B (p - 1) >= C: p >= 13.5
    assert sp.dominated_from(1.0, 0.0, 0.0) == np.inf


def test_transfer_that_costs_more_than_it_saves_wants_one_machine() -> None:
    assert sp.best_count(1.0, 0.0008, 0.5) == 1.0  # C = 2 B
    assert sp.best_count(1.0, 0.0008, 0.7) == 1.0  # C < 2 B
    assert sp.best_count(1.0, 0.0, 0.5) == 1.0  # every count takes as long: the smallest
    assert sp.best_count(1.0, 0.0, 0.7, 64.0) == 1.0


def test_limit_below_the_optimum_binds() -> None:
    assert sp.best_count(C, ALPHA, B, 20.0) == 20.0
    assert sp.best_count(C, ALPHA, B, 4096.0) == 34.0


@given(st.lists(st.tuples(seconds, small, small), min_size=1, max_size=5))
def test_columns_are_rows(rows: list[tuple[float, float, float]]) -> None:
    c, alpha, b = (np.array(column) for column in zip(*rows, strict=True))
    for function in (sp.best_count, sp.dominated_from):
        column = np.asarray(function(c, alpha, b))
        assert column.tolist() == [function(*row) for row in rows]
    count = np.arange(1.0, len(rows) + 1.0)
    for timed in (sp.step_s, sp.speedup, sp.comm_to_compute):
        column = np.asarray(timed(count, c, alpha, b))
        assert column.tolist() == [timed(p, *r) for p, r in zip(count, rows, strict=True)]


def test_fit_recovers_three_constants() -> None:
    counts = [1.0, 4.0, 32.0, 256.0]
    got = sp.fit(counts, [sp.step_s(p, C, ALPHA, B) for p in counts])
    assert (got.compute_s, got.alpha_s, got.transfer_s) == pytest.approx((C, ALPHA, B), rel=1e-9)
    assert got.identified == ("compute_s", "alpha_s", "transfer_s")
    assert got.error_frac < 1e-12
    assert got.alternative is None


@given(st.floats(1e-3, 1e3), st.floats(1e-5, 1e-2), st.floats(1e-4, 0.3))
def test_fit_without_the_single_machine(c: float, alpha: float, b: float) -> None:
    counts = [2.0, 16.0, 128.0]
    got = sp.fit(counts, [sp.step_s(p, c, alpha * c, b * c) for p in counts])
    assert got.compute_s == pytest.approx(c, rel=1e-6)
    assert got.alpha_s == pytest.approx(alpha * c, rel=1e-6)
    assert got.transfer_s == pytest.approx(b * c, rel=1e-6)


def test_two_counts_identify_two_constants_and_bound_the_third() -> None:
    got = sp.fit([1.0, 8.0], [1.0, sp.step_s(8.0, C, ALPHA, B)])
    assert got.identified == ("compute_s", "transfer_s")
    assert got.alpha_s == 0.0
    assert got.compute_s == pytest.approx(1.0)
    assert got.transfer_s == pytest.approx(0.0756 / 1.75)  # all of 75.6 ms put on 2 B 7/8
    assert got.alternative == pytest.approx((1.0, 0.0756 / 7.0, 0.0))
    assert got.error_frac < 1e-12
    assert got.alternative is not None
    assert sp.best_count(*got.alternative) <= 34.0 <= sp.best_count(C, 0.0, got.transfer_s)


def test_two_counts_past_the_optimum_identify_the_latency() -> None:
    got = sp.fit([64.0, 1024.0], [0.145, 0.9])
    assert got.identified == ("compute_s", "alpha_s")
    assert got.transfer_s == 0.0
    assert got.error_frac < 1e-12
    assert got.alternative is None


def test_noise_is_spread_by_relative_error() -> None:
    counts = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    noise = [1.02, 0.98, 1.01, 0.99, 1.02, 0.98, 1.01, 0.99]
    times = [sp.step_s(p, C, ALPHA, B) * n for p, n in zip(counts, noise, strict=True)]
    got = sp.fit(counts, times)
    assert got.error_frac < 0.03
    assert sp.best_count(got.compute_s, got.alpha_s, got.transfer_s) == pytest.approx(34, abs=4)


@pytest.mark.parametrize(
    ("counts", "times", "words"),
    [
        ([4.0], [1.0], "at least two"),
        ([4.0, 4.0], [1.0, 1.1], "at least two"),
        ([0.5, 4.0], [1.0, 1.1], "whole number"),
        ([1.0, 2.5], [1.0, 1.1], "whole number"),
        ([1.0, 2.0], [1.0, 0.0], "positive"),
        ([1.0, 2.0], [1.0, float("nan")], "positive"),
        ([8.0, 16.0, 32.0], [0.007, 0.015, 0.031], "do not fall"),
    ],
)
def test_fit_refuses(counts: list[float], times: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sp.fit(counts, times)
