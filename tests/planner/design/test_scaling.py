"""Scaling: the plan's mesh at other device counts, priced by the plan's own cost function."""

import json

import numpy as np
import pytest
from rows import context_of, job_of, row, taken

from planner import recommend, spec
from planner.design.scaling import MOST_POINTS, scaling
from planner.workloads import training


def scaled(job, **strategy):
    context = context_of(job)
    dims = row(context, **strategy)
    return context, dims, scaling(job, context, dims)


@pytest.mark.parametrize(
    "mesh",
    [{}, {"tp": 2}, {"tp": 2, "pp": 2, "zero": 1}, {"zero": 3, "zero_group": 8},
     {"pp": 2, "vpp": 2, "schedule": "interleaved"}],
    ids=str,
)  # fmt: skip
def test_the_plan_is_one_of_its_points_to_the_last_digit(mesh):
    context, dims, made = scaled(job_of(devices=16, batch=128), **mesh)
    here = [p for p in made["points"] if p["devices"] == 16]
    step = taken(training.cost(context, dims).total_s)
    assert [p["step_time_s"] for p in here] == [step]


def test_each_point_is_what_predict_says_of_that_count():
    job = job_of(devices=16, batch=128)
    _, _, made = scaled(job, tp=2, zero=1)
    for point in made["points"]:
        n = point["devices"]
        raw = spec.dump(job) | {"strategy": {"tp": 2, "sp": True, "cp": 1, "pp": 1, "zero": 1,
                                             "zero_group": n // 2, "micro_batch": 1,
                                             "recompute": "none", "offload": []}}  # fmt: skip
        raw["hardware"] = {"system": "dgx-h100", "devices": n}
        priced = recommend.predict(spec.load(json.dumps(raw)))["prediction"]
        assert point["step_time_s"] == pytest.approx(priced["step_time_s"], rel=1e-12), n


def test_figures_of_a_point():
    _, _, made = scaled(job_of(devices=16, batch=128), tp=2)
    points = made["points"]
    first = points[0]
    for p in points:
        wanted = first["devices"] * first["step_time_s"] / p["step_time_s"]
        assert p["speedup"] == pytest.approx(wanted)
        assert p["efficiency"] == pytest.approx(p["speedup"] / p["devices"])
    counts = [p["devices"] for p in points]
    assert counts == sorted(set(counts))
    assert first["efficiency"] == pytest.approx(1.0)
    fastest = min(points, key=lambda p: p["step_time_s"])
    assert made["p_star"] == fastest["devices"] or len(points) == MOST_POINTS


def test_more_replicas_than_sequences_are_not_points():
    _, _, made = scaled(job_of(devices=8, batch=24))
    counts = [p["devices"] for p in made["points"]]
    assert max(counts) == 24
    assert all(24 % n == 0 for n in counts)


def test_communication_reaches_computation_where_it_is_said_to():
    slow = {"set": {"inter_node_bytes_per_s": 1e9}}
    _, _, made = scaled(job_of(devices=8, batch=1024, sequence=512, hardware=slow))
    ratios = {p["devices"]: p["comm_to_compute"] for p in made["points"]}
    at = made["comm_dominated_at"]
    assert at is not None
    assert all(ratio < 1 for n, ratio in ratios.items() if n < at)
    assert ratios.get(at, 1.0) >= 1.0
    assert made["p_star"] >= 8


def test_one_device_count_is_fine():
    _, _, made = scaled(job_of(devices=1, batch=1))
    assert [p["devices"] for p in made["points"]] == [1]
    assert made["p_star"] == 1
    assert made["comm_dominated_at"] is None


def test_at_most_fourteen_points_the_plan_s_own_among_them():
    job = job_of(devices=8, batch=720720)
    context = context_of(job)
    dims = row(context, micro_batch=1, dp=8)
    made = scaling(job, context, dims)
    counts = [p["devices"] for p in made["points"]]
    assert len(counts) <= MOST_POINTS
    assert 8 in counts
    gaps = np.diff(np.log(counts))
    assert gaps.max() < 1.5


def test_a_slice_of_a_torus_scales_too():
    job = job_of(system="tpu-v5p", preset="maxtext", devices=64, batch=256)
    context, dims, made = scaled(job, zero=3)
    here = [p["step_time_s"] for p in made["points"] if p["devices"] == 64]
    assert here == [taken(training.cost(context, dims).total_s)]


def test_microbatches_that_a_pin_leaves_over_still_have_a_point():
    """32 microbatches over 3 stages, interleaved: a pin may; no other count has them whole."""
    job = job_of(devices=6, batch=64)
    _, _, made = scaled(job, pp=3, vpp=2, schedule="interleaved", micro_batch=1)
    assert [p["devices"] for p in made["points"]] == [6]
    assert made["p_star"] == 6
