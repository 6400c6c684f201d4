"""A fit finds the constants that runs were made with, forgives outliers, and keeps to priors."""

import numpy as np
import pytest
from measured import job, measured_under

from hardware_profiles.load import load
from hardware_profiles.stack import load_stack
from planner.fitting import Bench, Constant, fit
from planner.validate.prepared import prepare_all

SHARE = load("dgx-h100").kernels.matmul["bf16"].efficiency.value
LAUNCH_S = load_stack("megatron-core").family.launch_s.value
PRODUCTS = Constant("products", ("dgx-h100",), ("kernels.matmul.bf16.efficiency",), (SHARE,), 0.3)
LAUNCH = Constant("launch", ("families/megatron",), ("launch_s",), (LAUNCH_S,), 0.5, 1.0)
BOTH = (PRODUCTS, LAUNCH)
TRUTH = {"products": 0.8, "launch": 1.7}
JOBS = [job(devices, tp=tp, micro_batch=size)
        for devices in (8, 16) for tp in (1, 2, 4) for size in (1, 2, 4)]  # fmt: skip


@pytest.fixture
def made(tmp_path):
    return prepare_all([measured_under(tmp_path / "runs.yaml", JOBS, BOTH, TRUTH)])


def test_the_truth_is_found(made):
    weight = np.full(len(made), 100.0)  # runs that outweigh the prior
    found = fit(Bench(made, BOTH), weight)
    assert found.factors == pytest.approx(TRUTH, rel=2e-3)
    assert np.abs(found.log_errors).max() < 2e-3


def test_priors_hold_what_no_run_can_tell(made):
    other = Constant("xla", ("families/xla",), ("launch_s",), (1e-5,), 0.4)
    found = fit(Bench(made, (*BOTH, other)))
    assert found.factors["xla"] == 1.0
    assert found.deviations["xla"] == pytest.approx(0.4)
    assert found.deviations["products"] < 0.1


def test_an_outlier_rules_nothing(made, tmp_path):
    path = measured_under(tmp_path / "more.yaml", JOBS, BOTH, TRUTH)
    text = path.read_text("utf-8")
    first = made[0].measured_s
    path.write_text(text.replace(repr(first), repr(first * 10), 1), "utf-8")
    spoilt = prepare_all([path])
    assert spoilt[0].measured_s == pytest.approx(10 * first)
    clean, dirty = fit(Bench(made, BOTH)), fit(Bench(spoilt, BOTH))
    assert dirty.factors["products"] == pytest.approx(clean.factors["products"], rel=0.05)


def test_the_same_each_time_and_from_the_slopes_of_another(made):
    bench = Bench(made, BOTH)
    first, again = fit(bench), fit(bench)
    assert first.factors == again.factors
    keep = np.arange(len(made)) % 2 == 0
    part = bench.only(keep)
    fast = fit(part, start=first.factors, slopes=first.jacobian[keep], rounds=1)
    assert fast.factors == pytest.approx(fit(part).factors, rel=1e-2)
