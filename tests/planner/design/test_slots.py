"""The six slots: filled, with prices that are those of the plan with one thing changed."""

import re
from collections.abc import Callable, Mapping

from planner.design import rejected, rejected_upkeep, slots
from planner.design.one_plan import OnePlan
from planner.plan import alternatives
from planner.planning.homogeneous import search
from planner.planning.searched import best_of

Make = Callable[..., OnePlan]
SLOTS = (
    "partition",
    "communication",
    "consistency",
    "coordination",
    "fault_tolerance",
    "load_balancing",
)
DENSE = {"model": "llama-3.1-8b", "devices": 64}
CUT = "tp: 2, cp: 2, pp: 2, vpp: 1, ep: 1, etp: 1, zero: 1, micro_batch: 1"


def fill(plan: OnePlan, *others: dict[str, object]) -> dict[str, dict[str, object]]:
    made = slots.fill(plan.job, plan.context, plan.strategy, plan.prediction, others)
    assert tuple(made) == SLOTS
    filled: dict[str, dict[str, object]] = {}
    for name, slot in made.items():
        assert isinstance(slot, dict)
        assert set(slot) - {"numbers"} == {"choice", "because", "alternatives"}
        filled[name] = slot
    return filled


def costs(slot: Mapping[str, object]) -> dict[str, dict[str, float]]:
    entries = slot["alternatives"]
    assert isinstance(entries, list)
    assert all({"choice", "cost", "because"} <= set(e) for e in entries)
    return {e["choice"]: e["cost"] for e in entries}


def test_every_slot_is_filled_and_says_what_it_was_preferred_to(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT, workload="tokens: 1.0e12")
    slots = fill(plan)
    assert slots["partition"]["choice"] == "dp 8, tp 2, cp 2, pp 2, zero 1 over 16"
    assert slots["consistency"]["choice"] == "synchronous"
    for name in SLOTS[1:]:
        assert costs(slots[name]), name


def test_the_runners_up_are_the_rejected_partitions(plan_of: Make) -> None:
    plan = plan_of(**DENSE)
    best = best_of(search(plan.job))
    assert best is not None
    others = alternatives.runners_up(plan.job, best, plan.prediction)
    assert others
    entries = fill(plan, *others)["partition"]["alternatives"]
    assert isinstance(entries, list)
    assert len(entries) == len(others) <= 5
    for entry, other in zip(entries, others, strict=True):
        other_prediction = other["prediction"]
        assert isinstance(other_prediction, dict)
        assert entry["cost"]["step_time_s"] == other_prediction["step_time_s"] - plan.step_s >= 0
        assert entry["because"] == other["why_worse"]


def test_one_device_has_nothing_to_reject_between_ranks(plan_of: Make) -> None:
    slots = fill(plan_of("mpt-125m", 1, workload="tokens: 1.0e9"))
    assert slots["communication"]["choice"] == slots["coordination"]["choice"] == "none"
    for name in ("communication", "consistency", "coordination", "load_balancing"):
        assert slots[name]["alternatives"] == []


def test_the_exchange_of_every_axis_is_named(plan_of: Make) -> None:
    sharded = fill(plan_of(**DENSE, strategy=f"{CUT}, sp: true, cp_comm: p2p"))
    choice = str(sharded["communication"]["choice"])
    assert re.fullmatch(
        r"tp: reduce-scatter and all-gather of [\d.]+ MB by ring; cp: p2p;"
        r" pp: sends to the next stage;"
        r" dp: reduce-scatter and all-gather of [\d.]+ MB by (ring|hierarchical)",
        choice,
    ), choice
    numbers = sharded["communication"]["numbers"]
    assert isinstance(numbers, dict)
    assert numbers["tp_algorithm"] == "ring"
    assert set(numbers) == {
        "tp_message_bytes", "tp_algorithm", "dp_message_bytes", "dp_algorithm"
    }  # fmt: skip
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 1, pp: 4, vpp: 1, zero: 0, micro_batch: 1")
    used = [n for n, more_s in rejected.algorithm_prices(plan, "dp").items() if not more_s]
    slot = fill(plan)["communication"]
    assert re.search(rf"dp: all-reduce of [\d.]+ MB by ({'|'.join(used)})", str(slot["choice"]))
    assert "dp: ring all-reduce" in costs(slot)


def test_a_pinned_interval_is_called_pinned(plan_of: Make) -> None:
    common = {**DENSE, "strategy": CUT, "workload": "tokens: 1.0e12"}
    pinned = plan_of(**common, rest="failure: {checkpoint_interval_s: 20000, spare_nodes: 2}")
    slot = fill(pinned)["fault_tolerance"]
    assert "the pinned interval" in str(slot["because"])
    assert "every 2e+04 s of work, 2 spare hosts" in str(slot["choice"])
    assert "the best interval" in str(fill(plan_of(**common))["fault_tolerance"]["because"])


def test_the_balance_names_stages_and_experts(plan_of: Make) -> None:
    plan = plan_of("mixtral-8x7b", 64, strategy="tp: 1, cp: 1, pp: 4, ep: 8, zero: 1")
    because = str(fill(plan)["load_balancing"]["because"])
    flop = rejected_upkeep.stage_flop(plan)
    assert f"the fullest stage has {max(flop) * 4 / sum(flop) - 1:.1%} more FLOP" in because
    assert "1.15 times the mean" in because
