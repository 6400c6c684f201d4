"""The figures of one plan follow from its price by the contract's formulas."""

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from hardware_profiles.load import load
from planner.plan.prediction import prediction, time_terms
from planner.workloads import training
from planner.workloads.training.graph import flop_per_token


def predicted(job, **strategy):
    context = context_of(job)
    return prediction(job, context, row(context, **strategy))


JOB = job_of(devices=16, batch=64, workload={"tokens": 1e11})


def test_rates_follow_from_the_step():
    made = predicted(JOB, tp=2, zero=1)
    tokens = 64 * 2048
    assert made["tokens_per_s_per_device"] == pytest.approx(tokens / made["step_time_s"] / 16)
    peak = load("dgx-h100").peak_flop_per_s["bf16"].value
    assert made["mfu"] == pytest.approx(made["model_flop_per_s_per_device"] / peak)
    assert 0 < made["mfu"] < 1


def test_model_flop_count_causal_attention_and_no_recomputation():
    """Contract, section 4: the causal half of attention, no recompute, no frozen gradients."""
    made, again = predicted(JOB, zero=1), predicted(JOB, zero=1, recompute="full")
    each = flop_per_token(JOB.workload.model, 2048, causal=True)
    for p in (made, again):
        assert p["model_flop_per_s_per_device"] == pytest.approx(
            p["tokens_per_s_per_device"] * each, rel=1e-9
        )
    assert again["step_time_s"] > made["step_time_s"]


def test_model_flop_of_adapters_leave_out_gradients_of_frozen_weights():
    job = job_of(workload={"task": "lora"})
    made = predicted(job)
    per_token = made["model_flop_per_s_per_device"] / made["tokens_per_s_per_device"]
    whole = flop_per_token(job.workload.model, 2048, causal=True)
    # forward and the gradients of inputs: two thirds of it, and a little for the adapters
    assert 0.64 * whole < per_token < 0.72 * whole


def test_the_run_follows_from_the_step():
    made = predicted(JOB, zero=1)
    assert made["steps"] == np.ceil(1e11 / (64 * 2048))
    assert made["time_to_train_s"] == pytest.approx(
        made["steps"] * made["step_time_s"] / made["goodput"]
    )
    rate = context_of(JOB).cluster.usd_per_device_hour
    assert made["cost_usd"] == pytest.approx(16 * made["time_to_train_s"] / 3600 * rate)
    assert made["finish_confidence"] == 0.9
    one = predicted(job_of(devices=16, batch=64), zero=1)
    assert one["time_to_train_s"] is None
    assert one["cost_usd"] == pytest.approx(16 * one["step_time_s"] / 3600 * rate)


def test_the_interval_holds_the_step_and_says_what_it_rests_on():
    made = predicted(JOB, zero=1)
    low, high = made["interval_s"]
    assert low < made["step_time_s"] < high
    assert made["interval_coverage"] == 0.9
    assert len(made["interval_basis"]) > 3


def test_sums_are_exact():
    made = predicted(JOB, tp=2, pp=2, zero=1)
    step = used = 0.0
    for term in made["time"]:
        step += term["exposed_s"]
    for item in made["memory"]:
        used += item["bytes"]
    assert step == made["step_time_s"]
    assert used == made["memory_bytes"]
    assert [s["stage"] for s in made["memory_by_stage"]] == [0, 1]
    assert max(s["bytes"] for s in made["memory_by_stage"]) == used


def test_fits_is_the_limit_s_verdict():
    assert predicted(JOB, zero=1)["fits"] is True
    tight = job_of(devices=16, batch=64, hardware={"set": {"memory_bytes": 5e9}})
    made = predicted(tight)
    assert made["fits"] is False
    assert made["memory_limit_bytes"] == pytest.approx(5e9 * 0.94)


def test_terms_are_shown_as_they_are_summed():
    context = context_of(JOB)
    price = training.cost(context, row(context, tp=2)).at(0)
    shown = time_terms(price)
    assert [t["name"] for t in shown] == [t.name for t in price.terms]
    assert [t["exposed_s"] for t in shown] == [taken(t.time_s) for t in price.terms]
    assert all(t["source"] for t in shown)


def test_every_figure_is_a_number_or_absent():
    made = predicted(job_of(model={**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}},
                            devices=16, batch=64), ep=8)  # fmt: skip
    for name, value in made.items():
        if isinstance(value, float):
            assert np.isfinite(value), name
            assert value >= 0, name


def test_what_follows_from_the_step_has_its_interval_too():
    made = predicted(JOB, zero=1)
    low, high = (end / made["step_time_s"] for end in made["interval_s"])
    assert made["time_to_train_interval_s"] == pytest.approx(
        [low * made["time_to_train_s"], high * made["time_to_train_s"]]
    )
    assert made["cost_usd_interval"] == pytest.approx(
        [low * made["cost_usd"], high * made["cost_usd"]]
    )
    assert predicted(job_of(devices=16, batch=64), zero=1)["time_to_train_interval_s"] is None


def test_a_deadline_s_chance_counts_failures_and_the_interval():
    mean_s = predicted(JOB, zero=1)["time_to_train_s"]

    def chance(times):
        limits = job_of(
            devices=16, batch=64, workload={"tokens": 1e11},
            constraints={"deadline_s": times * mean_s},
        )  # fmt: skip
        return predicted(limits, zero=1)["deadline_chance"]

    assert "deadline_chance" not in predicted(JOB, zero=1)
    tight, even, loose = chance(0.5), chance(1.0), chance(3.0)
    assert tight < 0.2 < even < 0.8 < 0.97 < loose
