"""The three ceilings: hand arithmetic, what is assumed, and where each begins to bind."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import spec
from planner.cluster.choices import clusters
from planner.design import ceilings
from planner.design.ceilings import Ceiling, Ceilings
from planner.design.one_plan import OnePlan
from planner.models.count import count
from planner.models.load import load
from planner.workloads import training

DAY_S = 86400.0


def found(
    model: str = "llama-3.1-8b", *, workload: str = "", rest: str = "", devices: int = 8
) -> tuple[Ceilings, training.Context]:
    job = spec.load(
        f"workload: {{kind: training, model: {model}, sequence_length: 4096, global_batch: 512,"
        f" {workload}}}\nhardware: {{system: dgx-h100, devices: {devices}}}\n{rest}\n"
    )
    context = training.make(job, clusters(job.hardware)[0])
    return ceilings.of_training(job, context), context


def test_a_ceiling_is_a_need_over_what_there_is() -> None:
    over = Ceiling("model", need=400.0, have=100.0, unit="bytes")
    assert (over.times, over.binds, over.pressure) == (4.0, True, 0.75)
    exact = Ceiling("model", need=100.0, have=100.0, unit="bytes")
    assert (exact.times, exact.binds, exact.pressure) == (1.0, False, 0.0)
    nothing = Ceiling("data", need=0.0, have=100.0, unit="bytes")
    assert (nothing.binds, nothing.pressure) == (False, 0.0)


def test_the_figures_are_hand_arithmetic() -> None:
    made, context = found(workload="tokens: 1.0e12")
    flop = context.graph.flop_per_token()
    rate = context.rates.matmul.flop_per_s
    assert made.device_run_s == pytest.approx(1e12 * flop / rate)
    assert made.throughput.need == pytest.approx(made.device_run_s / 8)
    assert made.throughput.have == 30 * DAY_S
    assert made.data.need == 4e12
    assert made.data.have == 8 * 256e9 + 8 * 3.84e12  # the profile's memory, the assumed disk
    assert made.model.have == 85e9 * 0.94
    assert made.machine_devices == 8


def test_the_model_needs_its_states_and_a_little_more() -> None:
    made, context = found()
    parameters = count(load("llama-3.1-8b")).total
    each = (
        context.parameter_bytes
        + context.gradient_bytes
        + context.master_bytes
        + context.moment_bytes
    )
    assert parameters * each < made.model.need < parameters * each * 1.2


def test_tokens_not_given_are_twenty_for_each_active_parameter() -> None:
    made, _ = found("mixtral-8x7b")
    assert made.run.tokens == 20.0 * count(load("mixtral-8x7b")).active
    assert made.run.because.startswith("assumed")
    assert found(workload="tokens: 5.0e9")[0].run.tokens == 5e9


def test_a_tuning_run_without_tokens_is_not_judged_by_time() -> None:
    made, _ = found(workload="task: sft")
    assert made.run.tokens is None
    assert made.throughput.need == made.data.need == 0.0
    assert [c.name for c in made.binding] == ["model"]


def test_a_token_rate_is_judged_without_the_runs_length() -> None:
    rate = found(workload="task: sft", rest="constraints: {min_tokens_per_s: 1.0e7}")[0]
    slow = found(workload="task: sft", rest="constraints: {min_tokens_per_s: 1.0e3}")[0]
    assert rate.throughput.binds
    assert not slow.throughput.binds
    assert rate.throughput.times == pytest.approx(1e4 * slow.throughput.times)


def test_the_stricter_of_deadline_and_rate_holds() -> None:
    tokens = "tokens: 1.0e12"
    day = found(workload=tokens, rest=f"constraints: {{deadline_s: {DAY_S}}}")[0]
    assert (day.throughput.have, day.patience) == (DAY_S, "the deadline")
    both = found(
        workload=tokens, rest=f"constraints: {{deadline_s: {DAY_S}, min_tokens_per_s: 1.0e8}}"
    )[0]
    assert both.throughput.have == 1e12 / 1e8
    loose = found(
        workload=tokens, rest=f"constraints: {{deadline_s: {DAY_S}, min_tokens_per_s: 1.0}}"
    )[0]
    assert loose.throughput.have == DAY_S


def test_each_ceiling_binds_just_past_its_break_even() -> None:
    made, _ = found("mpt-125m", workload="tokens: 1.0e9")
    last = 1e9 / made.throughput.times
    assert not found("mpt-125m", workload=f"tokens: {last * 0.999:.6e}")[0].throughput.binds
    assert found("mpt-125m", workload=f"tokens: {last * 1.001:.6e}")[0].throughput.binds
    fits = made.data.have / 4.0
    assert not found("mpt-125m", workload=f"tokens: {fits * 0.999:.6e}")[0].data.binds
    assert found("mpt-125m", workload=f"tokens: {fits * 1.001:.6e}")[0].data.binds


def test_binding_ceilings_are_ordered_by_how_far_they_are_exceeded() -> None:
    made, _ = found("llama-3.1-405b", workload="tokens: 15.0e12")
    assert [c.name for c in made.binding] == ["throughput", "model", "data"]
    times = [c.times for c in made.binding]
    assert times == sorted(times, reverse=True)


def test_devices_needed_lift_every_ceiling() -> None:
    made, _ = found("llama-3.1-405b", workload="tokens: 15.0e12")
    lifted = made.devices_needed
    assert made.device_run_s / lifted <= made.throughput.have
    assert made.model.need / lifted <= made.model.have
    assert made.data.need / (lifted / 8) <= made.data.have
    assert made.device_run_s / (lifted - 1) > made.throughput.have
    assert found("mpt-125m", workload="tokens: 1.0e9")[0].devices_needed == 1


def test_a_corpus_asks_for_machines() -> None:
    made, _ = found("mpt-125m", workload="tokens: 1.0e14", rest="constraints: {deadline_s: 1.0e9}")
    assert [c.name for c in made.binding] == ["data"]
    assert made.devices_needed == 8 * math.ceil(4e14 / made.data.have) == 8 * 13


def test_the_models_need_is_the_most_frugal_plans(plan_of: Callable[..., OnePlan]) -> None:
    def used(recompute: str) -> float:
        strategy = f"micro_batch: 1, zero: 0, recompute: {recompute}"
        plan = plan_of("mpt-125m", 1, length=8192, batch=64, strategy=strategy)
        need = ceilings.of_training(plan.job, plan.context).model.need
        assert need <= plan.figure("memory_bytes")
        return plan.figure("memory_bytes") / need

    assert used("full") == pytest.approx(1.0)
    assert used("none") > 1.05


@given(st.floats(1e6, 1e14), st.floats(1.0, 1e4))
def test_more_tokens_never_lower_a_ceiling(tokens: float, times: float) -> None:
    few = found("mpt-125m", workload=f"tokens: {tokens:.9e}")[0]
    many = found("mpt-125m", workload=f"tokens: {tokens * times:.9e}")[0]
    assert many.throughput.pressure >= few.throughput.pressure
    assert many.data.pressure >= few.data.pressure
    assert many.devices_needed >= few.devices_needed
    assert many.model == few.model
