"""The six slots: filled, with prices that are those of the plan with one thing changed."""

from collections.abc import Callable, Mapping

import pytest

from planner import alternatives, design, recommend, rejected, rejected_upkeep
from planner.one_plan import OnePlan, scalar
from planner.workloads.training import exchange

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
    made = design.fill(plan.job, plan.context, plan.strategy, plan.prediction, others)
    assert tuple(made) == SLOTS
    slots: dict[str, dict[str, object]] = {}
    for name, slot in made.items():
        assert isinstance(slot, dict)
        assert set(slot) == {"choice", "because", "alternatives"}
        slots[name] = slot
    return slots


def costs(slot: Mapping[str, object]) -> dict[str, dict[str, float]]:
    entries = slot["alternatives"]
    assert isinstance(entries, list)
    assert all(set(e) == {"choice", "cost", "because"} for e in entries)
    return {e["choice"]: e["cost"] for e in entries}


def pinned(strategy: Mapping[str, object], **changed: object) -> str:
    """Write a whole strategy as pins, with some keys changed."""
    return ", ".join(f"{k}: {v}".lower() for k, v in {**strategy, **changed}.items())


def test_every_slot_is_filled_and_says_what_it_was_preferred_to(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT, workload="tokens: 1.0e12")
    slots = fill(plan)
    assert slots["partition"]["choice"] == "dp 8, tp 2, cp 2, pp 2, zero 1 over 16"
    assert slots["consistency"]["choice"] == "synchronous"
    for name in SLOTS[1:]:
        assert costs(slots[name]), name


def test_the_runners_up_are_the_rejected_partitions(plan_of: Make) -> None:
    plan = plan_of(**DENSE)
    best = recommend.best_of(recommend.search(plan.job))
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


def test_the_other_sharding_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    whole = plan_of(**DENSE, strategy=pinned(plan.strategy, zero=0, zero_group=16))
    cost = costs(fill(plan)["communication"])["dp: whole replicas, one all-reduce (zero 0)"]
    assert cost["step_time_s"] == whole.step_s - plan.step_s
    memory = whole.figure("memory_bytes") - plan.figure("memory_bytes")
    assert cost["memory_bytes"] == memory > 0


def test_whole_replicas_are_compared_with_shards(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 1, pp: 4, vpp: 1, zero: 0, micro_batch: 1")
    found = costs(fill(plan)["communication"])
    cost = found["dp: state in 4 shards, pushed and pulled (zero 1)"]
    shards = plan_of(**DENSE, strategy=pinned(plan.strategy, zero=1, zero_group=4))
    assert cost["step_time_s"] == shards.step_s - plan.step_s
    assert cost["memory_bytes"] < 0


def test_another_exchange_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=f"{CUT}, cp_comm: p2p")
    found = costs(fill(plan)["communication"])
    for name in ("a2a", "all-gather"):
        other = plan_of(**DENSE, strategy=pinned(plan.strategy, cp_comm=name))
        assert found[f"cp: {name}"]["step_time_s"] == other.step_s - plan.step_s
    assert "cp: p2p" not in found
    assert "cp: a2a+p2p" not in found  # the context axis stays inside the node


