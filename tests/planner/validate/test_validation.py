"""Predicted against measured: errors, metrics, ranking, memory verdicts, reasons of skipping."""

import json

import pytest
from rows import GPT, job_of

from planner import recommend, spec
from planner.errors import SpecError
from planner.validate import validate
from planner.validate.prepared import prepare_all
from planner.workloads.training.graph import flop_per_token

STRATEGY = {"tp": 1, "pp": 1, "micro_batch": 1, "recompute": "none", "zero": 1}
TOKENS = 64 * 2048 / 8


def job(**strategy):
    return {
        "workload": {"kind": "training", "model": dict(GPT), "sequence_length": 2048,
                     "global_batch": 64, "precision": "bf16"},
        "hardware": {"system": "dgx-h100", "devices": 8},
        "strategy": {**STRATEGY, **strategy},
        "software": {"preset": "megatron-core"},
    }  # fmt: skip


def price(**strategy):
    """Price the job of a run through the other door."""
    pins = {**STRATEGY, "cp": 1, "offload": [], "schedule": "1f1b", "zero_group": 8, **strategy}
    if "tp" in strategy:
        pins["zero_group"] = 8 // strategy["tp"]
    return recommend.predict(job_of(devices=8, batch=64, strategy=pins))["prediction"]


@pytest.fixture
def judged(tmp_path):
    """Return a function from runs to the report of one file."""

    def make(runs, **source):
        path = tmp_path / "runs.yaml"
        whole = {"source": {"name": "lab", "noise": 0.02, **source}, "runs": runs}
        path.write_text(json.dumps(whole), "utf-8")
        return validate([path])

    return make


def run(name, measured, group=None, **strategy):
    return {"id": name, "group": group, "job": job(**strategy),
            "measured": {"outcome": "ok", **measured}}  # fmt: skip


def test_a_run_is_priced_as_predict_prices_it(judged):
    (entry,) = judged([run("a", {"step_time_s": 1.0}, tp=2)])["runs"]
    assert entry["predicted"] == pytest.approx(price(tp=2)["step_time_s"], rel=1e-12)
    assert entry["error"] == pytest.approx(entry["predicted"] - 1.0)
    assert entry["skipped"] is None


def test_throughputs_are_turned_into_time_first(judged):
    step = price()["step_time_s"]
    flop = flop_per_token(job_of().workload.model, 2048, causal=False)
    (slow,) = judged([run("a", {"tokens_per_s_per_device": TOKENS / (step / 2)})])["runs"]
    assert slow["metric"] == "tokens_per_s_per_device"
    assert slow["error"] == pytest.approx(1.0)  # twice as slow as measured
    rate = TOKENS * flop / (step * 2)
    (fast,) = judged([run("a", {"model_flop_per_s_per_device": rate})], attention_flop="full")[
        "runs"
    ]
    assert fast["error"] == pytest.approx(-0.5)
    assert fast["predicted"] == pytest.approx(TOKENS * flop / step)


def test_flop_are_compared_in_the_source_s_own_terms(judged):
    one = [run("a", {"model_flop_per_s_per_device": 4e14})]
    (full,), (causal,) = (judged(one, attention_flop=kind)["runs"] for kind in ("full", "causal"))
    assert full["predicted"] > causal["predicted"]
    assert full["error"] < causal["error"]


def test_the_first_metric_given_is_judged(judged):
    measured = {"step_time_s": 2.0, "tokens_per_s_per_device": 1.0}
    (entry,) = judged([run("a", measured)])["runs"]
    assert entry["metric"] == "step_time_s"
    assert entry["measured"] == 2.0


def test_open_choices_take_the_fastest_that_fits(judged):
    free = run("a", {"step_time_s": 1.0})
    for key in ("recompute", "micro_batch"):
        del free["job"]["strategy"][key]
    (entry,) = judged([free])["runs"]
    pins = {"tp": 1, "pp": 1, "cp": 1, "zero": 1, "zero_group": 8, "offload": [],
            "schedule": "1f1b", "vpp": 1}  # fmt: skip
    grid = [
        recommend.predict(
            job_of(devices=8, batch=64, strategy={**pins, "micro_batch": size, "recompute": mode},
                   constraints={"memory_reserve": 0.0})
        )["prediction"]
        for size in (1, 2, 4, 8) for mode in ("none", "full")
    ]  # fmt: skip
    fastest = min(p["step_time_s"] for p in grid if p["fits"])
    assert entry["predicted"] <= fastest * (1 + 1e-12)


def test_memory_verdicts_have_no_reserve(judged):
    used = price()["memory_bytes"]
    runs = []
    for name, size, outcome in (("fits", 1.001, "ok"), ("alarm", 0.999, "ok"),
                                ("oom", 0.999, "oom"), ("missed", 1.001, "oom")):  # fmt: skip
        one = run(name, {"step_time_s": 1.0, "outcome": outcome, "peak_memory_bytes": used * 2}
                  if outcome == "ok" else {"outcome": "oom"})  # fmt: skip
        one["job"]["hardware"]["set"] = {"memory_bytes": used * size}
        runs.append(one)
    report = judged(runs)
    fits = {e["id"]: e["fits"] for e in report["runs"]}
    assert fits == {"fits": True, "alarm": False, "oom": False, "missed": True}
    overall = report["summary"]["overall"]
    assert (overall["oom_right"], overall["oom_wrong"], overall["false_alarms"]) == (1, 1, 1)
    assert overall["memory_error"] == pytest.approx(0.5)
    assert overall["memory_bias"] == pytest.approx(-0.5)
    assert overall["timed"] == 2  # runs that did not fit took no time


