"""A plan, read: its columns are the strategy, its sums are the prediction's."""

from collections.abc import Callable

import pytest

from costmodels.units import scalar
from planner.design.one_plan import OnePlan
from planner.workloads import training

PINNED = {
    "dense": ("llama-3.1-8b", 16, "tp: 2, cp: 2, pp: 2, zero: 1, micro_batch: 1"),
    "partial recompute": ("llama-3.1-8b", 16, "tp: 4, pp: 4, recompute: {full: 3}"),
    "interleaved": ("llama-3.1-8b", 16, "tp: 2, pp: 4, vpp: 4, schedule: interleaved"),
    "offload": ("llama-3.1-8b", 16, "tp: 2, offload: [optimizer], zero: 1"),
    "experts": ("mixtral-8x7b", 32, "ep: 8, pp: 4"),
}


@pytest.mark.parametrize("name", PINNED)
def test_columns_are_the_strategy(plan_of: Callable[..., OnePlan], name: str) -> None:
    model, devices, strategy = PINNED[name]
    plan = plan_of(model, devices, strategy=strategy)
    assert training.strategy_of(plan.context, plan.dims(), 0) == plan.strategy
    price = training.cost(plan.context, plan.dims())
    assert scalar(price.total_s) == plan.step_s
    assert scalar(price.total_bytes) == plan.figure("memory_bytes")


def test_changed_columns_change_alone(plan_of: Callable[..., OnePlan]) -> None:
    plan = plan_of("llama-3.1-8b", 16, strategy="tp: 2, cp: 2, pp: 2, zero: 1")
    before, after = plan.dims().row(0), plan.dims(zero=0.0).row(0)
    assert {key for key in before if before[key] != after[key]} == {"zero"}


def test_sums_are_of_the_terms(plan_of: Callable[..., OnePlan]) -> None:
    plan = plan_of("llama-3.1-8b", 16, strategy="tp: 2, cp: 2, pp: 2, zero: 1")
    terms = plan.prediction["time"]
    assert isinstance(terms, list)
    kinds = {t["kind"] for t in terms}
    assert plan.seconds(*kinds) == pytest.approx(plan.step_s)
    exposed = sum(t["exposed_s"] for t in terms if t["kind"] in {"tp", "cp", "ep", "dp", "pp"})
    assert plan.communication_s == exposed > 0
    work = sum(t["exposed_s"] for t in terms if t["kind"] in {"compute", "hbm", "host"})
    assert plan.comm_to_compute == pytest.approx((plan.communication_s + plan.hidden_s) / work)
    assert plan.named_s("optimizer step") > 0
    assert plan.named_s("no such term") == 0.0


def test_bytes_by_level_and_by_axis_are_the_same_bytes(plan_of: Callable[..., OnePlan]) -> None:
    plan = plan_of("llama-3.1-8b", 16, strategy="tp: 2, cp: 2, pp: 2, zero: 1")
    assert set(plan.level_bytes()) == {"node", "cluster"}
    assert set(plan.axis_bytes()) == {"tp", "cp", "pp", "dp"}
    assert sum(plan.level_bytes().values()) == pytest.approx(sum(plan.axis_bytes().values()))


def test_what_the_job_does_not_give_is_none(plan_of: Callable[..., OnePlan]) -> None:
    plan = plan_of("llama-3.1-8b", 16, strategy="tp: 2")
    assert plan.given("steps") is None
    assert plan_of("llama-3.1-8b", 16, strategy="tp: 2", workload="tokens: 1.0e9").given("steps")