def test_heads_that_do_not_divide_rule_out_the_exchange_of_heads(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 4, pp: 1, cp_comm: p2p")  # 8 key-value heads
    assert "cp: a2a" not in costs(fill(plan)["communication"])


def test_another_algorithm_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 1, pp: 4, vpp: 1, zero: 0, micro_batch: 1")
    prices = rejected.algorithm_prices(plan, "dp")
    assert set(prices) == {"ring", "tree", "hierarchical"}  # nothing in the node to switch
    assert min(prices.values()) == 0.0
    for name, more_s in prices.items():
        strategy = pinned(plan.strategy, collectives=f"{{dp: {name}}}")
        other_s = plan_of(**DENSE, strategy=strategy).step_s
        assert more_s == pytest.approx(other_s - plan.step_s, abs=1e-9)
    slot = fill(plan)["communication"]
    used = [name for name, more_s in prices.items() if not more_s]
    assert f"dp: all-reduce by {' or '.join(used)}" in str(slot["choice"])
    slower = {f"dp: {name} all-reduce" for name, more_s in prices.items() if more_s}
    assert slower
    assert slower <= set(costs(slot))


def test_an_axis_that_gathers_and_scatters_has_no_algorithms(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=f"{CUT}, sp: true")
    assert rejected.algorithm_prices(plan, "tp") == {}
    assert rejected.algorithm_prices(plan, "dp") == {}  # all replicas share one shard set
    assert "tp: reduce-scatter and all-gather" in str(fill(plan)["communication"]["choice"])


def test_looser_steps_save_at_most_what_waits(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    found = costs(fill(plan)["consistency"])
    waits = plan.seconds("dp")
    assert found["local steps between exchanges"] == {"step_time_s": -waits}
    free = waits + plan.named_s("stragglers")
    assert found["asynchronous"] == {"step_time_s": -free}
    assert 0 < waits < free < plan.step_s


def test_a_hub_is_one_link_for_all_replicas(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    parameters = plan.context.graph.weights()
    each = plan.context.gradient_bytes + plan.context.activation_bytes
    link = plan.context.cluster.levels[-1].bytes_per_s
    assert link == pytest.approx(4e11 * 0.85)  # a machine's eight adapters, achieved
    hub_s = 16 * parameters * each / link
    cost = costs(fill(plan)["coordination"])["a hub in the data path"]
    assert cost["step_time_s"] == pytest.approx(hub_s - plan.seconds("dp"))


def test_gossip_takes_a_round_for_each_doubling(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    gradients = plan.context.graph.weights() / 4 * plan.context.gradient_bytes
    parts = exchange.segments(plan.context, plan.dims(), "replicas")
    crossed = [hop for hop in plan.context.cluster.span(*parts) if scalar(hop.ranks) > 1]
    assert len(crossed) == 2
    rates = [scalar(hop.bytes_per_s) for hop in crossed]
    longest = max(scalar(hop.alpha_s) for hop in crossed)
    rounds_s = 4 * (longest + gradients / min(rates))  # log2 of 16 replicas
    ring_s = 2 * (15 / 16) * gradients / min(rates)
    cost = costs(fill(plan)["coordination"])["no coordinator, peers gossip"]["exchange_s"]
    assert rounds_s - 1.05 * ring_s < cost < rounds_s


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
    cost = costs(fill(plan)["fault_tolerance"])[choice]
    for key in ("goodput", "time_to_train_s", "cost_usd"):
        assert cost[key] == pytest.approx(other.figure(key) - plan.figure(key), rel=1e-6), key
    if "interval" in choice:
        assert cost["goodput"] < 0  # the plan's interval is the best one


def test_a_pinned_interval_is_compared_with_the_best(plan_of: Make) -> None:
    rest = "failure: {checkpoint_interval_s: 20000, spare_nodes: 2}"
    plan = plan_of(**DENSE, strategy=CUT, workload="tokens: 1.0e12", rest=rest)
    slot = fill(plan)["fault_tolerance"]
    assert "the pinned interval" in str(slot["because"])
    found = costs(slot)
    assert found["the best interval"]["goodput"] > 0
    assert {"3 spare hosts", "no spare host"} <= set(found)


def test_a_spare_that_pays_is_said_to(plan_of: Make) -> None:
    common = {**DENSE, "strategy": CUT, "workload": "tokens: 1.0e12"}
    often = plan_of(**common, rest="failure: {node_mtbf_s: 2.0e5}")
    entries = fill(often)["fault_tolerance"]["alternatives"]
    assert isinstance(entries, list)
    spare = next(e for e in entries if e["choice"] == "1 spare host")
    assert spare["cost"]["cost_usd"] < 0
    assert "it would pay" in spare["because"]


def test_stage_flop_is_the_models(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 2, cp: 1, pp: 4, vpp: 2, schedule: interleaved")
    stages = rejected_upkeep.stage_flop(plan)
    assert len(stages) == 4
    assert sum(stages) == pytest.approx(plan.context.graph.flop_per_token())
    assert stages[3] > stages[1] == stages[2]  # the head stands on the last


def test_another_layout_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 2, cp: 1, pp: 4, vpp: 1, micro_batch: 1, zero: 1")
    assert plan.strategy["layers_per_stage"] == [8, 8, 8, 8]
    cost = costs(fill(plan)["load_balancing"])["a layer less on the last stage"]
    less = plan_of(**DENSE, strategy=pinned(plan.strategy, layers_per_stage=[8, 9, 8, 7]))
    assert cost["step_time_s"] == less.step_s - plan.step_s != 0.0


def test_a_better_layout_is_offered_for_pinning(plan_of: Make) -> None:
    layout = "layers_per_stage: [6, 8, 8, 10]"
    plan = plan_of(**DENSE, strategy=f"tp: 2, cp: 1, pp: 4, vpp: 1, zero: 1, {layout}")
    entries = fill(plan)["load_balancing"]["alternatives"]
    assert isinstance(entries, list)
    better = next(e for e in entries if e["choice"] == "a layer less on the last stage")
    assert better["cost"]["step_time_s"] < 0
    assert "pin layers_per_stage [7, 8, 8, 9]" in better["because"]


def test_even_experts_are_worth_what_imbalance_costs(plan_of: Make) -> None:
    common = {"model": "mixtral-8x7b", "devices": 64}
    plan = plan_of(**common, strategy="tp: 1, cp: 1, pp: 4, ep: 8, zero: 1")
    slot = fill(plan)["load_balancing"]
    assert "1.15 times the mean" in str(slot["because"])
    assert costs(slot)["experts in perfect balance"]["step_time_s"] < 0


def test_one_device_has_nothing_to_reject_between_ranks(plan_of: Make) -> None:
    slots = fill(plan_of("mpt-125m", 1, workload="tokens: 1.0e9"))
    assert slots["communication"]["choice"] == slots["coordination"]["choice"] == "none"
    for name in ("communication", "consistency", "coordination", "load_balancing"):
        assert slots[name]["alternatives"] == []