GRID = [{"tp": t, "micro_batch": m} for t in (1, 2, 4) for m in (1, 2)]


def test_a_group_in_our_own_order_ranks_perfectly_and_reversed_worst(judged):
    steps = [price(**g)["step_time_s"] for g in GRID]
    same = [run(str(i), {"step_time_s": s}, "g", **g)
            for i, (g, s) in enumerate(zip(GRID, steps, strict=True))]  # fmt: skip
    report = judged(same)["summary"]["overall"]
    assert report["kendall_tau"] == 1.0
    assert report["top1_regret_mean"] == 0.0
    assert report["mean_absolute_error"] == pytest.approx(0.0, abs=1e-12)
    backwards = [run(str(i), {"step_time_s": 1 / s}, "g", **g)
                 for i, (g, s) in enumerate(zip(GRID, steps, strict=True))]  # fmt: skip
    report = judged(backwards)["summary"]["overall"]
    assert report["kendall_tau"] == -1.0
    assert report["top1_regret_mean"] == pytest.approx(max(steps) / min(steps) - 1)


def test_releases_of_one_job_are_one_entry_and_three_jobs_are_no_ranking(judged):
    runs = []
    for i, g in enumerate(GRID[:3]):
        for release in ("24.07", "24.09"):
            one = run(f"{i}-{release}", {"step_time_s": 1.0 + i}, "g", **g)
            one["job"]["software"] = {"preset": "megatron-core", "runtime": release}
            runs.append(one)
    assert judged(runs)["summary"]["overall"]["groups_ranked"] == 0


def test_releases_whose_recipes_differ_are_one_entry_too(judged):
    """What a release sets beside the job is its price, and no part of the job."""
    runs, seconds = [], {}
    for micro_batch in (1, 2, 4, 8):
        for release in ("26.04", "26.06"):
            name = f"{micro_batch}-{release}"
            one = run(name, {"step_time_s": 9.0 / micro_batch}, "g", tp=1, micro_batch=micro_batch)
            one["job"]["workload"] |= {"model": "qwen3-30b-a3b", "precision": "mxfp8"}
            one["job"]["hardware"]["system"] = "gb200-nvl72"
            runtime = f"Megatron-Bridge {release}"
            one["job"]["software"] = {"preset": "megatron-core", "runtime": runtime}
            runs.append(one)
    report = judged(runs)
    assert report["summary"]["overall"]["groups_ranked"] == 1
    seconds = {entry["id"]: entry["predicted"] for entry in report["runs"]}
    assert all(seconds[f"{m}-26.06"] < 0.9 * seconds[f"{m}-26.04"] for m in (1, 2, 4, 8))


def test_what_cannot_be_priced_is_skipped_with_its_reason(judged):
    serving = run("serving", {"ttft_s": 1.0})
    serving["job"]["workload"] = {"kind": "serving", "model": "llama-3.1-8b"}
    impossible = run("impossible", {"step_time_s": 1.0}, tp=3)
    unknown = run("unknown", {"step_time_s": 1.0})
    unknown["job"]["hardware"]["system"] = "dgx-h1000"
    several = run("several", {"step_time_s": 1.0})
    several["job"]["hardware"]["devices"] = [8, 16]
    report = judged([run("good", {"step_time_s": 1.0}), serving, impossible, unknown, several])
    reasons = {e["id"]: e["skipped"] for e in report["runs"]}
    assert reasons["good"] is None
    assert all(reasons[name] for name in ("serving", "impossible", "unknown", "several"))
    assert "dgx-h100" in reasons["unknown"]
    overall = report["summary"]["overall"]
    assert overall["count"] == 5
    assert overall["priced"] == 1
    assert sum(overall["skipped"].values()) == 4


def test_a_wrong_file_is_one_error(tmp_path):
    path = tmp_path / "runs.yaml"
    path.write_text("source: {name: x}\nruns: [{id: a, measured: {step_time: 1}}]\n", "utf-8")
    with pytest.raises(SpecError, match="step_time_s"):
        validate([path])


def test_sources_are_reported_apart_and_their_mean_is_over_sources(tmp_path):
    step = price()["step_time_s"]
    paths = []
    for name, errors in (("one", (0.5, 0.5, 0.5)), ("two", (0.1,))):
        path = tmp_path / f"{name}.yaml"
        runs = [run(f"{name}{i}", {"step_time_s": step / (1 + e)}) for i, e in enumerate(errors)]
        path.write_text(json.dumps({"source": {"name": name}, "runs": runs}), "utf-8")
        paths.append(path)
    report = validate(paths)["summary"]
    assert report["by_source"]["one"]["mean_absolute_error"] == pytest.approx(0.5)
    assert report["overall"]["mean_absolute_error"] == pytest.approx(0.4)
    assert report["overall"]["mean_over_sources"] == pytest.approx(0.3)
    assert report["overall"]["bias"] == pytest.approx(0.4)
    assert len(prepare_all(paths)) == 4
    assert spec.dump(prepare_all(paths)[0].job)["hardware"]["devices"] == 8
