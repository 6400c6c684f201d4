"""The path from a job to its plan: objectives, limits, choices, pins, refusals."""

import json
from functools import cache

import pytest
from rows import job_of

from planner import recommend, spec
from planner.errors import NoFeasiblePlan, TimeLimitReached

KEYS = {
    "schema_version", "job", "provenance", "checklist", "design", "axes", "patterns", "strategy",
    "prediction", "scaling", "search", "alternatives", "frontier",
}  # fmt: skip
RUN = {"tokens": 1e11}


def plan(**given):
    return recommend.plan(job_of(**given))


def figure(made, name):
    return made["prediction"][name]


def test_a_plan_holds_the_keys_of_the_contract():
    made = plan()
    assert set(made) >= KEYS
    assert list(made)[0] == "schema_version"
    json.dumps(made, allow_nan=False)
    assert set(made["checklist"]) == {"ceiling", "axis", "topology", "mode", "metric", "tax"}
    assert set(made["design"]) == {
        "partition", "communication", "consistency", "coordination", "fault_tolerance",
        "load_balancing",
    }  # fmt: skip
    assert all(0.0 <= value <= 1.0 for value in made["axes"].values())
    assert sum(p["share"] for p in made["patterns"]) == pytest.approx(1.0)
    bases = {f["basis"] for f in made["provenance"]["figures"]}
    assert bases <= {"datasheet", "measured", "fitted", "assumed"}


def test_the_job_in_a_plan_is_resolved_to_one_machine():
    made = plan(hardware={"system": ["dgx-a100-80gb", "dgx-h100"], "devices": [8, 16]})
    assert made["job"]["hardware"]["system"] == "dgx-h100"
    assert made["job"]["hardware"]["devices"] == 16
    assert made["job"]["workload"]["model"]["layers"] == 8
    again = spec.load(json.dumps(made["job"]))
    assert again.hardware.devices == 16


@pytest.mark.parametrize(
    ("metric", "figure_of"),
    [
        ("step_time", lambda p: p["step_time_s"]),
        ("cost", lambda p: p["cost_usd"]),
        ("energy", lambda p: p["energy_j"]),
        ("time_to_train", lambda p: p["time_to_train_s"]),
        ("throughput", lambda p: -p["tokens_per_s_per_device"]),
        ("reliability", lambda p: -p["goodput"]),
    ],
)
def test_each_objective_has_the_best_figure_of_its_kind(metric, figure_of):
    """Over two counts and two systems, no other objective's plan is better in this figure."""
    own = figure_of(_by(metric))
    for other in ("step_time", "cost", "energy", "throughput"):
        theirs = figure_of(_by(other))
        # reliability tells ties apart by a millionth of the step
        assert own <= theirs + 1e-6 * abs(theirs), other


@cache
def _by(metric):
    given = {"workload": RUN, "batch": 256,
             "hardware": {"system": ["dgx-a100-80gb", "dgx-h100"], "devices": [8, 64]}}  # fmt: skip
    return plan(objective={"metric": metric}, **given)["prediction"]


def test_the_fewest_devices_that_keep_a_deadline():
    given = {"batch": 512, "workload": RUN, "objective": {"metric": "devices"},
             "hardware": {"system": "dgx-h100", "devices": {"min": 8, "max": 256}}}  # fmt: skip
    free = plan(**given)
    assert free["job"]["hardware"]["devices"] == 8
    deadline = figure(free, "finish_s") / 5
    kept = plan(constraints={"deadline_s": deadline}, **given)
    devices = kept["job"]["hardware"]["devices"]
    assert figure(kept, "finish_s") <= deadline
    assert devices > 8
    fewer = {**given, "hardware": {"system": "dgx-h100", "devices": devices - 8}}
    with pytest.raises(NoFeasiblePlan, match="deadline_s"):
        plan(constraints={"deadline_s": deadline}, **fewer)


def test_a_budget_is_kept_with_the_stated_confidence():
    given = {"batch": 512, "workload": RUN,
             "hardware": {"system": "dgx-h100", "devices": [8, 64, 256]}}  # fmt: skip
    cheap = plan(objective={"metric": "cost"}, **given)
    budget = figure(cheap, "cost_usd") * 1.02
    made = plan(constraints={"max_cost_usd": budget}, **given)
    fast = plan(**given)
    assert figure(made, "cost_usd") <= budget < figure(fast, "cost_usd")
    assert figure(made, "step_time_s") >= figure(fast, "step_time_s")


