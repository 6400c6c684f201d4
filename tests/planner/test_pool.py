"""The pool is the search: same plans, same order, same numbers; laws over all of its rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import spec
from planner.choices import clusters
from planner.levers import levers
from planner.pool import Pool, fill
from planner.recommend import search
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
        POOLS[name] = fill(job, clusters(job.hardware)[0])
    return POOLS[name]


@pytest.mark.parametrize("name", JOBS)
def test_a_pool_finds_what_the_search_finds(name: str) -> None:
    pool, (searched,) = _pool(name), search(JOBS[name])
    kept = len(searched.found.rows)
    assert kept > 0
    assert np.array_equal(pool.rows[:kept], searched.found.rows)
    assert np.array_equal(pool.values[:kept], searched.found.objective)
    again = pool.searched()
    assert (again.found.priced, again.found.dropped) == (
        searched.found.priced,
        searched.found.dropped,
    )
    assert again.found.least_bytes == searched.found.least_bytes
    assert again.tally == searched.tally
    if name == "limits":
        assert len(pool.rows) < pool.priced


def test_rows_between_two_footprints_are_those_and_the_smallest_first() -> None:
    pool = _pool("dense")
    limit = pool.context.memory_limit_bytes
    rows = pool.between(limit, 2 * limit, 10**9)
    assert len(rows) > 20
    expected = [i for i, b in enumerate(pool.used_bytes) if limit < b <= 2 * limit]
    assert rows.tolist() == expected
    few = pool.between(limit, 2 * limit, 10)
    assert len(few) == 10
    assert pool.used_bytes[few].max() <= np.sort(pool.used_bytes[rows])[10]


def test_a_job_that_cannot_be_has_an_empty_pool() -> None:
    job = _job("llama-3.1-8b", "dgx-h100", 16, strategy={"placement": {"dp": "node"}, "tp": 1,
                                                        "pp": 1, "cp": 1})  # fmt: skip
    pool = fill(job, clusters(job.hardware)[0])
    assert len(pool.dims) == len(pool.rows) == 0
    assert pool.best_value == np.inf
    assert pool.searched().best is None


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
    some = pool.rows[:: max(1, len(pool.rows) // 500)]
    then = pool.objectives(some, job, training.make(job, cluster))
    assert np.all(then <= pool.objectives(some) * (1.0 + 1e-12))
