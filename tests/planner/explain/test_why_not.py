"""Why not another value: the plan for its own values, the best such plan, or what forbids it."""

from typing import Any

import pytest

from planner import recommend, spec
from planner.errors import SpecError
from planner.explain.chosen import Chosen, rebuild
from planner.explain.why_not import why_not

pytestmark = pytest.mark.xdist_group("why not")  # one process plans for all


def _chosen(**sections: Any) -> Chosen:
    job = {
        "workload": {
            "kind": "training",
            "model": "llama-3.1-8b",
            "sequence_length": 8192,
            "global_batch": 64,
        },
        "hardware": {"system": "dgx-h100", "devices": 16},
        **sections,
    }
    return rebuild(recommend.plan(spec.load_mapping(job)))


@pytest.fixture(scope="module")
def chosen() -> Chosen:
    return _chosen()


@pytest.mark.parametrize("key", ["tp", "cp", "pp", "dp", "zero", "zero_group", "recompute", "sp"])
def test_the_plans_own_value_gives_the_plan(chosen: Chosen, key: str) -> None:
    value = chosen.strategy[key]
    asked = "true" if value is True else "false" if value is False else value
    answer: Any = why_not(chosen, f"{key}={asked}")
    assert answer["because"] == "that is the plan"
    assert answer["prediction"]["step_time_s"] == chosen.prediction["step_time_s"]
    assert answer["numbers"]["slower_s"] == 0.0


def test_all_of_the_plans_values_give_the_plan(chosen: Chosen) -> None:
    keys = ("tp", "cp", "pp", "zero", "micro_batch", "recompute", "vpp")
    question = ",".join(f"{key}={chosen.strategy[key]}" for key in keys)
    assert why_not(chosen, question)["because"] == "that is the plan"


def test_another_value_is_the_search_with_it_pinned(chosen: Chosen) -> None:
    answer: Any = why_not(chosen, " pp = 2, tp = 4 ")
    job = chosen.job.model_copy(
        update={"strategy": chosen.job.strategy.model_copy(update={"pp": 2, "tp": 4})}
    )
    pinned: Any = recommend.plan(job)
    assert answer["strategy"] == pinned["strategy"]
    assert answer["prediction"] == pinned["prediction"]
    gap = sum(term["exposed_s"] for term in answer["delta"])
    assert gap == pytest.approx(answer["numbers"]["slower_s"])
    assert answer["numbers"]["slower_s"] > 0
    assert "slower" in answer["because"]


def test_a_list_is_a_set_of_allowed_values(chosen: Chosen) -> None:
    answer: Any = why_not(chosen, "tp=[4, 8],zero=1")
    assert answer["strategy"]["tp"] in (4, 8)
    assert answer["strategy"]["zero"] == 1


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("tp=3", "it cannot be: tp 3 does not divide devices 16"),
        ("ep=2", "it cannot be: ep 2, but the model has no experts"),
        ("tp=1,pp=1,cp=1,zero=0,offload=[]", "exceed the memory limit; the closest by"),
        ("placement={dp: node},tp=1,pp=1,cp=1", "no mesh can be built"),
    ],
)
def test_what_cannot_be_says_which_rule_or_memory(chosen: Chosen, question: str, said: str) -> None:
    answer = why_not(chosen, question)
    assert answer["possible"] is False
    assert said in str(answer["because"])


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("tpp=4", "nearest: tp"),
        ("hardware.devices=4", "unknown key 'hardware.devices'"),
        ("tp", "write KEY=VALUE"),
        ("", "write KEY=VALUE"),
        ("tp=", "write KEY=VALUE"),
        ("tp=~", "got null; give a value"),
        ("tp=4,tp=8", "is given twice"),
        ("tp=four", "got 'four'; allowed: a whole number"),
        ("tp=0", "got 0; allowed: a whole number from 1"),
        ("schedule=1f1", "nearest: 1f1b"),
        ("tp=[4", "not YAML"),
        ("placement={tp: rack}", "no network level 'rack'"),
        ("sharding={a: b}", "not supported yet"),
    ],
)
def test_a_wrong_question_is_one_message(chosen: Chosen, question: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        why_not(chosen, question)
    assert said in str(error.value)
    assert str(error.value).startswith("--why-not")


def test_the_jobs_own_pins_hold_while_they_can(chosen: Chosen) -> None:
    pinned = _chosen(strategy={"zero": 1, "pp": 2})
    held: Any = why_not(pinned, "tp=4")
    assert (held["strategy"]["zero"], held["strategy"]["pp"]) == (1, 2)
    dropped: Any = why_not(pinned, "tp=4,vpp=1,schedule=1f1b,dp=4,cp=1")
    assert dropped["because"].startswith("without the job's own pins (pp, zero), which exclude it")
    assert dropped["strategy"]["pp"] == 1


def test_a_value_left_out_for_convenience_may_be_better() -> None:
    """What a pin allows and the free search does not try is told as what it is."""
    chosen = _chosen(
        workload={
            "kind": "training", "model": "llama-3.1-8b", "sequence_length": 2048,
            "global_batch": 48,
        },
        hardware={"system": "dgx-h100", "devices": 8},
    )  # fmt: skip
    answer: Any = why_not(chosen, "micro_batch=[1,2,3,6]")
    assert answer["numbers"]["slower_s"] <= 0.0
    if answer["numbers"]["slower_s"] < 0.0:
        assert "a rule of convenience left it out" in answer["because"]
