"""Consistency as a decision, through the door: the network chooses, and synchronous wins ties."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from planner import recommend, spec
from planner.dims import CONSISTENCY
from planner.errors import NoFeasiblePlan, SpecError
from planner.explain import explain
from planner.explain.whatif import what_if

pytestmark = pytest.mark.xdist_group("consistency")  # one process plans for all
SITES = 4
NODE = "{name: node, devices: 8, bytes_per_s: 3.2e11, latency_s: 1.5e-6}"
CLUSTER = "{name: cluster, devices: 64, bytes_per_s: 3.4e11, latency_s: 8.5e-6}"
MODELS = {"llama-2-13b": (4096, 1024), "llama-3.1-70b": (8192, 1024)}
GBIT = 1.25e8


def text(model: str, bytes_per_s: float, *, strategy: str = "", more: str = "") -> str:
    length, batch = MODELS[model]
    wide = f"{{name: wide, devices: 256, bytes_per_s: {bytes_per_s}, latency_s: 2.0e-2}}"
    return (
        f"workload: {{kind: training, model: {model}, sequence_length: {length},"
        f" global_batch: {batch}, {more}}}\n"
        f"hardware: {{system: dgx-h100, devices: 256, levels: [{NODE}, {CLUSTER}, {wide}]}}\n"
        f"strategy: {{{strategy}}}\n"
    )


@cache
def planned(model: str, bytes_per_s: float, strategy: str = "") -> dict[str, Any]:
    return recommend.plan(spec.load(text(model, bytes_per_s, strategy=strategy)))


@cache
def best(model: str, bytes_per_s: float, strategy: str = "") -> tuple[str, float]:
    """Kind of consistency of the best plan, and its seconds for a synchronous step's progress."""
    job = spec.load(text(model, bytes_per_s, strategy=strategy))
    found = recommend.best_of(recommend.search(job))
    assert found is not None and found.best is not None
    return CONSISTENCY[int(found.best.consistency[0])], found.objective


def kind(plan: dict[str, Any]) -> str:
    stated = plan["strategy"]["consistency"]
    return stated if isinstance(stated, str) else next(iter(stated))


def progress_s(plan: dict[str, Any]) -> float:
    made = plan["prediction"]
    return float(made["step_time_s"] * made.get("updates", {"factor": 1.0})["factor"])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gbit", [1, 10])
def test_sites_far_apart_train_by_themselves_and_meet_rarely(model: str, gbit: float) -> None:
    plan = planned(model, gbit * GBIT)
    local = plan["strategy"]["consistency"]["local_sgd"]
    assert local["across"] == "wide" and local["steps"] >= 10
    assert plan["strategy"]["dp"] % SITES == 0
    first = plan["alternatives"][0]
    assert first["strategy"]["consistency"] == "synchronous"
    assert first["prediction"]["step_time_s"] > progress_s(plan)
    slot = plan["design"]["consistency"]
    assert "local updates" in slot["choice"]
    assert slot["alternatives"][0]["choice"] == "synchronous, its best plan"
    crossing = [t for t in plan["prediction"]["traffic"] if t["level"] == "wide"]
    assert [t["axis"] for t in crossing] == ["dp"]


@pytest.mark.parametrize("model", MODELS)
def test_the_same_sites_joined_by_a_fast_link_step_together(model: str) -> None:
    plan = planned(model, 3200 * GBIT)
    assert kind(plan) == "synchronous"
    assert "updates" not in plan["prediction"]


def test_bandwidth_decides_once() -> None:
    """From local updates to synchronous steps, and never back; and more is never slower."""
    model = "llama-2-13b"
    rates = [GBIT * 64.0**power for power in range(3)]
    found = [best(model, rate) for rate in rates]
    kinds = [each for each, _ in found]
    crossing = kinds.index("synchronous")
    assert kinds == ["local_sgd"] * crossing + ["synchronous"] * (len(kinds) - crossing)
    times = [progress for _, progress in found]
    assert times == sorted(times, reverse=True)
    for rate, (each, progress) in zip(rates, found, strict=True):
        together = best(model, rate, "consistency: synchronous")
        assert together[1] == progress if each == "synchronous" else together[1] > progress


def test_slower_links_meet_less_often() -> None:
    steps = [
        planned("llama-2-13b", rate * GBIT)["strategy"]["consistency"]["local_sgd"]["steps"]
        for rate in (1, 10)
    ]
    assert steps[0] > steps[1]


@pytest.mark.parametrize(
    "pinned",
    [
        "asynchronous",
        "{stale: 4}",
        "{local_sgd: {steps: 60, across: cluster, precision: int8}}",
        "{local_sgd: {steps: 200}}",
        "{local_sgd: {precision: int4}}",
        "{local_sgd: {}}",
    ],
)
def test_a_pinned_consistency_plans_and_predicts_the_same(pinned: str) -> None:
    job = (
        "workload: {kind: training, model: llama-3.1-8b, sequence_length: 4096, global_batch: 256,"
        " tokens: 1.0e11}\n"
        "hardware: {system: dgx-h100, devices: 32}\n"
        f"strategy: {{consistency: {pinned}}}\n"
    )
    plan = recommend.plan(spec.load(job))
    assert kind(plan) in pinned
    again = recommend.predict(spec.load_mapping({**plan["job"], "strategy": plan["strategy"]}))
    assert json.dumps(again["prediction"]) == json.dumps(plan["prediction"])
    assert json.dumps(again["strategy"]) == json.dumps(plan["strategy"])
    assert plan["alternatives"][0]["strategy"]["consistency"] == "synchronous"
    assert plan["search"]["objective"] == progress_s(plan)
    made = plan["prediction"]
    whole = made["steps"] * made["step_time_s"] / made["goodput"]
    assert made["time_to_train_s"] == pytest.approx(whole, rel=1e-9)


