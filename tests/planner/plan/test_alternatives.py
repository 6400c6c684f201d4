"""The runners-up, what pins cost, the frontier."""

import pytest
from rows import job_of

from planner.plan import alternatives
from planner.plan.prediction import prediction
from planner.planning.homogeneous import search
from planner.planning.searched import best_of


def searched(job):
    best = best_of(search(job))
    assert best is not None
    return best, prediction(job, best.context, best.best)


def shown(job):
    best, chosen = searched(job)
    return chosen, alternatives.runners_up(job, best, chosen)


def test_runners_up_are_other_meshes_and_none_is_better():
    chosen, others = shown(job_of(devices=32, batch=64))
    assert 1 <= len(others) <= alternatives.SHOWN
    meshes = {tuple(str(o["strategy"][k]) for k in alternatives.MESH) for o in others}
    assert len(meshes) == len(others)
    steps = [o["prediction"]["step_time_s"] for o in others]
    assert steps == sorted(steps)
    assert steps[0] >= chosen["step_time_s"]


def test_a_delta_is_the_difference_term_by_term_and_adds_up():
    chosen, others = shown(job_of(devices=32, batch=64))
    for other in others:
        gaps = [d["exposed_s"] for d in other["delta"]]
        assert [abs(g) for g in gaps] == sorted((abs(g) for g in gaps), reverse=True)
        assert all(g != 0 for g in gaps)
        total = other["prediction"]["step_time_s"] - chosen["step_time_s"]
        assert sum(gaps) == pytest.approx(total, abs=1e-12 * chosen["step_time_s"] * 100)
        assert other["why_worse"]


def test_why_worse_names_the_terms_that_lose():
    _, others = shown(job_of(devices=32, batch=64))
    for other in others:
        losers = [d["name"] for d in other["delta"] if d["exposed_s"] > 0]
        if losers and "slower" in other["why_worse"]:
            assert losers[0] in other["why_worse"]


def test_a_plan_that_is_faster_but_dearer_says_so():
    job = job_of(devices=64, batch=64, workload={"tokens": 1e10}, objective={"metric": "energy"})
    chosen, others = shown(job)
    quicker = [o for o in others if o["prediction"]["step_time_s"] < chosen["step_time_s"]]
    assert all("worse by the objective" in o["why_worse"] for o in quicker)
    assert all(o["prediction"]["energy_j"] >= chosen["energy_j"] for o in others)


def test_what_pins_cost():
    held = best_of(search(job_of(strategy={"tp": 8})))
    free = best_of(search(job_of()))
    made = alternatives.pins(held, free)
    assert made["cost_s"] == pytest.approx(held.objective - free.objective)
    assert made["cost_share"] == pytest.approx(held.objective / free.objective - 1)
    assert made["free_strategy"]["tp"] != 8
    assert alternatives.pins(held, None) is None


def test_the_frontier_prices_each_machine_s_best_plan():
    job = job_of(hardware={"devices": [8, 16, 32]}, workload={"tokens": 1e10})
    results = search(job)
    points = alternatives.frontier(job, results)
    assert [p["devices"] for p in points] == [8, 16, 32]
    for point, result in zip(points, results, strict=True):
        assert point["step_time_s"] == result.objective
        assert point["cost_usd"] > 0
        assert point["energy_j"] > 0
        assert point["time_to_train_s"] > 0


def test_a_machine_on_which_nothing_fits_is_not_on_the_frontier():
    model = {"name": "m", "layers": 64, "hidden": 8192, "ffn_hidden": 32768, "heads": 64,
             "vocab": 32000}  # fmt: skip
    job = job_of(model=model, hardware={"devices": [1, 64]}, batch=64)
    points = alternatives.frontier(job, search(job))
    assert [p["devices"] for p in points] == [64]
