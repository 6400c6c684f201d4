"""The number that chose the plan is the number in the report: every example, every figure."""

import oracle
import pytest
from plans import devices_of, exact_sum, examples, names, pinned, planned

every_example = pytest.mark.parametrize("name", examples())


@every_example
def test_the_terms_add_up_to_the_step_to_the_last_digit(name):
    prediction = planned(name)["prediction"]
    assert exact_sum(prediction["time"], "exposed_s") == prediction["step_time_s"]


@every_example
def test_the_footprints_add_up_to_the_memory_to_the_last_digit(name):
    prediction = planned(name)["prediction"]
    assert exact_sum(prediction["memory"], "bytes") == prediction["memory_bytes"]
    assert max(s["bytes"] for s in prediction["memory_by_stage"]) == prediction["memory_bytes"]
    assert prediction["fits"] is True
    assert prediction["memory_bytes"] <= prediction["memory_limit_bytes"]


@every_example
def test_predicting_the_strategy_gives_the_prediction_to_the_byte(name):
    import json

    plan = planned(name)
    again = pinned(plan, plan["strategy"])
    assert json.dumps(again["prediction"]) == json.dumps(plan["prediction"])
    assert json.dumps(again["strategy"]) == json.dumps(plan["strategy"])
    # one candidate a pool that holds whole copies; one for a pipeline that crosses pools
    pools = len(plan["job"]["hardware"].get("pools", ()))
    crosses = len(plan["strategy"].get("stages") or ()) == plan["strategy"]["pp"]
    assert again["search"]["candidates"] == (1 if crosses else max(1, pools))


@every_example
def test_what_chose_the_plan_is_what_it_shows(name):
    plan = planned(name)
    metric = plan["job"]["objective"]["metric"]
    shown = plan["search"]["objective"]
    prediction = plan["prediction"]
    if metric in ("step_time", "latency"):
        updates = prediction.get("updates", {"factor": 1.0})["factor"]  # 1 where synchronous
        assert shown == prediction["step_time_s"] * updates
    elif metric == "cost":
        assert shown == prediction["cost_usd"]
    elif metric == "devices":
        # ties are told apart by less than a millionth of a device
        assert 0 <= shown - devices_of(plan) < 1e-6
    else:
        pytest.fail(f"no rule here for the metric {metric}")
    assert plan["search"]["bound"] <= shown
    assert plan["search"]["gap"] == 0.0 or plan["search"]["status"] != "optimal"


@every_example
def test_the_plan_is_a_point_of_its_own_scaling(name):
    plan = planned(name)
    devices = devices_of(plan)
    here = [p for p in plan["scaling"]["points"] if p["devices"] == devices]
    assert [p["step_time_s"] for p in here] == [plan["prediction"]["step_time_s"]]


@every_example
def test_alternatives_and_the_frontier_are_priced_as_the_plan_is(name):
    import json

    plan = planned(name)
    for other in plan["alternatives"][:1]:
        again = pinned(plan, other["strategy"])
        assert json.dumps(again["prediction"]) == json.dumps(other["prediction"])
        gap = {d["name"]: d["exposed_s"] for d in other["delta"]}
        mine = {t["name"]: t["exposed_s"] for t in plan["prediction"]["time"]}
        theirs = {t["name"]: t["exposed_s"] for t in other["prediction"]["time"]}
        gaps = {n: theirs.get(n, 0.0) - mine.get(n, 0.0) for n in {**mine, **theirs}}
        assert gap == {name: more for name, more in gaps.items() if more}
    chosen = {p["devices"]: p for p in plan["frontier"] if p["strategy"] == plan["strategy"]}
    if plan["frontier"]:
        point = chosen[devices_of(plan)]
        assert point["step_time_s"] == plan["prediction"]["step_time_s"]
        assert point["cost_usd"] == plan["prediction"]["cost_usd"]


PLAIN = ("gpt3-175b-1024-a100", "gpt-1t-3072-a100", "llama3-70b-1024-h100", "llama3-70b-64-h100",
         "llama3-405b-16384-h100", "llama3-8b-8-h100", "llama-7b-8-v100", "training",
         "mixtral-8x22b-256-h100", "qwen3-235b-256-b200", "llama3-8b-1m-context-h200",
         "which-machine-llama3-70b", "llama2-13b-spot-deadline",
         "internvl-78b-256-h100")  # fmt: skip
"""Examples of models and networks that the oracle knows."""


@pytest.mark.parametrize("name", examples(*PLAIN))
def test_an_example_costs_what_plain_loops_say(name):
    plan = planned(name)
    seconds, held = oracle.price(plan["job"], plan["strategy"])
    step = plan["prediction"]["step_time_s"]
    for term in plan["prediction"]["time"]:
        ours, theirs = term["exposed_s"], seconds.get(term["name"], 0.0)
        assert abs(ours - theirs) < 1e-9 * step, term["name"]
    assert sum(seconds.values()) == pytest.approx(step, rel=1e-9)
    assert sum(held.values()) == pytest.approx(plan["prediction"]["memory_bytes"], rel=1e-9)


def test_the_oracle_covers_all_examples_but_those_that_say_why():
    unknown = {
        "deepseek-v3-2048-h100": "multi-latent attention and multi-token prediction",
        "llama2-70b-256-v5p": "a torus",
        "llama3-70b-64-a100-32-h100": "pools; tests/planner/planning/test_pooled.py prices each",
        "llama3-8b-lora-8-a100": "adapters and packed documents",
        "llama2-13b-4-sites": "local updates between sites",
    }
    assert set(names()) == set(PLAIN) | set(unknown)