def test_a_job_with_a_law_of_learning_is_searched_without_sites() -> None:
    """On a fast network, synchronous steps win against every kind that is priced."""
    job = spec.load(
        "workload: {kind: training, model: llama-3.1-8b, sequence_length: 8192, global_batch: 256,"
        " learning: {law: both}}\n"
        "hardware: {system: dgx-h100, devices: 64}\n"
    )
    plan = recommend.plan(job)
    assert kind(plan) == "synchronous"
    others = plan["design"]["consistency"]["alternatives"]
    assert len(others) == 6
    assert all(other["cost"]["progress_s"] > 0 for other in others)


def test_a_list_of_levels_that_starts_with_sites_keeps_the_node() -> None:
    wide = "{name: wide, devices: 64, bytes_per_s: 1.25e9, latency_s: 2.0e-2}"
    job = spec.load(
        "workload: {kind: training, model: llama-3.1-8b, sequence_length: 4096, global_batch: 64}\n"
        f"hardware: {{system: dgx-h100, devices: 64, levels: [{wide}]}}\n"
    )
    best = recommend.best_of(recommend.search(job))
    assert best is not None
    levels = best.context.cluster.levels
    assert [(level.name, level.inside, level.devices) for level in levels] == [
        ("node", 1, 8),
        ("wide", 8, 64),
    ]


def test_the_contracts_levels_train_rack_by_rack() -> None:
    plan = recommend.plan(
        spec.load(
            "workload: {kind: training, model: llama-3.1-70b, sequence_length: 8192,"
            " global_batch: 1024}\n"
            "hardware:\n  system: gb200-nvl72\n  devices: 512\n  levels:\n"
            "    - {name: rack, devices: 72, usable: 64, bytes_per_s: 9.0e11, latency_s: 2.0e-6}\n"
            "    - {name: site, devices: 512, bytes_per_s: 1.25e9, latency_s: 2.0e-2}\n"
        )
    )
    assert plan["strategy"]["consistency"]["local_sgd"]["across"] == "site"


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("consistency: {local_sgd: {steps: 50, across: wid}}", "nearest: wide"),
        ("dp: 6, consistency: {local_sgd: {steps: 50}}", "multiple of the 4 sites below wide"),
        ("consistency: {local_sgd: {steps: 0}}", "whole number from 1"),
        ("consistency: {local_sgd: {step: 5}}", "nearest: steps"),
        ("consistency: {stale: 0}", "whole number from 1"),
        ("consistency: async", "one of synchronous, asynchronous"),
    ],
)
def test_what_cannot_be_is_one_message(strategy: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        spec.load(text("llama-2-13b", GBIT, strategy=strategy))
    assert "strategy" in str(caught.value)


def test_devices_of_one_site_have_no_sites_to_average() -> None:
    given = text("llama-2-13b", GBIT, strategy="consistency: {local_sgd: {across: wide}}")
    with pytest.raises(SpecError, match="64 devices are inside one domain below wide"):
        spec.load(given, sets=["hardware.devices=64"])
    with pytest.raises(SpecError, match="devices 96 are not whole sites of the 64 below wide"):
        spec.load(given, sets=["hardware.devices=96"])


def test_a_mesh_that_no_site_holds_says_which_rule_binds() -> None:
    strategy = "tp: 8, pp: 32, consistency: {local_sgd: {steps: 50}}"
    with pytest.raises(NoFeasiblePlan, match="whole replicas in each of the 4 sites below wide"):
        recommend.plan(spec.load(text("llama-2-13b", GBIT, strategy=strategy)))


def test_explaining_a_looser_plan_asks_why_not_synchronous() -> None:
    wide = "{name: wide, devices: 32, bytes_per_s: 1.25e9, latency_s: 2.0e-2}"
    plan = recommend.plan(
        spec.load(
            "workload: {kind: training, model: llama-3.1-8b, sequence_length: 4096,"
            " global_batch: 64}"
            f"\nhardware: {{system: dgx-h100, devices: 32, levels: [{NODE}, {wide}]}}\n"
        )
    )
    answers = explain(plan)["why_not"]
    assert isinstance(answers, list)
    (answer,) = answers
    assert answer["what"] == "consistency=synchronous" and answer["possible"]
    assert answer["prediction"] == plan["alternatives"][0]["prediction"]


def test_what_if_the_slot_is_forced(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    wide = "{name: wide, devices: 32, bytes_per_s: 1.25e9, latency_s: 2.0e-2}"
    job.write_text(
        "workload: {kind: training, model: llama-3.1-8b, sequence_length: 4096, global_batch: 64}\n"
        f"hardware: {{system: dgx-h100, devices: 32, levels: [{NODE}, {wide}]}}\n"
    )
    answer = what_if(job, ["strategy.consistency=synchronous"])
    base, changed = answer["base"], answer["changed"]
    assert isinstance(base, dict) and isinstance(changed, dict)
    assert kind(base) == "local_sgd" and kind(changed) == "synchronous"
    assert progress_s(changed) > progress_s(base)