def test_a_token_rate_is_kept():
    given = {"objective": {"metric": "devices"}, "batch": 512,
             "hardware": {"system": "dgx-h100", "devices": [8, 16, 32, 64]}}  # fmt: skip
    tokens = 512 * 2048
    slow = plan(**given)
    rate = 3 * tokens / figure(slow, "step_time_s")
    made = plan(constraints={"min_tokens_per_s": rate}, **given)
    assert tokens / figure(made, "step_time_s") >= rate
    assert made["job"]["hardware"]["devices"] > slow["job"]["hardware"]["devices"]


def test_no_time_gives_no_plan():
    with pytest.raises(TimeLimitReached):
        recommend.plan(job_of(), time_limit_s=0.0)


def test_plenty_of_time_changes_nothing():
    made, limited = plan(), recommend.plan(job_of(), time_limit_s=600.0)
    assert limited["strategy"] == made["strategy"]
    assert limited["search"]["status"] == made["search"]["status"] == "optimal"


def test_progress_is_told():
    said = []
    recommend.plan(job_of(), progress=lambda phase, done, total: said.append((phase, done, total)))
    assert said
    assert all(0 < done <= total for _, done, total in said)
    assert all("dgx-h100" in phase for phase, _, _ in said)


def test_what_a_pin_costs_is_said():
    made = plan(strategy={"tp": 8, "recompute": "full"})
    free = plan()
    pins = made["pins"]
    assert pins["step_time_s"] == figure(made, "step_time_s")
    assert pins["free_step_time_s"] == figure(free, "step_time_s")
    assert pins["cost_s"] == pins["step_time_s"] - pins["free_step_time_s"] > 0
    assert pins["free_strategy"] == free["strategy"]
    assert "pins" not in free


def test_a_pinned_plan_that_does_not_fit_is_priced_by_predict_and_refused_by_plan():
    strategy = {"tp": 1, "pp": 1, "cp": 1, "zero": 0, "recompute": "none", "micro_batch": 8}
    job = job_of(strategy=strategy, hardware={"set": {"memory_bytes": 16e9}})
    priced = recommend.predict(job)
    assert priced["prediction"]["fits"] is False
    assert priced["prediction"]["memory_bytes"] > priced["prediction"]["memory_limit_bytes"]
    assert priced["prediction"]["step_time_s"] > 0
    with pytest.raises(NoFeasiblePlan, match="memory"):
        recommend.plan(job)


def test_a_prediction_is_not_bound_by_deadlines():
    """A price is asked for, not whether the run keeps its limits."""
    made = recommend.predict(
        job_of(workload=RUN, constraints={"deadline_s": 1.0}, strategy={"tp": 2})
    )
    assert made["prediction"]["finish_s"] > 1.0


def test_what_is_left_free_takes_its_best_value():
    partly = recommend.predict(job_of(strategy={"tp": 4}))
    best = plan(strategy={"tp": 4})
    assert partly["strategy"] == best["strategy"]
    assert partly["prediction"] == best["prediction"]


def test_a_plan_offloads_only_where_nothing_else_fits():
    tight = {"set": {"memory_bytes": 9e9}}
    model = {"name": "m", "layers": 8, "hidden": 4096, "ffn_hidden": 16384, "heads": 32,
             "vocab": 32000}  # fmt: skip
    roomy = plan(model=model, devices=2, batch=8)
    assert roomy["strategy"]["offload"] == []
    made = plan(model=model, devices=2, batch=8, hardware=tight)
    assert "optimizer" in made["strategy"]["offload"]
    assert made["prediction"]["fits"] is True


def test_the_frontier_has_a_point_for_every_machine_that_can_do_it():
    made = plan(hardware={"system": ["dgx-a100-80gb", "dgx-h100"], "devices": [8, 16]})
    assert {(p["system"], p["devices"]) for p in made["frontier"]} == {
        ("dgx-a100-80gb", 8), ("dgx-a100-80gb", 16), ("dgx-h100", 8), ("dgx-h100", 16),
    }  # fmt: skip
    assert min(p["step_time_s"] for p in made["frontier"]) == figure(made, "step_time_s")
    assert plan()["frontier"] == []
