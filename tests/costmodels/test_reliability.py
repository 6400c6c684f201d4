"""Failures and checkpoints: published figures, hand arithmetic, the optimum, laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.reliability import (
    Cycle,
    best_interval_s,
    daly_interval_s,
    first_order_waste,
    goodput,
    mtbf_is_optimistic,
    mtbf_s,
    shortage_probability,
    time_shares,
    young_interval_s,
)

HOUR, DAY = 3600.0, 86400.0


def test_llama_3_failed_every_three_hours() -> None:
    # Llama 3 Herd, section 3.3.4: 419 unexpected interruptions in 54 days on 16,384 GPUs.
    hosts = 16384 / 8
    per_host_day = 419 / (hosts * 54)
    assert per_host_day == pytest.approx(0.0037887, rel=0.01)
    assert mtbf_s(hosts, DAY / per_host_day) / HOUR == pytest.approx(3.0931, rel=0.01)


@pytest.mark.parametrize(("gpus", "hours"), [(16384, 1.8029), (131072, 0.22536)])
def test_mtbf_of_large_jobs(gpus: int, hours: float) -> None:
    # Kokolis et al., HPCA 2025: 0.0065 failures per node-day.
    assert mtbf_s(gpus / 8, DAY / 0.0065) / HOUR == pytest.approx(hours, rel=0.001)
    assert mtbf_is_optimistic(gpus) == 0.0


def test_small_jobs_fail_for_other_reasons_and_are_flagged() -> None:
    # The same paper measured 7.9 h on 1,024 GPUs: 3.7 times less than the rate of nodes gives.
    predicted = mtbf_s(128.0, DAY / 0.0065) / HOUR
    assert predicted == pytest.approx(28.85, rel=0.001)
    assert predicted / 7.9 > 3.5
    assert mtbf_is_optimistic(1024.0) == 1.0
    assert np.asarray(mtbf_is_optimistic(np.array([8.0, 4095.0, 4096.0]))).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("gpus", "rate", "write", "restart", "interval", "expected"),
    [
        (12000, 0.0065, 10, 300, 421, 0.9205),
        (12000, 0.0065, 60, 300, 1031, 0.858),
        (100000, 0.00234, 0, 120, 120, 0.939),
    ],
)
def test_published_effective_time_ratio(
    gpus: int, rate: float, write: float, restart: float, interval: float, expected: float
) -> None:
    # Kokolis et al.'s first-order formula; the exact one must agree within 0.01.
    got = goodput(interval, write, restart, gpus / 8 * rate / DAY)
    assert got == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("write", "young", "daly", "waste"),
    [(10, 471.9, 461.9, 0.0424), (20, 667.4, 647.4, 0.0599), (60, 1155.9, 1095.9, 0.1038)],
)
def test_young_and_daly(write: float, young: float, daly: float, waste: float) -> None:
    mtbf = 3.0931 * HOUR
    assert young_interval_s(write, mtbf) == pytest.approx(young, rel=0.002)
    assert daly_interval_s(write, mtbf) == pytest.approx(daly, rel=0.002)
    found = first_order_waste(young_interval_s(write, mtbf), write, mtbf)
    assert found == pytest.approx(waste, rel=0.002)


def test_goodput_by_hand() -> None:
    # M = 1000, tau + w = 100 + 10, R = 50: 100 / (1000 e^0.05 (e^0.11 - 1)).
    by_hand = 100 / (1000 * np.exp(0.05) * (np.exp(0.11) - 1))
    assert goodput(100.0, 10.0, 50.0, 1e-3) == pytest.approx(by_hand, rel=1e-12)
    # A checkpoint that is durable 20 s late costs exp(20 / 1000).
    late = goodput(100.0, 10.0, 50.0, 1e-3, durable_s=20.0)
    assert late == pytest.approx(by_hand * np.exp(-0.02), rel=1e-12)


def test_without_failures_only_the_writes_cost() -> None:
    assert goodput(90.0, 10.0, 500.0, 0.0) == 0.9
    assert goodput(90.0, 0.0, 500.0, 0.0) == 1.0


def test_announced_losses_by_hand() -> None:
    # Only announced ones, free writes: per event 1/u of work, 5 s of write, 20 s of restart.
    u = 1e-3
    shares = time_shares(Cycle(1e6, 0.0, 20.0, 0.0, saves_per_s=u, save_s=5.0))
    assert shares.useful == pytest.approx((1 / u) / (1 / u * np.exp(u * 20) + 5), rel=1e-12)
    assert shares.rework == pytest.approx(0.0, abs=1e-12)


def test_best_interval_solves_its_equation_and_beats_its_neighbours() -> None:
    stalls, rates = np.logspace(-3, 4, 40), np.logspace(-7, -3, 40)
    stall, rate = (g.ravel() for g in np.meshgrid(stalls, rates))
    best = best_interval_s(stall, rate)
    x = best * rate
    residual = np.exp(x + stall * rate) * (1 - x) - 1
    assert np.max(np.abs(residual)) < 1e-8
    at_best = goodput(best, stall, 0.0, rate)
    for factor in (0.7, 0.97, 1.03, 1.4):
        assert np.all(goodput(best * factor, stall, 0.0, rate) < at_best)


def test_best_interval_is_daly_s_where_writes_are_short() -> None:
    # Their next-order difference is stall / 3.
    assert best_interval_s(10.0, 1e-4) == pytest.approx(daly_interval_s(10.0, 1e4), rel=0.02)
    assert best_interval_s(0.0, 1e-4) == 0.0
    assert best_interval_s(10.0, 0.0) == np.inf


def test_shortage_by_hand() -> None:
    # Erlang B: rho = 2: B(0) = 1, B(1) = 2/3, B(2) = 2/5, B(3) = 4/19.
    column = shortage_probability(np.array([0.0, 1.0, 2.0, 3.0]), 0.002, 1000.0)
    np.testing.assert_allclose(column, [1, 2 / 3, 2 / 5, 4 / 19])
    assert shortage_probability(3.0, 0.002, 0.0) == pytest.approx(0.0, abs=1e-30)
    # A run that begins with all spares has lost fewer of them by its end.
    away = 2 * (1 - np.exp(-0.5))
    assert shortage_probability(1.0, 0.002, 1000.0, 500.0) == pytest.approx(away / (1 + away))


def test_waiting_without_spares_is_the_alternating_renewal() -> None:
    # Up 10,000 s on average, then 1,000 s away: waiting 1/11 of the time.
    shares = time_shares(Cycle(1.0, 0.0, 0.0, 1e-4, short=1.0, replacement_s=1000.0))
    assert shares.waiting == pytest.approx(1 / 11, rel=1e-12)


times = st.floats(0.0, 1e6)
rates = st.one_of(st.just(0.0), st.floats(1e-9, 1e-2))
cycles = st.builds(
    Cycle,
    interval_s=st.floats(1e-3, 1e6),
    stall_s=times,
    recovery_s=times,
    losses_per_s=rates,
    durable_s=times,
    saves_per_s=rates,
    save_s=times,
    short=st.floats(0.0, 1.0),
    replacement_s=times,
    spare_hosts=st.integers(0, 5),
)


@given(cycles)
def test_shares_are_fractions_of_one(cycle: Cycle) -> None:
    shares = time_shares(cycle)
    parts = [shares.useful, shares.checkpoint, shares.rework, shares.restart, shares.waiting]
    assert all(0.0 <= part <= 1.0 + 1e-12 for part in parts)
    assert sum(parts) == pytest.approx(1.0, abs=1e-9)


@given(st.floats(1e-3, 1e5), times, times, rates, times, st.floats(1.0, 10.0))
def test_nothing_bad_raises_goodput(
    interval: float, stall: float, recovery: float, rate: float, late: float, factor: float
) -> None:
    base = goodput(interval, stall, recovery, rate, late) * (1 + 1e-12)
    assert goodput(interval, stall * factor, recovery, rate, late) <= base
    assert goodput(interval, stall, recovery * factor, rate, late) <= base
    assert goodput(interval, stall, recovery, rate * factor, late) <= base
    assert goodput(interval, stall, recovery, rate, late * factor) <= base


@given(st.lists(st.tuples(st.floats(1e-3, 1e5), times, times, rates, times), min_size=1))
def test_columns_are_rows(rows: list[tuple[float, float, float, float, float]]) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    assert np.asarray(goodput(*columns)).tolist() == [goodput(*row) for row in rows]
    best = np.asarray(best_interval_s(columns[1], columns[3]))
    assert best.tolist() == [best_interval_s(row[1], row[3]) for row in rows]
    spares = np.arange(len(rows)) % 4 * 1.0
    short = np.asarray(shortage_probability(spares, columns[3], columns[2], columns[4]))
    assert short.tolist() == [
        shortage_probability(s, row[3], row[2], row[4]) for s, row in zip(spares, rows, strict=True)
    ]
