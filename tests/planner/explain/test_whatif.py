"""What if: the changed plan, and every figure ten times each way."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from planner import recommend, spec
from planner.cli import app
from planner.errors import NoFeasiblePlan, SpecError
from planner.explain import whatif
from planner.explain.levers import levers
from planner.explain.pool import fill, objectives
from planner.explain.whatif import what_if
from planner.workloads import training

pytestmark = pytest.mark.xdist_group("what if")  # one process plans for all
JOB: dict[str, Any] = {
    "workload": {
        "kind": "training",
        "model": "llama-3.1-8b",
        "sequence_length": 8192,
        "global_batch": 64,
        "tokens": 1e12,
    },
    "hardware": {"system": "dgx-h100", "devices": 16},
}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return _write(tmp_path, JOB)


def _write(folder: Path, job: dict[str, Any]) -> Path:
    path = folder / "job.yaml"
    path.write_text(json.dumps(job), "utf-8")
    return path


def _best(path: Path, *sets: str) -> Any:
    return recommend.plan(spec.load(path, sets=sets))


def test_both_plans_are_the_searchs(job: Path) -> None:
    sets = ("hardware.devices=8", "workload.global_batch=32")
    answer: Any = what_if(job, sets)
    for part, settings in (("base", ()), ("changed", sets)):
        planned = _best(job, *settings)
        assert answer[part]["strategy"] == planned["strategy"]
        assert answer[part]["prediction"] == planned["prediction"]
    assert answer["changed"]["devices"] == 8
    assert answer["note"].startswith("sensitivity of the changed plan on 8 x dgx-h100")


def test_without_settings_there_is_nothing_changed(job: Path) -> None:
    answer: Any = what_if(job)
    assert answer["changed"] == {}
    assert "sensitivity of the base plan" in answer["note"]
    figures = [(e["figure"], e["factor"]) for e in answer["sensitivity"]]
    assert len(figures) == len(set(figures)) == 16
    assert {factor for _, factor in figures} == {0.1, 10.0}


def test_sensitivity_moves_the_right_way(job: Path) -> None:
    answer: Any = what_if(job)
    now = answer["base"]["prediction"]
    for entry in answer["sensitivity"]:
        better = (entry["factor"] > 1.0) != entry["figure"].endswith(("latency_s", "_hour"))
        sign = 1.0 if better else -1.0
        assert sign * (now["step_time_s"] - entry["step_time_s"]) >= 0.0
        assert entry["best_step_time_s"] <= entry["step_time_s"]
        assert entry["changed"] == (entry["best_step_time_s"] < entry["step_time_s"])
        assert entry["exact"] and entry["feasible"]
    by = {(e["figure"], e["factor"]): e for e in answer["sensitivity"]}
    price = by["usd_per_device_hour", 10.0]
    assert price["cost_usd"] == pytest.approx(10 * now["cost_usd"])
    assert by["host_mtbf_s", 0.1]["goodput"] < now["goodput"] < by["host_mtbf_s", 10.0]["goodput"]
    assert by["node.bandwidth_bytes_per_s", 0.1]["step_time_s"] > now["step_time_s"]


@pytest.mark.parametrize("metric", ["step_time", "cost", "energy"])
def test_an_exact_answer_is_the_best_of_all(
    job: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small parts and a small pool, so that the search ends early where it may."""
    few = ("strategy.zero=1", "strategy.recompute=none", "strategy.offload=[]")
    given = spec.load(job, sets=[f"objective.metric={metric}", *few])
    pool = fill(given)
    cluster, (rows, as_given) = pool.context.cluster, pool.ranked()
    rivals = whatif._Rivals(pool, rows, as_given)
    monkeypatch.setattr(whatif, "PART", 32)
    monkeypatch.setattr(whatif, "MOST", 128)
    assert len(rows) > 128
    exact = 0
    for lever in levers(cluster):
        for factor in whatif.TIMES:
            entry = whatif._turned(rivals, lever, factor)
            changed, machine = lever.turn(given, cluster, factor)
            context = replace(training.make(changed, machine), stagings=pool.context.stagings)
            values = objectives(changed, context, pool.dims, rows)
            if entry["exact"]:
                exact += 1
                mine = training.cost(context, pool.plan(rows[np.argmin(values)]))
                assert entry["best_step_time_s"] == pytest.approx(float(mine.total_s[0]))
    assert 3 <= exact < len(levers(cluster)) * len(whatif.TIMES)


def test_a_job_without_a_plan_may_get_one(tmp_path: Path) -> None:
    job = {**JOB, "hardware": {**JOB["hardware"], "set": {"memory_bytes": 2e9}}}
    path = _write(tmp_path, job)
    answer: Any = what_if(path, ["hardware.set.memory_bytes=80.0e9"])
    assert "exceed the memory limit" in answer["base"]["infeasible"]
    assert answer["changed"]["prediction"]["fits"]
    with pytest.raises(NoFeasiblePlan, match="exceed the memory limit"):
        what_if(path)


def test_a_change_that_leaves_no_plan_says_which(job: Path) -> None:
    with pytest.raises(NoFeasiblePlan, match="^with hardware.set.memory_bytes=2e9: .*closest by"):
        what_if(job, ["hardware.set.memory_bytes=2e9"])


def test_a_choice_of_counts_is_held_at_the_best(tmp_path: Path) -> None:
    job = {**JOB, "hardware": {"system": "dgx-h100", "devices": [8, 16]}}
    answer: Any = what_if(_write(tmp_path, job))
    assert answer["base"]["devices"] == 16
    assert "on 16 x dgx-h100, system and count held" in answer["note"]


def test_limits_that_a_worse_machine_breaks_are_told(tmp_path: Path) -> None:
    step_s = _best(_write(tmp_path, JOB))["prediction"]["step_time_s"]
    rate = 64 * 8192 / (1.1 * step_s)
    path = _write(tmp_path, {**JOB, "constraints": {"min_tokens_per_s": rate}})
    entries: Any = what_if(path)["sensitivity"]
    slow = [e for e in entries if e["figure"] == "peak_flop_per_s" and e["factor"] == 0.1]
    assert [e["feasible"] for e in slow] == [False]
    fast = [e for e in entries if e["figure"] == "peak_flop_per_s" and e["factor"] == 10.0]
    assert [e["feasible"] for e in fast] == [True]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("hardware.devicess=8", "nearest: devices"),
        ("hardware.devices=none", "allowed: a whole number"),
        ("nothing", "write KEY=VALUE"),
    ],
)
def test_a_wrong_setting_is_one_message(job: Path, setting: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        what_if(job, [setting])
    assert said in str(error.value)


def test_the_command_shows_both_plans(job: Path) -> None:
    shown = CliRunner().invoke(app, ["what-if", str(job), "--set", "hardware.devices=8"])
    assert shown.exit_code == 0, shown.output
    assert "What changes" in shown.stdout
    assert "Sensitivity" in shown.stdout
