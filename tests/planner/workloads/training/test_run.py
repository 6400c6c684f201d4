"""From the step to the run: steps, money, energy, deadlines."""

import math

import pytest
from rows import context_of, job_of, row, taken

from planner.workloads import training
from planner.workloads.training.run import checkpoint_bytes, economics


def run_of(job, **strategy):
    context = context_of(job)
    dims = row(context, **strategy)
    price = training.cost(context, dims).at(0)
    return economics(job, context, dims, price), taken(price.total_s)


def test_steps_are_whole_and_cover_the_tokens():
    tokens = 10 * 64 * 2048 + 1
    made, _ = run_of(job_of(workload={"tokens": float(tokens)}))
    assert made.steps == 11.0


def test_the_run_is_steps_times_step_time_over_goodput():
    made, step_s = run_of(job_of(workload={"tokens": 1e10}))
    steps = math.ceil(1e10 / (64 * 2048))
    assert taken(made.time_to_train_s) == pytest.approx(steps * step_s / taken(made.run.goodput))
    assert 0 < taken(made.run.goodput) < 1
    assert taken(made.finish_s) >= taken(made.time_to_train_s) * 0.99


def test_without_tokens_one_step_is_priced():
    job = job_of()
    made, step_s = run_of(job)
    rate = context_of(job).cluster.usd_per_device_hour
    assert made.steps is made.time_to_train_s is made.finish_s is None
    assert taken(made.cost_usd) == pytest.approx(8 * step_s / 3600 * rate)
    watts = taken(made.energy_j) / step_s / 8
    power = context_of(job).cluster.profile.power
    full = (power.device_w.value + power.host_w_per_device.value) * power.overhead.value
    idle = (power.idle_w.value + power.host_w_per_device.value) * power.overhead.value
    assert idle < watts <= full


def test_money_is_devices_times_hours_times_price():
    job = job_of(workload={"tokens": 1e10}, hardware={"usd_per_device_hour": 2.0})
    made, _ = run_of(job)
    assert taken(made.cost_usd) == pytest.approx(8 * taken(made.time_to_train_s) / 3600 * 2.0)


def test_spares_are_billed_and_keep_the_run_going():
    def with_spares(count):
        return run_of(
            job_of(devices=64, workload={"tokens": 1e13},
                   failure={"spare_nodes": count, "node_mtbf_s": 2e6})
        )[0]  # fmt: skip

    none, two = with_spares(0), with_spares(2)
    assert taken(two.run.goodput) > taken(none.run.goodput)
    rate = taken(two.cost_usd) / taken(two.time_to_train_s)
    assert rate == pytest.approx(taken(none.cost_usd) / taken(none.time_to_train_s) * 80 / 64)


def test_more_confidence_finishes_later():
    late, early = (
        taken(run_of(job_of(devices=512, batch=512, workload={"tokens": 1e12},
                            constraints={"confidence": c}))[0].finish_s)
        for c in (0.99, 0.5)
    )  # fmt: skip
    assert late > early


def test_a_checkpoint_holds_what_is_trained():
    context = context_of(job_of())
    parameters = sum(b.count * b.weights() for b in context.graph.blocks)
    assert checkpoint_bytes(context) == pytest.approx(14 * parameters)
    adapters = context_of(job_of(workload={"task": "lora"}))
    assert checkpoint_bytes(adapters) < 0.05 * checkpoint_bytes(context)


def test_a_pinned_checkpoint_interval_is_kept():
    made, _ = run_of(job_of(workload={"tokens": 1e12}, failure={"checkpoint_interval_s": 900.0}))
    assert taken(made.run.checkpoint_interval_s) == pytest.approx(900.0, rel=0.1)


def test_columns_are_rows():
    job = job_of(devices=64, batch=64, workload={"tokens": 1e12})
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    few = dims.part(0, 16)
    together = economics(job, context, few, training.cost(context, few))
    for i in (0, 7, 15):
        one = few.part(i, i + 1)
        alone = economics(job, context, one, training.cost(context, one))
        for name in ("time_to_train_s", "finish_s", "cost_usd", "energy_j"):
            assert getattr(together, name)[i] == taken(getattr(alone, name)), name
