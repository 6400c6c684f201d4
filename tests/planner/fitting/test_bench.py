"""A bench prices as `validate` does, reprices what moved alone, thins sweeps by their layers."""

import numpy as np
import pytest
from measured import job, runs_file

from hardware_profiles.load import load
from hardware_profiles.stack import load_stack
from planner.fitting import Bench, Constant, source_weights, thinned
from planner.validate.prepared import prepare_all, price

SHARE = load("dgx-h100").kernels.matmul["bf16"].efficiency.value
LAUNCH_S = load_stack("maxtext").family.launch_s_compiled.value
PRODUCTS = Constant("products", ("dgx-h100",), ("kernels.matmul.bf16.efficiency",), (SHARE,))
XLA = Constant("xla", ("families/xla",), ("launch_s_compiled",), (LAUNCH_S,), top=1.0)
CONSTANTS = (PRODUCTS, XLA)
SAME = {"products": 1.0, "xla": 1.0}


@pytest.fixture
def prepared(tmp_path):
    jobs = [job(), job(tp=2), job(tp=2, pp=2), job(16), job(preset="maxtext", zero=3)]
    del jobs[1]["strategy"]["recompute"]  # an open row
    return prepare_all([runs_file(tmp_path / "runs.yaml", jobs)])


def test_together_as_one_by_one(prepared):
    bench = Bench(prepared, CONSTANTS)
    alone = [np.log(price(run).step_s) for run in prepared]
    assert bench.log_errors(SAME) == pytest.approx(alone, rel=1e-12)


def test_only_what_a_constant_touches_moves(prepared):
    bench = Bench(prepared, CONSTANTS)
    here = bench.log_errors(SAME)
    assert bench.touched(XLA).tolist() == [False] * 4 + [True]
    slower = {**SAME, "xla": 50.0}
    moved = bench.log_errors(slower, XLA, here)
    assert moved == pytest.approx(bench.log_errors(slower), rel=1e-12)
    assert moved[:4].tolist() == here[:4].tolist()
    assert moved[4] > here[4]


def test_some_of_the_runs(prepared):
    bench, keep = Bench(prepared, CONSTANTS), np.array([True, False, True, False, True])
    assert bench.only(keep).log_errors(SAME).tolist() == bench.log_errors(SAME)[keep].tolist()


def test_the_job_s_own_figures_hold(tmp_path):
    capped = job()
    capped["hardware"]["set"] = {"peak_flop_per_s": 2e14}
    bench = Bench(prepare_all([runs_file(tmp_path / "r.yaml", [job(), capped])]), CONSTANTS)
    free, slow = bench.log_errors(SAME)
    assert slow > free + 0.5


def test_a_sweep_is_thinned_by_layer_not_by_number(tmp_path):
    sweep = []
    for layers in (4, 8, 12, 16, 20, 24):
        one = job(tp=2)
        one["workload"]["model"]["layers"] = layers
        sweep.append(one)
    runs = prepare_all([runs_file(tmp_path / "r.yaml", [*sweep, job(tp=4)])])
    kept = [run.run.id for run in thinned(runs, 2)]
    assert kept == ["lab-1", "lab-4", "lab-6"]
    assert len(thinned(runs, 9)) == 7


def test_sources_weigh_less_than_their_number(tmp_path):
    many = prepare_all([runs_file(tmp_path / "a.yaml", [job()] * 8, source="many")])
    one = prepare_all([runs_file(tmp_path / "b.yaml", [job()], source="one")])
    weight = source_weights([*many, *one], 1.0)
    assert weight[:8].sum() == pytest.approx(weight[8])
    assert weight.mean() == pytest.approx(1.0)
