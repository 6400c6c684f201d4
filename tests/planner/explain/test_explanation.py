"""Explaining a plan: what binds, what rivals lose by, what faster links buy, and bad files."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from planner import recommend, spec
from planner.cli import app
from planner.errors import NoFeasiblePlan, PlannerError, SpecError
from planner.explain import explain
from planner.report.json_text import dumps

pytestmark = pytest.mark.xdist_group("explain")  # one process plans for all


def _job(**sections: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = {
        "workload": {
            "kind": "training",
            "model": "llama-3.1-8b",
            "sequence_length": 8192,
            "global_batch": 64,
            "tokens": 1e12,
        },
        "hardware": {"system": "dgx-h100", "devices": 16},
    }
    for name, section in sections.items():
        job[name] = {**job.get(name, {}), **section}
    return job


def _planned(**sections: dict[str, Any]) -> dict[str, Any]:
    made = recommend.plan(spec.load_mapping(_job(**sections)))
    read: dict[str, Any] = json.loads(dumps(made))
    return read


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return _planned()


@pytest.fixture(scope="module")
def explained(plan: dict[str, Any]) -> dict[str, Any]:
    return explain(plan)


def _entry(entries: list[dict[str, Any]], start: str) -> dict[str, Any]:
    found = [entry for entry in entries if entry["what"].startswith(start)]
    assert len(found) == 1, [entry["what"] for entry in entries]
    return found[0]


def test_every_answer_has_its_three_parts(explained: dict[str, Any]) -> None:
    assert list(explained) == ["binds", "alternatives", "faster_link", "why_not"]
    assert explained["why_not"] == []
    for part in ("binds", "alternatives", "faster_link"):
        assert explained[part], part
        for entry in explained[part]:
            assert entry["what"] and entry["because"]
            assert all(isinstance(n, int | float) for n in entry["numbers"].values())


def test_the_slack_is_limit_minus_bytes_of_the_plan(
    plan: dict[str, Any], explained: dict[str, Any]
) -> None:
    numbers = _entry(explained["binds"], "memory of")["numbers"]
    made = plan["prediction"]
    assert numbers["memory_bytes"] == made["memory_bytes"]
    assert numbers["slack_bytes"] == made["memory_limit_bytes"] - made["memory_bytes"]


def test_the_largest_terms_are_the_plans_largest_first(
    plan: dict[str, Any], explained: dict[str, Any]
) -> None:
    terms = sorted(plan["prediction"]["time"], key=lambda term: -term["exposed_s"])[:3]
    told = explained["binds"]
    at = next(i for i, entry in enumerate(told) if "number 1 of" in entry["because"])
    shown = [(entry["what"], entry["numbers"]["exposed_s"]) for entry in told[at : at + 3]]
    assert shown == [(term["name"], term["exposed_s"]) for term in terms]


def test_alternatives_are_the_plans_and_their_deltas_add_up(
    plan: dict[str, Any], explained: dict[str, Any]
) -> None:
    theirs = [other["strategy"] for other in plan["alternatives"]]
    assert [other["strategy"] for other in explained["alternatives"]] == theirs
    for entry in explained["alternatives"]:
        numbers = entry["numbers"]
        assert sum(d["exposed_s"] for d in entry["delta"]) == pytest.approx(numbers["slower_s"])
        assert numbers["slower_s"] >= 0


def test_twice_a_link_is_never_slower_and_the_best_buy_stands_first(
    explained: dict[str, Any],
) -> None:
    gains = [entry["numbers"]["gain_s"] for entry in explained["faster_link"]]
    assert gains == sorted(gains, reverse=True)
    assert min(gains) >= 0 and gains[0] > 0
    figures = {entry["figure"] for entry in explained["faster_link"]}
    assert figures == {
        "node.bandwidth_bytes_per_s",
        "node.latency_s",
        "cluster.bandwidth_bytes_per_s",
        "cluster.latency_s",
        "memory.bandwidth_bytes_per_s",
        "peak_flop_per_s",
    }


def test_a_link_that_no_axis_ends_at_is_crossed_by_those_that_reach_farther() -> None:
    """Replicas on two nodes are of the cluster's link, and all of them go through the node's."""
    made = explain(_planned(strategy={"tp": 1, "cp": 1, "pp": 1}))
    node = _entry(made["faster_link"], "bandwidth of node")
    assert node["because"] == "no axis ends there; those that reach farther cross it too"
    assert node["numbers"]["gain_s"] > 0.0


def test_a_tenth_more_memory_is_a_search_with_a_tenth_more_memory() -> None:
    plan = _planned(hardware={"devices": 8}, workload={"global_batch": 128})
    binds = explain(plan)["binds"]
    told = _entry(binds, "with 10% more memory")["numbers"]
    with_more = _planned(
        hardware={"devices": 8, "set": {"memory_bytes": 85.0e9 * 1.1}},
        workload={"global_batch": 128},
    )
    gain = plan["prediction"]["step_time_s"] - with_more["prediction"]["step_time_s"]
    assert told["gain_s"] == pytest.approx(gain, rel=1e-9, abs=1e-12)
    if gain:
        assert told["over_bytes"] > 0
    over = _entry(binds, "the memory limit")["numbers"]
    assert over["gain_s"] >= told["gain_s"]


def test_a_plan_that_does_not_fit_says_by_how_much() -> None:
    job = _job(strategy={"tp": 1, "pp": 1, "cp": 1, "zero": 0, "offload": []})
    plan = json.loads(dumps(recommend.predict(spec.load_mapping(job))))
    assert not plan["prediction"]["fits"]
    memory = _entry(explain(plan)["binds"], "memory of")
    assert memory["because"].startswith("over the limit by ")
    assert memory["numbers"]["slack_bytes"] < 0


def test_a_worse_plan_is_told_the_best_one(plan: dict[str, Any]) -> None:
    slow = json.loads(
        dumps(recommend.predict(spec.load_mapping(_job(strategy={"recompute": "full"}))))
    )
    slow["job"]["strategy"] = {}
    better = _entry(explain(slow)["binds"], "not the best plan")["numbers"]
    assert better["step_time_s"] == plan["prediction"]["step_time_s"]


def test_an_edited_price_is_told(plan: dict[str, Any]) -> None:
    edited = copy.deepcopy(plan)
    edited["prediction"]["step_time_s"] *= 0.5
    told = _entry(explain(edited)["binds"], "the file's price")
    assert told["numbers"]["step_time_s"] == plan["prediction"]["step_time_s"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("job",), None, "job: is missing; a plan has a mapping here"),
        (("strategy",), [1], "strategy: is a list; a plan has a mapping here"),
        (("job", "hardware", "devices"), [8, 16], "one system and one device count"),
        (("job", "hardware", "devices"), "many", "job.hardware.devices: got 'many'"),
        (("job", "workload", "model", "layers"), "x", "job.workload.model.layers: got 'x'"),
        (("strategy", "tp"), "four", "strategy.tp: got 'four'; allowed: a whole number"),
        (("strategy", "tpp"), 4, "nearest: tp"),
        (("strategy", "tp"), 3, "does not divide devices 16"),
        (("prediction", "step_time_s"), "fast", "prediction.step_time_s: is 'fast'"),
        (("job", "workload", "kind"), "serving", "not supported yet"),
    ],
)
def test_a_file_edited_by_hand_is_one_message(
    plan: dict[str, Any], path: tuple[str, ...], value: object, said: str
) -> None:
    edited = copy.deepcopy(plan)
    inside = edited
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    with pytest.raises(SpecError) as error:
        explain(edited)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**7), st.floats(), st.text(max_size=5),
    st.lists(st.integers(0, 9), max_size=2), st.dictionaries(st.text(max_size=3), st.none()),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    key=st.sampled_from(
        ["dp", "tp", "pp", "vpp", "sp", "zero", "zero_group", "micro_batch", "recompute",
         "schedule", "layers_per_stage", "mesh_order", "offload", "collectives", "consistency"]
    ),
    value=JUNK,
)  # fmt: skip
def test_no_edit_of_the_strategy_is_a_traceback(
    plan: dict[str, Any], key: str, value: object
) -> None:
    edited = {**plan, "strategy": {**plan["strategy"], key: value}}
    try:
        from planner.explain.chosen import rebuild

        rebuild(edited)
    except PlannerError as error:
        assert error.exit_code in (2, 3)


def test_a_strategy_that_breaks_a_rule_is_no_plan(plan: dict[str, Any]) -> None:
    edited = {**plan, "strategy": {"tp": 16, "dp": 1, "pp": 1, "cp": 1}}
    edited["job"] = {**plan["job"], "hardware": {**plan["job"]["hardware"]}}
    edited["strategy"]["placement"] = {"tp": "node"}
    with pytest.raises(NoFeasiblePlan, match="tp stays inside node"):
        explain(edited)


def test_the_command_prints_all_of_it(plan: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(dumps(plan), "utf-8")
    runner = CliRunner()
    shown = runner.invoke(app, ["explain", str(file), "--why-not", "tp=8"])
    assert shown.exit_code == 0, shown.output
    for title in ("What binds", "What each alternative", "What a faster link", "Why not"):
        assert title in shown.stdout
    bad = runner.invoke(app, ["explain", str(file), "--why-not", "tpp=8"])
    assert bad.exit_code == 2
    assert "nearest: tp" in bad.stderr
