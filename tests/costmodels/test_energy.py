"""Energy and money: hand arithmetic, laws, and a measured node."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.breakdown import Breakdown, Term
from costmodels.energy import (
    ACTIVITY,
    billed_devices,
    cost_usd,
    device_w,
    run_energy_j,
    step_energy_j,
)
from costmodels.reliability import Shares
from costmodels.units import Num


def step(**seconds: Num) -> Breakdown:
    return Breakdown(tuple(Term(kind, kind, time, "test") for kind, time in seconds.items()))


def test_step_by_hand() -> None:
    # 8 devices: 2 s of compute at 700 W, 1 s of bubble at 100 + 60 W, each with 200 W of host.
    joules = step_energy_j(step(compute=2.0, bubble=1.0), 8.0, 700.0, 100.0, 200.0, 1.25)
    assert joules == pytest.approx(1.25 * 8 * (2 * 900 + 1 * 360))


def test_hidden_seconds_cost_nothing() -> None:
    hidden = Breakdown((Term("all-reduce", "dp", 0.5, "test", hidden_s=9.0),))
    shown = Breakdown((Term("all-reduce", "dp", 0.5, "test"),))
    assert step_energy_j(hidden, 8, 700, 100, 200, 1) == step_energy_j(shown, 8, 700, 100, 200, 1)


def test_every_kind_of_term_has_an_activity_between_idle_and_full() -> None:
    kinds = {"compute", "hbm", "tp", "cp", "ep", "dp", "pp", "bubble", "host", "other"}
    assert set(ACTIVITY) == kinds
    assert all(0.0 <= value <= ACTIVITY["compute"] for value in ACTIVITY.values())
    unknown = step_energy_j(step(anything=1.0), 1.0, 700.0, 100.0, 0.0, 1.0)
    assert unknown == device_w(ACTIVITY["other"], 700.0, 100.0)


def test_a_busy_h100_node_draws_what_was_measured() -> None:
    # 8 H100 in training drew at most 8.4 kW and, computing intensively, 76% of the rated 10.2 kW
    # (Latif et al., IEEE Access 13, 2025; Newkirk et al., arXiv 2506.14551). Rated host share:
    # (10.2 kW - 8 * 700 W) / 8, of which fans and supplies take about half in operation (assumed).
    full_w, idle_w, host_w = 700.0, 75.0, 575.0 / 2
    mix = step(compute=0.85, tp=0.10, bubble=0.05)
    watts = step_energy_j(mix, 8.0, full_w, idle_w, host_w, 1.0) / 1.0
    assert 0.95 * 0.76 * 10200 < watts < 8400


def test_run_by_hand() -> None:
    # Half of the time useful, a quarter again, a quarter paused; 100 s, 10 devices, 2 spare.
    shares = Shares(useful=0.5, checkpoint=0.05, rework=0.25, restart=0.1, waiting=0.1)
    joules = run_energy_j(1000.0, 7.0, shares, 100.0, 10.0, 2.0, 100.0, 50.0, 1.2)
    assert joules == pytest.approx(1000 * 7 * 1.5 + 1.2 * 150 * (10 * 0.25 + 2) * 100)


def test_money_by_hand() -> None:
    assert cost_usd(16384.0, 54 * 86400.0, 2.0) == pytest.approx(16384 * 54 * 24 * 2)
    assert billed_devices(np.array([1.0, 8.0, 9.0]), 8.0, 2.0).tolist() == [24.0, 24.0, 32.0]


seconds = st.floats(0.0, 1e3)


@given(seconds, seconds, seconds, st.floats(50, 1500), st.floats(0, 500))
def test_more_time_or_power_never_saves(
    compute: float, tp: float, bubble: float, full_w: float, idle_w: float
) -> None:
    mix = {"compute": compute, "tp": tp, "bubble": bubble}
    base = step_energy_j(step(**mix), 8.0, full_w, idle_w, 100.0, 1.1) * (1 - 1e-12)
    for key in mix:
        longer = step(**mix | {key: mix[key] + 1.0})
        assert step_energy_j(longer, 8.0, full_w, idle_w, 100.0, 1.1) >= base
    assert step_energy_j(step(**mix), 8.0, full_w * 2, idle_w, 100.0, 1.1) >= base


@given(st.lists(st.tuples(seconds, seconds), min_size=1))
def test_columns_are_rows(rows: list[tuple[float, float]]) -> None:
    compute, dp = (np.array(column) for column in zip(*rows, strict=True))
    column = step_energy_j(step(compute=compute, dp=dp), 8.0, 700.0, 100.0, 200.0, 1.2)
    assert np.asarray(column).tolist() == [
        step_energy_j(step(compute=c, dp=d), 8.0, 700.0, 100.0, 200.0, 1.2) for c, d in rows
    ]
