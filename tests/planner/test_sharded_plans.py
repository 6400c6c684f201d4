"""Megatron's sharded gradients and parameters, from a job to its plan, its price and its script."""

import json

import pytest
from rows import job_of

from planner import recommend
from planner.emit.megatron import emit
from planner.errors import NoFeasiblePlan


def plan(devices, batch, **given):
    return recommend.plan(job_of(devices=devices, batch=batch, **given))


def seconds(made):
    return made["prediction"]["step_time_s"]


LONG = {"model": "llama-3.1-70b", "sequence": 131072}
JOBS = {
    "long": (64, 16, LONG, 3),
    "short": (64, 64, {"model": "llama-3.1-8b", "sequence": 8192}, 2),
    "plain": (8, 64, {"model": "llama-3.1-8b", "sequence": 8192}, 1),
    "lora": (8, 64, {"model": "llama-3.1-70b", "workload": {"task": "lora"}}, 1),
}


@pytest.mark.parametrize("name", JOBS)
def test_no_pinned_sharding_beats_the_plan_by_more_than_its_gap(name):
    """What Megatron-FSDP runs is searched: states sharded further where that saves recomputing."""
    devices, batch, given, zero = JOBS[name]
    made = plan(devices, batch, **given)
    assert made["strategy"]["zero"] == zero
    assert zero < 2 or made["strategy"]["pp"] == 1
    floor = seconds(made) * (1 - made["search"]["gap"] - 1e-9)
    for pin in range(4):
        try:
            pinned = plan(devices, batch, **given, strategy={"zero": pin})
        except NoFeasiblePlan:
            continue
        assert seconds(pinned) >= floor
        assert pin < 2 or pinned["strategy"]["pp"] == 1


def test_sharding_parameters_where_a_long_sequence_fills_the_memory_beats_a_pipeline():
    """Without it layers are recomputed: tens of percent of the step's products."""
    made, other = plan(64, 16, **LONG), plan(64, 16, **LONG, strategy={"zero": [0, 1]})
    assert made["strategy"]["recompute"] == "none"
    assert "full" in other["strategy"]["recompute"]
    assert seconds(made) < 0.95 * seconds(other)
    again = recommend.predict(job_of(devices=64, batch=16, **LONG, strategy=made["strategy"]))
    assert json.dumps(again["prediction"]) == json.dumps(made["prediction"])
    script = emit(made)["pretrain.sh"]
    assert "--data-parallel-sharding-strategy optim_grads_params" in script
    assert "Not expressible: zero" not in script


@pytest.mark.parametrize(
    ("preset", "pin", "said"),
    [
        ("megatron-core", {"zero": 3, "pp": 4}, "megatron-core has no zero 3 in a pipeline"),
        ("megatron-2022", {"zero": 2, "pp": 1}, "megatron-2022 has no zero 2, as the job pins"),
        ("megatron-core", {"zero": 3, "pp": 1}, ""),
        ("fsdp-compile", {"zero": 3, "pp": 4}, ""),
    ],
)
def test_a_pin_that_the_stack_cannot_build_is_priced_and_said(preset, pin, said):
    made = plan(32, 64, preset=preset, strategy=pin)
    assert made["prediction"]["fits"]
    found = [note for note in made.get("notes", ()) if "has no zero" in note]
    assert len(found) == bool(said)
    assert all(said in note for note in found)
