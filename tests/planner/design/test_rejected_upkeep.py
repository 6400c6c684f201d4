"""Other upkeep: recovery and balance cost what asking for them costs."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from planner.design import rejected_upkeep
from planner.design.evened import evened
from planner.design.one_plan import OnePlan
from planner.design.rejected import Alternative

Make = Callable[..., OnePlan]
DENSE = {"model": "llama-3.1-8b", "devices": 64}
CUT = "tp: 2, cp: 2, pp: 2, vpp: 1, ep: 1, etp: 1, zero: 1, micro_batch: 1"


def costs(entries: Sequence[Alternative]) -> dict[str, dict[str, float]]:
    return {e["choice"]: e["cost"] for e in entries}


def pinned(strategy: Mapping[str, object], **changed: object) -> str:
    """Write a whole strategy as pins, with some keys changed."""
    return ", ".join(f"{k}: {v}".lower() for k, v in {**strategy, **changed}.items())


@pytest.mark.parametrize(
    ("choice", "rest"),
    [
        ("half the interval", "failure: {checkpoint_interval_s: HALF}"),
        ("double the interval", "failure: {checkpoint_interval_s: DOUBLE}"),
        ("blocking writes", "failure: {checkpoint_async: false}"),
        ("1 spare host", "failure: {spare_nodes: 1}"),
    ],
)
def test_another_recovery_costs_what_asking_for_it_costs(
    plan_of: Make, choice: str, rest: str
) -> None:
    common = {**DENSE, "strategy": CUT, "workload": "tokens: 1.0e12"}
    plan = plan_of(**common)
    interval_s = plan.figure("checkpoint_interval_s")
    rest = rest.replace("HALF", repr(interval_s / 2)).replace("DOUBLE", repr(interval_s * 2))
    other = plan_of(**common, rest=rest)
    cost = costs(rejected_upkeep.other_recovery(plan))[choice]
    for key in ("goodput", "time_to_train_s", "cost_usd"):
        assert cost[key] == pytest.approx(other.figure(key) - plan.figure(key), rel=1e-6), key
    if "interval" in choice:
        assert cost["goodput"] < 0  # the plan's interval is the best one


def test_a_pinned_interval_is_compared_with_the_best(plan_of: Make) -> None:
    rest = "failure: {checkpoint_interval_s: 20000, spare_nodes: 2}"
    plan = plan_of(**DENSE, strategy=CUT, workload="tokens: 1.0e12", rest=rest)
    found = costs(rejected_upkeep.other_recovery(plan))
    assert found["the best interval"]["goodput"] > 0
    assert {"3 spare hosts", "no spare host"} <= set(found)


def test_a_spare_that_pays_is_said_to(plan_of: Make) -> None:
    common = {**DENSE, "strategy": CUT, "workload": "tokens: 1.0e12"}
    often = plan_of(**common, rest="failure: {node_mtbf_s: 2.0e5}")
    entries = rejected_upkeep.other_recovery(often)
    spare = next(e for e in entries if e["choice"] == "1 spare host")
    assert spare["cost"]["cost_usd"] < 0
    assert "it would pay" in spare["because"]


def test_stage_flop_is_the_models(plan_of: Make) -> None:
    even = "layers_per_stage: [4, 4, 4, 4, 4, 4, 4, 4]"
    cut = f"tp: 2, cp: 1, pp: 4, vpp: 2, schedule: interleaved, {even}"
    plan = plan_of(**DENSE, strategy=cut)
    stages = rejected_upkeep.stage_flop(plan)
    assert len(stages) == 4
    assert sum(stages) == pytest.approx(plan.context.graph.flop_per_token())
    assert stages[3] > stages[1] == stages[2]  # the head stands on the last


def test_another_layout_costs_what_pinning_it_costs(plan_of: Make) -> None:
    even = "layers_per_stage: [8, 8, 8, 8]"
    cut = f"tp: 2, cp: 1, pp: 4, vpp: 1, micro_batch: 1, zero: 1, {even}"
    plan = plan_of(**DENSE, strategy=cut)
    entries = rejected_upkeep.other_balance(plan, evened(plan))
    cost = costs(entries)["a layer less on the last stage"]
    less = plan_of(**DENSE, strategy=pinned(plan.strategy, layers_per_stage=[8, 9, 8, 7]))
    assert cost["step_time_s"] == less.step_s - plan.step_s != 0.0


def test_a_better_layout_is_offered_for_pinning(plan_of: Make) -> None:
    layout = "layers_per_stage: [6, 8, 8, 10]"
    plan = plan_of(**DENSE, strategy=f"tp: 2, cp: 1, pp: 4, vpp: 1, zero: 1, {layout}")
    entries = rejected_upkeep.other_balance(plan, evened(plan))
    better = next(e for e in entries if e["choice"] == "a layer less on the last stage")
    assert better["cost"]["step_time_s"] < 0
    assert "worth pinning" in better["because"]
    pin = pinned(plan.strategy, **better["strategy"])
    assert plan_of(**DENSE, strategy=pin).step_s < plan.step_s


def test_even_experts_are_worth_what_imbalance_costs(plan_of: Make) -> None:
    common = {"model": "mixtral-8x7b", "devices": 64}
    plan = plan_of(**common, strategy="tp: 1, cp: 1, pp: 4, ep: 8, zero: 1")
    found = costs(rejected_upkeep.other_balance(plan, evened(plan)))
    assert found["experts in perfect balance"]["step_time_s"] < 0
