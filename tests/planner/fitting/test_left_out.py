"""Errors of a source are those under constants that the other sources gave."""

import numpy as np
import pytest
from measured import job, measured_under

from hardware_profiles.load import load
from planner.fitting import Bench, Constant, figure_at, fit, left_out
from planner.validate.prepared import prepare_all

PATH = "kernels.training.matmul.bf16"
VALUE = figure_at(load("dgx-h100").model_dump(), PATH)["value"]
PRODUCTS = Constant(PATH, ("dgx-h100",), (PATH,), (VALUE,), 0.5, 9.0)
JOBS = [job(tp=tp, micro_batch=size) for tp in (1, 2) for size in (1, 2, 4)]


def test_a_source_apart_is_missed_by_what_the_others_say(tmp_path):
    """Two sources agree on a machine at 0.8 of the profile, the third has it at 1.2."""
    runs = []
    for source, factor in (("a", 0.8), ("b", 0.8), ("odd", 1.2)):
        path = tmp_path / f"{source}.yaml"
        runs += prepare_all([measured_under(path, JOBS, [PRODUCTS], {PATH: factor}, source)])
    bench = Bench(runs, [PRODUCTS])
    weight = np.full(len(runs), 30.0)
    whole = fit(bench, weight)
    told: list[str] = []
    errors = left_out(bench, whole, weight, bench, told.append)
    alone = fit(bench.only(np.arange(len(runs)) < 2 * len(JOBS)), weight[: 2 * len(JOBS)])
    odd = bench.only(np.arange(len(runs)) >= 2 * len(JOBS)).log_errors(alone.factors)
    assert errors[2 * len(JOBS) :] == pytest.approx(odd, abs=2e-3)
    assert np.all(errors[2 * len(JOBS) :] > whole.log_errors[2 * len(JOBS) :] + 0.005)
    assert [text.split(":")[0] for text in told] == ["without a", "without b", "without odd"]


def test_a_single_source_is_judged_by_the_priors(tmp_path):
    """There is no other source to fit to: what is known before all runs remains."""
    path = measured_under(tmp_path / "a.yaml", JOBS, [PRODUCTS], {PATH: 0.7})
    bench = Bench(prepare_all([path]), [PRODUCTS])
    weight = np.full(len(JOBS), 30.0)
    errors = left_out(bench, fit(bench, weight), weight, bench)
    assert errors == pytest.approx(bench.log_errors({PATH: 1.0}))
