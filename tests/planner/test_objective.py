"""What the best plan is best at: every metric of the contract, and ties."""

from typing import get_args

import numpy as np
import pytest

from planner.errors import InternalError
from planner.job import Metric
from planner.objective import NEEDS_RUN, objective

FIGURES = {
    "step_time_s": np.array([2.0, 1.0, 3.0]),
    "device_seconds_per_token": np.array([5.0, 6.0, 4.0]),
    "cost_usd": np.array([70.0, 80.0, 90.0]),
    "time_to_train_s": np.array([9e5, 8e5, 8.5e5]),
    "energy_j": np.array([1e9, 3e9, 2e9]),
    "goodput": np.array([0.9, 0.95, 0.97]),
    "devices": np.array([64.0, 128.0, 64.0]),
}
BEST = {
    "step_time": 1,
    "latency": 1,
    "throughput": 2,
    "cost": 0,
    "time_to_train": 1,
    "energy": 0,
    "reliability": 2,
    "devices": 0,
}


@pytest.mark.parametrize("metric", get_args(Metric))
def test_the_least_is_the_best(metric: str) -> None:
    assert int(np.argmin(objective(metric, FIGURES))) == BEST[metric]


@pytest.mark.parametrize("metric", get_args(Metric))
def test_the_run_is_priced_only_where_the_metric_needs_it(metric: str) -> None:
    step_only = {k: FIGURES[k] for k in ("step_time_s", "device_seconds_per_token", "devices")}
    if metric in NEEDS_RUN:
        with pytest.raises(KeyError):
            objective(metric, step_only)
    else:
        assert np.all(np.isfinite(objective(metric, step_only)))


def test_ties_go_to_the_faster_step_and_never_beat_the_metric() -> None:
    devices = objective("devices", FIGURES)
    assert devices[0] < devices[2] < devices[1]
    slow = {**FIGURES, "step_time_s": np.array([1e12, 1e-12, 1e12])}
    assert objective("devices", slow)[2] < objective("devices", slow)[1]
    same = {**FIGURES, "goodput": np.array([0.9, 0.9, 0.8])}
    reliability = objective("reliability", same)
    assert reliability[1] < reliability[0] < reliability[2]
    assert reliability[0] == pytest.approx(0.1, abs=1e-6)


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(InternalError, match="beauty"):
        objective("beauty", FIGURES)
