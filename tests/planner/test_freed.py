"""Rules of convenience, lifted."""

from typing import Any

import pytest

from planner import recommend, spec
from planner.chosen import Chosen, rebuild
from planner.freed import excluded, freed


def _chosen(model: str, devices: int, batch: int, **more: Any) -> Chosen:
    workload = {"kind": "training", "model": model, "sequence_length": 2048,
                "global_batch": batch}  # fmt: skip
    hardware = {"system": "dgx-h100", "devices": devices}
    job = spec.load_mapping({"workload": workload, "hardware": hardware, **more})
    return rebuild(recommend.plan(job))


def test_a_pinned_key_is_not_lifted() -> None:
    free = _chosen("llama-3.1-8b", 16, 48)
    odd = excluded(free)["micro_batch a power of two up to 32"]
    assert odd == {"pp": free.strategy["pp"], "micro_batch": (3, 6, 12, 24, 48)}
    assert excluded(free)["tp stays inside a node"]["tp"] == (16,)
    pinned = _chosen("llama-3.1-8b", 16, 48, strategy={"micro_batch": 1, "tp": 8})
    assert not excluded(pinned).keys() & {
        "micro_batch a power of two up to 32",
        "tp stays inside a node",
    }


def test_a_rule_that_costs_is_told_and_the_gain_is_the_searchs() -> None:
    """A batch of 3 per replica: only micro-batches of 1 and 3 are whole."""
    chosen = _chosen("gpt3-1.3b", 8, 24, strategy={"tp": 1, "pp": 1, "cp": 1})
    told: Any = freed(chosen)
    pinned = chosen.job.strategy.model_copy(update={"micro_batch": 3})
    better: Any = recommend.plan(chosen.job.model_copy(update={"strategy": pinned}))
    gain = chosen.one.step_s - better["prediction"]["step_time_s"]
    assert gain > 1e-3 * chosen.one.step_s
    assert told[0]["what"] == "the rule 'micro_batch a power of two up to 32'"
    assert told[0]["numbers"]["gain_s"] == pytest.approx(gain)


def test_rules_that_cost_nothing_are_one_answer() -> None:
    told: Any = freed(_chosen("llama-3.1-8b", 16, 64, strategy={"micro_batch": 1, "pp": 1}))
    assert [entry["what"] for entry in told] == ["rules of convenience"]
    assert "tp stays inside a node" in told[0]["because"]
