"""Other ways to exchange: each costs what asking for it costs, or its formula by hand."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from costmodels.collectives import all_reduce_s
from costmodels.units import scalar
from hardware_profiles.load import load
from planner.design import rejected
from planner.design.one_plan import OnePlan
from planner.design.rejected import Alternative
from planner.workloads.training.groups import segments

Make = Callable[..., OnePlan]
DENSE = {"model": "llama-3.1-8b", "devices": 64}
CUT = "tp: 2, cp: 2, pp: 2, vpp: 1, ep: 1, etp: 1, zero: 1, micro_batch: 1"


def costs(entries: Sequence[Alternative]) -> dict[str, dict[str, float]]:
    return {e["choice"]: e["cost"] for e in entries}


def pinned(strategy: Mapping[str, object], **changed: object) -> str:
    """Write a whole strategy as pins, with some keys changed."""
    return ", ".join(f"{k}: {v}".lower() for k, v in {**strategy, **changed}.items())


def test_the_other_sharding_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    whole = plan_of(**DENSE, strategy=pinned(plan.strategy, zero=0, zero_group=16))
    cost = costs(rejected.other_exchanges(plan))["dp: whole replicas, one all-reduce (zero 0)"]
    assert cost["step_time_s"] == whole.step_s - plan.step_s
    memory = whole.figure("memory_bytes") - plan.figure("memory_bytes")
    assert cost["memory_bytes"] == memory > 0


def test_whole_replicas_are_compared_with_shards(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 1, pp: 4, vpp: 1, zero: 0, micro_batch: 1")
    found = costs(rejected.other_exchanges(plan))
    cost = found["dp: state in 4 shards, pushed and pulled (zero 1)"]
    shards = plan_of(**DENSE, strategy=pinned(plan.strategy, zero=1, zero_group=4))
    assert cost["step_time_s"] == shards.step_s - plan.step_s
    assert cost["memory_bytes"] < 0


def test_another_exchange_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=f"{CUT}, cp_comm: p2p")
    found = costs(rejected.other_exchanges(plan))
    for name in ("a2a", "all-gather"):
        other = plan_of(**DENSE, strategy=pinned(plan.strategy, cp_comm=name))
        assert found[f"cp: {name}"]["step_time_s"] == other.step_s - plan.step_s
    assert "cp: p2p" not in found
    assert "cp: a2a+p2p" not in found  # the context axis stays inside the node


def test_heads_that_do_not_divide_rule_out_the_exchange_of_heads(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 4, pp: 1, cp_comm: p2p")  # 8 key-value heads
    assert "cp: a2a" not in costs(rejected.other_exchanges(plan))


def test_another_algorithm_costs_what_pinning_it_costs(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy="tp: 4, cp: 1, pp: 4, vpp: 1, zero: 0, micro_batch: 1")
    prices = rejected.algorithm_prices(plan, "dp")
    assert set(prices) == {"ring", "tree"}  # nothing in the node to switch
    assert min(prices.values()) == 0.0
    for name, more_s in prices.items():
        strategy = pinned(plan.strategy, collectives=f"{{dp: {name}}}")
        other_s = plan_of(**DENSE, strategy=strategy).step_s
        assert more_s == pytest.approx(other_s - plan.step_s, abs=1e-9)
    slower = {f"dp: {n} all-reduce": {"step_time_s": s} for n, s in prices.items() if s}
    assert slower
    assert costs(rejected.other_algorithms({"dp": prices})) == slower


def test_an_axis_that_gathers_and_scatters_has_no_algorithms(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=f"{CUT}, sp: true")
    assert rejected.algorithm_prices(plan, "tp") == {}
    assert rejected.algorithm_prices(plan, "dp") == {}  # all replicas share one shard set


def test_a_hub_is_one_link_for_all_replicas(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    parameters = plan.context.graph.weights()
    each = plan.context.gradient_bytes + plan.context.activation_bytes
    link = plan.context.cluster.levels[-1].bytes_per_s
    assert link == pytest.approx(4e11 * load("dgx-h100").network[1].efficiency.value)
    hub_s = 16 * parameters * each / link
    cost = costs(rejected.hub(plan))["a hub in the data path"]
    assert cost["step_time_s"] == pytest.approx(hub_s - plan.seconds("dp"))


def test_gossip_takes_a_round_for_each_doubling(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    gradients = plan.context.graph.weights() / 4 * plan.context.gradient_bytes
    parts = segments(plan.dims(), "replicas")
    crossed = [hop for hop in plan.context.cluster.span(*parts) if scalar(hop.ranks) > 1]
    assert len(crossed) == 2
    rates = [scalar(hop.bytes_per_s) for hop in crossed]
    longest = max(scalar(hop.alpha_s) * hop.transport.rings[-1].steps for hop in crossed)
    longest += crossed[0].transport.exchanges[0].start_s  # of the kernel
    rounds_s = 4 * (longest + gradients / min(rates))  # log2 of 16 replicas
    reduced_s = scalar(all_reduce_s(gradients, plan.context.cluster.span(*parts)))
    cost = costs(rejected.gossip(plan))["no coordinator, peers gossip"]["exchange_s"]
    assert cost == pytest.approx(rounds_s - reduced_s)
    assert cost > 0
