"""Which consistency is tried: kinds by what the job gives, whole meshes in every site, H near."""

import numpy as np
import pytest
from rows import context_of, job_of

from planner.dims import CONSISTENCY, OUTER_PRECISION
from planner.workloads import training
from planner.workloads.training.agreement import STEPS, apart_near

LEVELS = [
    {"name": "node", "devices": 8, "bytes_per_s": 3.2e11, "latency_s": 1.5e-6},
    {"name": "wide", "devices": 32, "bytes_per_s": 1e9, "latency_s": 2e-2},
]
LOCAL = float(CONSISTENCY.index("local_sgd"))


def tried(strategy=None, **sections):
    job = job_of(devices=32, batch=64, strategy=strategy, **sections)
    return job, *training.candidates(job, context_of(job))


def test_a_job_that_prices_no_learning_is_synchronous():
    _, dims, _ = tried()
    assert set(dims.consistency) == {0.0} and set(dims.sites) == {1.0}


def test_every_site_is_a_whole_mesh():
    _, dims, _ = tried(hardware={"levels": LEVELS})
    local = dims.take(dims.consistency == LOCAL)
    assert len(local) and set(local.sites) == {4.0}
    assert np.all(local.tp * local.cp * local.pp * local.dp_inside == 8)
    assert np.all(local.dp_inside == np.floor(local.dp_inside))
    assert np.all(local.zero_group <= local.dp_inside * local.cp)
    beyond = dims.take((dims.consistency == 0) & (dims.pp > 8))
    assert len(beyond) or dims.pp.max() <= 8  # only synchronous meshes may cross sites


def test_a_law_of_staleness_brings_bounds_and_asynchronous_replicas():
    _, dims, _ = tried(workload={"learning": {"law": "critical_batch"}})
    names = {CONSISTENCY[int(code)] for code in dims.consistency}
    assert names == {"synchronous", "stale", "asynchronous"}
    assert np.all(dims.dp[dims.consistency > 0] > 1)


@pytest.mark.parametrize(
    ("consistency", "apart"),
    [
        ({"local_sgd": {"steps": 77, "across": "cluster"}}, {77.0}),
        ({"stale": 5}, {5.0}),
        ("asynchronous", {0.0}),
        ("synchronous", {0.0}),
    ],
)
def test_a_pinned_consistency_is_the_only_one(consistency, apart):
    _, dims, _ = tried({"consistency": consistency}, workload={"learning": {"law": "both"}})
    assert len(set(dims.consistency)) == 1
    assert set(dims.apart) == apart


def test_experts_stay_inside_a_site():
    moe = {"experts": 16, "top_k": 2, "ffn_hidden": 1024}
    model = {
        "name": "m", "layers": 8, "hidden": 1024, "ffn_hidden": 1024, "heads": 16, "kv_heads": 16,
        "vocab": 32000, "gated_mlp": True, "tied_embeddings": False, "position": "rope", "moe": moe,
    }  # fmt: skip
    _, dims, _ = tried(model=model, hardware={"levels": LEVELS})
    local = dims.take(dims.consistency == LOCAL)
    assert len(local) and local.ep.max() <= 8 < dims.ep.max()


def test_near_a_plan_every_h_and_format_that_is_free_is_tried():
    job, dims, _ = tried(hardware={"levels": LEVELS})
    row = dims.take(np.flatnonzero(dims.consistency == LOCAL)[:1]).row(0)
    near = apart_near(job, row)
    assert {other["apart"] for other in near} == set(STEPS)
    assert {OUTER_PRECISION[int(o["outer"])] for o in near} == {"bf16", "int8", "int4"}
    assert apart_near(job, dims.take(dims.consistency == 0).row(0)) == []
    half, dims, _ = tried({"consistency": {"local_sgd": {"precision": "int8"}}},
                          hardware={"levels": LEVELS})  # fmt: skip
    row = dims.row(0)
    assert {o["outer"] for o in [row, *apart_near(half, row)]} == {OUTER_PRECISION.index("int8")}
