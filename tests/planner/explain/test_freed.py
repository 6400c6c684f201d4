"""Values that the search leaves out for convenience, tried."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from planner import recommend, spec
from planner.explain.chosen import Chosen, rebuild
from planner.explain.freed import excluded, freed
from planner.explain.pool import Pool, fill


def _chosen(devices: int, batch: int, **strategy: Any) -> tuple[Chosen, Pool]:
    workload = {"kind": "training", "model": "llama-3.1-8b", "sequence_length": 2048,
                "global_batch": batch}  # fmt: skip
    hardware = {"system": "dgx-h100", "devices": devices}
    job = spec.load_mapping({"workload": workload, "hardware": hardware, "strategy": strategy})
    chosen = rebuild(recommend.plan(job))
    return chosen, fill(chosen.job)


def _keys(chosen: Chosen, pool: Pool) -> set[str]:
    return {key for pins in excluded(chosen, pool).values() for key in pins}


def test_only_free_keys_are_lifted() -> None:
    free, pool = _chosen(16, 64)
    assert excluded(free, pool)["tp 16"] == {"pp": free.strategy["pp"], "tp": (16,)}
    assert "micro_batch" in _keys(free, pool)
    pinned, pool = _chosen(16, 64, tp=8, micro_batch=1)
    assert not _keys(pinned, pool) & {"tp", "micro_batch"}


def test_a_value_that_no_candidate_has_is_tried_and_its_gain_is_the_searchs() -> None:
    """Of a pool without micro-batches of 4, the best is of 1: lifting finds what was left out."""
    every, pool = _chosen(8, 64, tp=1, pp=1, cp=1, recompute="none", zero=3)
    assert every.strategy["micro_batch"] > 1  # type: ignore[operator]
    best = every.strategy["micro_batch"]
    dims = pool.dims.take(pool.dims.micro_batch == 1)
    few = dataclasses.replace(pool, searched=dataclasses.replace(pool.searched, dims=dims))
    slow = rebuild(recommend.plan(_with(every, micro_batch=1)))
    slow = dataclasses.replace(slow, job=every.job)
    told: Any = freed(slow, few)
    gain = slow.one.step_s - every.one.step_s
    assert gain > 1e-3 * slow.one.step_s
    assert told[0]["what"].startswith("micro_batch 2, 4")
    assert told[0]["numbers"]["gain_s"] == pytest.approx(gain)
    assert f"micro_batch {best} (1)" in told[0]["because"]


def _with(chosen: Chosen, **keys: object) -> Any:
    strategy = chosen.job.strategy.model_copy(update=keys)
    return chosen.job.model_copy(update={"strategy": strategy})


def test_values_that_gain_nothing_are_one_answer() -> None:
    chosen, pool = _chosen(16, 64, micro_batch=1, pp=1)
    told: Any = freed(chosen, pool)
    assert [entry["what"] for entry in told] == ["rules of convenience"]
    assert "tp 16" in told[0]["because"]
    assert np.all(pool.dims.tp <= 8)
