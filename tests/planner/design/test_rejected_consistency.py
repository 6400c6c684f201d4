"""Why replicas agree as they do: each other kind costs what pinning it on the mesh costs."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from planner.design import rejected_consistency
from planner.design.one_plan import OnePlan
from planner.design.rejected import Alternative

Make = Callable[..., OnePlan]
DENSE = {"model": "llama-3.1-8b", "devices": 64}
CUT = "tp: 2, cp: 2, pp: 2, vpp: 1, ep: 1, etp: 1, zero: 1, micro_batch: 1"
SITES = (
    "levels: [{name: node, devices: 8, bytes_per_s: 3.2e11, latency_s: 1.5e-6},"
    " {name: wide, devices: 64, bytes_per_s: 1.0e9, latency_s: 2.0e-2}]"
)


def costs(entries: Sequence[Alternative]) -> dict[str, dict[str, float]]:
    return {e["choice"]: e["cost"] for e in entries}


def pinned(strategy: Mapping[str, object], **changed: object) -> str:
    return ", ".join(f"{k}: {v}".lower() for k, v in {**strategy, **changed}.items())


def test_looser_steps_save_at_most_what_waits_where_learning_is_not_priced(plan_of: Make) -> None:
    plan = plan_of(**DENSE, strategy=CUT)
    found = costs(rejected_consistency.others(plan, None))
    waits = plan.seconds("dp")
    assert found["local steps between exchanges"] == {"step_time_s": -waits}
    free = waits + plan.named_s("stragglers")
    assert found["asynchronous"] == {"step_time_s": -free}
    assert 0 < waits < free < plan.step_s


@pytest.mark.parametrize(
    ("choice", "consistency"),
    [
        ("bounded staleness of 4 steps", "{stale: 4}"),
        ("asynchronous", "asynchronous"),
        (
            "local updates: 100 steps, then across cluster in bf16",
            "{local_sgd: {steps: 100, across: cluster, precision: bf16}}",
        ),
    ],
)
def test_another_kind_costs_what_pinning_it_costs(
    plan_of: Make, choice: str, consistency: str
) -> None:
    learning = "learning: {law: both}"
    plan = plan_of(**DENSE, workload=learning, strategy=f"{CUT}, consistency: synchronous")
    cost = costs(rejected_consistency.others(plan, None))[f"{choice}, same mesh"]
    group = 2 if "local" in choice else 16
    strategy = pinned(plan.strategy, consistency=consistency, zero_group=group)
    other = plan_of(**DENSE, workload=learning, strategy=strategy)
    assert cost["step_time_s"] == pytest.approx(other.step_s - plan.step_s, abs=1e-12)
    updates = other.prediction["updates"]
    assert isinstance(updates, Mapping)
    progress_s = other.step_s * updates["factor"] - plan.step_s
    assert cost["progress_s"] == pytest.approx(progress_s, abs=1e-9)


def test_a_looser_plan_says_what_the_best_synchronous_one_takes(plan_of: Make) -> None:
    plan = plan_of(**DENSE, hardware=SITES)
    assert isinstance(plan.strategy["consistency"], Mapping)
    best = plan_of(**DENSE, hardware=SITES, strategy="consistency: synchronous")
    beside = {"strategy": best.strategy, "prediction": best.prediction}
    said = rejected_consistency.because(plan, beside)
    assert f"The best synchronous plan takes {best.step_s:.4g} s" in said
    first = rejected_consistency.others(plan, beside)[0]
    assert first["choice"] == "synchronous, its best plan"
    updates = plan.prediction["updates"]
    assert isinstance(updates, Mapping)
    more_s = best.step_s - plan.step_s * updates["factor"]
    assert costs([first])["synchronous, its best plan"]["progress_s"] == pytest.approx(more_s)
    assert more_s > 0
    assert "No synchronous plan fits" in rejected_consistency.because(plan, None)


def test_one_replica_has_nobody_to_agree_with(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-8b", 8, strategy="tp: 8")
    assert rejected_consistency.others(plan, None) == []
    assert "one replica" in rejected_consistency.because(plan, None)
