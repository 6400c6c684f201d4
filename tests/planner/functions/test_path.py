"""A JAX function through the doors: plan, predict, emit, and what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from planner import recommend, spec
from planner.emit import emit_all
from planner.errors import NoFeasiblePlan, SpecError
from planner.report.terminal import render

JOB: dict[str, Any] = {
    "name": "small",
    "workload": {
        "kind": "training",
        "model": {"jax": "jax_models:loss", "inputs": {"tokens": [4, 32]}},
        "global_batch": 32,
        "tokens": 1e6,
    },
    "hardware": {"system": "dgx-h100", "devices": 8},
    "software": {"preset": "maxtext"},
    "strategy": {"sharding": {"mesh": {"x": 4, "y": 2}}},
}
KEYS = {
    "schema_version", "job", "provenance", "checklist", "design", "axes", "patterns", "strategy",
    "prediction", "scaling", "search", "alternatives", "frontier",
}  # fmt: skip


def job(**sections: Any) -> str:
    made = copy.deepcopy(JOB)
    for section, changed in sections.items():
        made[section] = {**made.get(section, {}), **changed}
    return json.dumps(made)


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return recommend.plan(spec.load_any(job()))


def test_a_plan_holds_what_every_plan_holds(plan: dict[str, Any]) -> None:
    assert plan.keys() >= KEYS
    made = plan["prediction"]
    assert sum(term["exposed_s"] for term in made["time"]) == pytest.approx(made["step_time_s"])
    total = 0.0
    for term in made["time"]:
        total += term["exposed_s"]
    assert total == made["step_time_s"]
    held = 0.0
    for item in made["memory"]:
        held += item["bytes"]
    assert held == made["memory_bytes"] and made["fits"]
    assert made["samples_per_s_per_device"] == 32 / made["step_time_s"] / 8
    assert made["steps"] == 31250.0
    assert plan["search"]["bound"] <= plan["search"]["objective"]
    assert plan["search"]["status"] == "optimal"
    assert {point["devices"] for point in plan["scaling"]["points"]} >= {8}
    assert json.loads(json.dumps(plan)) == plan
    assert "of each operator on a mesh x 4, y 2" in render(plan)


def test_predicting_the_strategy_gives_the_prediction(plan: dict[str, Any]) -> None:
    again = {**plan["job"], "strategy": plan["strategy"]}
    predicted = recommend.predict(spec.load_any(json.dumps(again)))
    assert json.dumps(predicted["prediction"]) == json.dumps(plan["prediction"])
    assert predicted["strategy"] == plan["strategy"]


def test_the_same_job_gives_the_same_plan(plan: dict[str, Any]) -> None:
    other = recommend.plan(spec.load_any(job()))
    for one in (other, plan):
        one["search"] = {k: v for k, v in one["search"].items() if k != "wall_s"}
    assert json.dumps(other) == json.dumps(plan)


def test_without_a_mesh_several_are_tried() -> None:
    text = job(strategy={"sharding": None}, workload={"model": {
        "jax": "jax_models:mlp", "inputs": {"x": [4, 64]}}})  # fmt: skip
    plan = recommend.plan(spec.load_any(text))
    steps = [other["prediction"]["step_time_s"] for other in plan["alternatives"]]
    assert steps and steps == sorted(steps) and steps[0] >= plan["prediction"]["step_time_s"]
    meshes = [other["strategy"]["sharding"]["mesh"] for other in plan["alternatives"]]
    assert plan["strategy"]["sharding"]["mesh"] not in meshes


def test_accumulation_where_memory_asks_for_it() -> None:
    tight = {"set": {"memory_bytes": 5.6e8}}
    plan = recommend.plan(spec.load_any(job(hardware=tight, workload={"global_batch": 2048})))
    assert plan["strategy"]["microbatches"] > 1
    assert plan["prediction"]["memory_bytes"] <= plan["prediction"]["memory_limit_bytes"]


def test_what_cannot_fit_says_so() -> None:
    with pytest.raises(NoFeasiblePlan, match="none fits in 0.5 GB"):
        recommend.plan(spec.load_any(job(hardware={"set": {"memory_bytes": 5.0e8}})))


@pytest.mark.parametrize(
    ("sections", "key", "said"),
    [
        ({"strategy": {"tp": 2}}, "strategy.tp", "each operator has its own sharding"),
        ({"strategy": {"sharding": {"mesh": {"x": 3}}}}, "strategy.sharding.mesh", "8 devices"),
        ({"strategy": {"sharding": {"x": 3}}}, "strategy.sharding.mesh", "is needed"),
        ({"strategy": {"microbatches": 3}}, "strategy.microbatches", "does not divide"),
        ({"hardware": {"devices": [8, 16]}}, "hardware.devices", "one number of devices"),
        ({"strategy": {"consistency": "asynchronous"}}, "strategy.consistency", ""),
        ({"workload": {"precision": "fp8"}}, "workload.precision", "fp32, fp16 or bf16"),
        ({"workload": {"global_bach": 8}}, "workload.global_bach", "global_batch"),
        ({"workload": {"sequence_length": 8}}, "workload.sequence_length", "1"),
        ({"workload": {"model": {"jax": "jax_models:no", "inputs": {"x": [1]}}}},
         "workload.model.jax", "no function no"),
    ],
)  # fmt: skip
def test_refusals_name_the_key(sections: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        recommend.plan(spec.load_any(job(**sections)))
    assert error.value.key == key and said in error.value.message


def test_a_sharding_of_another_function_is_refused(plan: dict[str, Any]) -> None:
    strategy = copy.deepcopy(plan["strategy"])
    name = next(iter(strategy["sharding"]["operators"]))
    strategy["sharding"]["operators"][name] = "x:nowhere"
    with pytest.raises(SpecError, match="is not one of its ways"):
        recommend.predict(spec.load_any(job(strategy=strategy)))


def test_what_does_not_know_functions_says_so(plan: dict[str, Any], tmp_path: Path) -> None:
    from planner.explain import explain

    with pytest.raises(SpecError, match="can be planned, predicted and emitted"):
        explain(plan)
    with pytest.raises(SpecError, match="for target jax alone"):
        emit_all(plan, ["megatron"])


def test_a_module_beside_the_job_is_found(tmp_path: Path) -> None:
    (tmp_path / "beside_the_job.py").write_text(
        "import jax.numpy as jnp\n"
        "def init():\n    return {'w': jnp.zeros((64, 64))}\n"
        "def loss(p, x):\n    return ((x @ p['w']) ** 2).mean()\n"
    )
    model = {"jax": "beside_the_job:loss", "inputs": {"x": [8, 64]}}
    path = tmp_path / "job.yaml"
    path.write_text(job(workload={"model": model}))
    loaded = spec.load_any(path)
    assert loaded.workload.model.folder == str(tmp_path)  # type: ignore[union-attr]
    assert recommend.plan(loaded)["layouts"]["parameters"]["w"]["shape"] == [64, 64]
