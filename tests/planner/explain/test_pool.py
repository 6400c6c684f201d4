"""A pool holds the search: same plans, same order, same numbers; laws over all of its rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import spec
from planner.explain.levers import levers
from planner.explain.pool import Pool, fill, objectives, pinned
from planner.workloads import training


def _job(model: str, system: str, devices: int, **more: Any) -> Any:
    workload = {
        "kind": "training",
        "model": model,
        "sequence_length": 4096,
        "global_batch": 128,
        "tokens": 1e11,
    }
    hardware = {"system": system, "devices": devices}
    return spec.load_mapping({"workload": workload, "hardware": hardware, **more})


JOBS = {
    "dense": _job("llama-3.1-8b", "dgx-h100", 16),
    "experts": _job("mixtral-8x7b", "dgx-a100-80gb", 32, strategy={"recompute": "none"}),
    "torus": _job("llama-2-7b", "tpu-v5p", 64),
    "limits": _job(
        "llama-3.1-8b", "dgx-h100", 16,
        objective={"metric": "cost"}, constraints={"deadline_s": 1.5e6},
    ),
    "pinned": _job("llama-3.1-8b", "dgx-h100", 16, strategy={"tp": 4, "pp": 2}),
}  # fmt: skip
POOLS: dict[str, Pool] = {}


def _pool(name: str) -> Pool:
    if name not in POOLS:
        job = JOBS[name]
        POOLS[name] = fill(job)
    return POOLS[name]


@pytest.mark.parametrize("name", JOBS)
def test_the_ranking_of_all_starts_with_what_the_search_kept(name: str) -> None:
    """The same functions, asked for every row: the same order and the same numbers."""
    pool = _pool(name)
    rows, values = pool.ranked()
    found = pool.searched.found
    assert len(rows) >= found.priced > 0
    assert len(found.rows) > 0
    kept = min(len(found.rows), 100)
    assert values[:kept].tolist() == found.objective[:kept].tolist()
    assert rows[0] == found.rows[0]
    assert set(found.rows[:kept]) <= set(rows)
    broken = int(np.count_nonzero(~np.isfinite(values)))
    assert (broken > 0) == (name == "limits")


def test_footprints_are_the_cost_functions() -> None:
    pool = _pool("dense")
    held = training.memory_of(pool.context, pool.dims).total_bytes
    assert np.allclose(pool.used_bytes(), held, rtol=1e-12)


def test_a_job_that_cannot_be_has_no_best_plan() -> None:
    cannot = {"placement": {"dp": "node"}, "tp": 1, "pp": 1, "cp": 1}
    pool = fill(_job("llama-3.1-8b", "dgx-h100", 16, strategy=cannot))
    assert pool.best is None
    assert pool.best_value == np.inf
    assert len(pool.ranked()[0]) == 0
    assert "dp stays inside node" in str(pool.infeasible())


def test_the_pool_is_of_the_best_cluster() -> None:
    pool = fill(_job("llama-3.1-8b", "dgx-h100", [8, 16]))  # type: ignore[arg-type]
    assert pool.context.cluster.devices == 16
    assert len(pool.results) == 2


def test_pinning_changes_the_strategy_alone() -> None:
    job = pinned(JOBS["pinned"], tp=8, mesh_order=["tp", "dp", "cp", "pp"])
    assert (job.strategy.tp, job.strategy.pp) == (8, 2)
    assert job.strategy.mesh_order == ("tp", "dp", "cp", "pp")
    assert job.hardware == JOBS["pinned"].hardware


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["dense", "experts", "torus", "pinned"]),
    which=st.integers(0, 20),
    times=st.floats(1.0, 100.0),
)
def test_a_better_link_or_memory_makes_no_candidate_slower(
    name: str, which: int, times: float
) -> None:
    pool = _pool(name)
    turned = [
        lever
        for lever in levers(pool.context.cluster)
        if lever.level or lever.figure.startswith("memory")
    ]
    lever = turned[which % len(turned)]
    job, cluster = lever.turn(pool.job, pool.context.cluster, lever.factor(times))
    rows, as_given = pool.ranked()
    step = max(1, len(rows) // 500)
    context = training.rebuilt(pool.context, job, cluster)
    then = objectives(job, context, pool.dims, rows[::step])
    assert np.all(then <= as_given[::step] * (1.0 + 1e-12))
