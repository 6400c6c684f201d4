"""The six stages: verdicts with their figures, each from the one before, and the loop back."""

from collections.abc import Callable, Mapping

import pytest

from planner.design import ceilings, checklist
from planner.design.one_plan import OnePlan

Make = Callable[..., OnePlan]
Answers = Mapping[str, Mapping[str, object]]
STAGES = ("ceiling", "axis", "topology", "mode", "metric", "tax")
SPREAD = {"model": "llama-3.1-8b", "devices": 64, "strategy": "tp: 1, cp: 1, pp: 1, zero: 1"}


def fill(plan: OnePlan) -> dict[str, dict[str, object]]:
    made = checklist.fill(plan.job, plan.context, plan.strategy, plan.prediction)
    assert tuple(made) == STAGES
    answers: dict[str, dict[str, object]] = {}
    for stage, answer in made.items():
        assert isinstance(answer, dict)
        assert set(answer) == {"choice", "because", "numbers"}
        answers[stage] = answer
    return answers


def number(answers: Answers, stage: str, key: str) -> float:
    numbers = answers[stage]["numbers"]
    assert isinstance(numbers, dict)
    return float(numbers[key])


def test_a_small_model_and_few_tokens_need_one_device(plan_of: Make) -> None:
    plan = plan_of("mpt-125m", 8, workload="tokens: 2.5e9")
    answers = fill(plan)
    assert answers["ceiling"]["choice"] == "none: one device is enough"
    assert number(answers, "ceiling", "devices_needed") == 1
    assert answers["axis"]["choice"] == "training"
    assert "No ceiling forces an axis" in str(answers["axis"]["because"])


def test_more_than_a_device_and_less_than_a_machine_is_one_machine(plan_of: Make) -> None:
    answers = fill(plan_of("mpt-125m", 8, workload="tokens: 5.0e12"))
    assert 1 < number(answers, "ceiling", "devices_needed") <= 8
    assert answers["ceiling"]["choice"] == "none: one machine is enough"
    assert number(answers, "ceiling", "throughput_times") < 1


def test_a_model_of_some_devices_stays_in_one_machine(plan_of: Make) -> None:
    answers = fill(plan_of("llama-3.1-8b", 8, workload="tokens: 1.0e9"))
    assert answers["ceiling"]["choice"] == "model"
    assert "nothing has to cross machines" in str(answers["ceiling"]["because"])
    assert answers["axis"]["choice"] == "model"


def test_a_foundation_model_hits_all_three(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-70b", 256, workload="tokens: 15.0e12", strategy="tp: 8, pp: 4")
    answers = fill(plan)
    assert answers["ceiling"]["choice"] == "throughput, model, data"
    assert answers["axis"]["choice"] == "training, model, data"
    for name in ("throughput", "model", "data"):
        assert number(answers, "ceiling", f"{name}_times") > 1
    assert "dp 8" in str(answers["axis"]["because"])
    assert "tp 8, pp 4" in str(answers["axis"]["because"])


def test_the_throughput_ceiling_flips_at_its_break_even(plan_of: Make) -> None:
    base = plan_of("mpt-125m", 8, workload="tokens: 1.0e9")
    even = 1e9 / ceilings.of_training(base.job, base.context).throughput.times
    for times, binds in ((0.999, False), (1.001, True)):
        answers = fill(plan_of("mpt-125m", 8, workload=f"tokens: {even * times:.6e}"))
        assert ("throughput" in str(answers["ceiling"]["choice"])) == binds


def test_a_deadline_is_the_patience(plan_of: Make) -> None:
    tokens = "tokens: 1.0e11"
    patient = fill(plan_of("llama-3.1-8b", 64, workload=tokens, strategy="tp: 1, pp: 1"))
    hurried = fill(
        plan_of("llama-3.1-8b", 64, workload=tokens, strategy="tp: 1, pp: 1",
                rest="constraints: {deadline_s: 400000}")
    )  # fmt: skip
    assert patient["ceiling"]["choice"] == "model"
    assert "throughput" in str(hurried["ceiling"]["choice"])
    assert number(hurried, "ceiling", "patience_s") == 400000
    assert number(hurried, "metric", "deadline_s") == 400000


def test_a_tuning_run_without_tokens_is_judged_by_the_model_alone(plan_of: Make) -> None:
    answers = fill(plan_of("llama-3.1-8b", 8, workload="task: lora"))
    assert answers["ceiling"]["choice"] == "none: one device holds the model"
    assert "not given" in str(answers["ceiling"]["because"])
    numbers = answers["ceiling"]["numbers"]
    assert isinstance(numbers, dict)
    assert "throughput_times" not in numbers


def test_one_device_answers_every_stage(plan_of: Make) -> None:
    answers = fill(plan_of("mpt-125m", 1, workload="tokens: 1.0e9"))
    assert [answers[stage]["choice"] for stage in STAGES[:4]] == [
        "none: one device is enough",
        "none",
        "one device",
        "batch",
    ]
    assert number(answers, "tax", "communication_exposed_share") == 0.0


def test_the_topology_says_which_level_each_axis_crosses(plan_of: Make) -> None:
    answers = fill(plan_of("llama-3.1-8b", 64, strategy="tp: 8, pp: 2, cp: 1"))
    assert answers["topology"]["choice"] == "centralized"
    numbers = answers["topology"]["numbers"]
    assert isinstance(numbers, dict)
    assert numbers["tp_level"] == "node"
    assert numbers["dp_level"] == numbers["pp_level"] == "cluster"
    assert "cp_level" not in numbers
    assert numbers["hosts"] == 8


def test_far_sites_make_it_hybrid(plan_of: Make) -> None:
    def levels(latency_s: float) -> str:
        return (
            "levels: [{name: node, devices: 8, bytes_per_s: 4.0e11, latency_s: 1.0e-6},"
            f" {{name: site, devices: 64, bytes_per_s: 4.0e11, latency_s: {latency_s}}}]"
        )

    near = fill(plan_of(**SPREAD, hardware=levels(1e-5)))
    far = fill(plan_of(**SPREAD, hardware=levels(2e-2)))
    assert near["topology"]["choice"] == "centralized"
    assert far["topology"]["choice"] == "hybrid"
    assert "site joins sites" in str(far["topology"]["because"])


def test_the_mode_counts_the_steps(plan_of: Make) -> None:
    answers = fill(plan_of(**SPREAD, workload="tokens: 1.0e11"))
    assert answers["mode"]["choice"] == "batch"
    assert number(answers, "mode", "step_tokens") == 512 * 4096
    assert number(answers, "mode", "steps") == -(-1e11 // (512 * 4096))


@pytest.mark.parametrize(
    ("objective", "metric", "figure"),
    [
        ("step_time", "throughput", "step_time_s"),
        ("throughput", "throughput", "tokens_per_s_per_device"),
        ("cost", "cost", "cost_usd"),
        ("energy", "cost", "energy_j"),
        ("latency", "latency", "step_time_s"),
        ("reliability", "reliability", "goodput"),
    ],
)
def test_the_metric_is_the_objectives(
    plan_of: Make, objective: str, metric: str, figure: str
) -> None:
    plan = plan_of(**SPREAD, rest=f"objective: {{metric: {objective}}}")
    answers = fill(plan)
    assert answers["metric"]["choice"] == metric
    assert number(answers, "metric", figure) == plan.figure(figure)


def test_limits_are_kept_not_optimized(plan_of: Make) -> None:
    answers = fill(
        plan_of(**SPREAD, workload="tokens: 1.0e10", rest="constraints: {max_cost_usd: 1.0e6}")
    )
    assert number(answers, "metric", "max_cost_usd") == 1e6
    assert "budget" in str(answers["metric"]["because"])


def test_the_tax_is_the_predictions(plan_of: Make) -> None:
    plan = plan_of(**SPREAD, workload="tokens: 1.0e11")
    answers = fill(plan)
    entries = plan.prediction["time"]
    assert isinstance(entries, list)
    waiting = sum(t["exposed_s"] for t in entries if t["kind"] in {"tp", "cp", "ep", "dp", "pp"})
    assert number(answers, "tax", "communication_exposed_share") == waiting / plan.step_s
    assert number(answers, "tax", "failure_share") == 1.0 - plan.figure("goodput")
    traffic = plan.prediction["traffic"]
    assert isinstance(traffic, list)
    for level in ("node", "cluster"):
        sent = sum(t["bytes"] for t in traffic if t["level"] == level)
        assert number(answers, "tax", f"{level}_bytes") == pytest.approx(sent)
    assert number(answers, "tax", "failures_expected") == plan.given("failures_expected")
    assert number(answers, "tax", "comm_to_compute") < 1
    assert "neither is the ceiling" in str(answers["tax"]["because"])


def test_a_slow_network_closes_the_loop_with_fewer_devices(plan_of: Make) -> None:
    def tax(bytes_per_s: float) -> dict[str, dict[str, object]]:
        slow = f"set: {{inter_node_bytes_per_s: {bytes_per_s}}}"
        return fill(plan_of(**SPREAD, hardware=slow))

    slow, fast = tax(2e9), tax(4e11)
    assert slow["tax"]["choice"] == "communication is the new ceiling"
    assert "Back to stage one with fewer than" in str(slow["tax"]["because"])
    assert number(slow, "tax", "comm_to_compute") >= 1
    assert number(slow, "tax", "comm_dominated_at_devices") <= 64
    assert number(slow, "tax", "fastest_at_devices") <= 64
    assert number(fast, "tax", "comm_to_compute") < 1
    assert fast["tax"]["choice"] != slow["tax"]["choice"]


def test_the_loop_closes_exactly_where_communication_is_the_work(plan_of: Make) -> None:
    for bytes_per_s in (5e9, 1e10, 2e10, 4e10, 8e10):
        plan = plan_of(**SPREAD, hardware=f"set: {{inter_node_bytes_per_s: {bytes_per_s}}}")
        closed = fill(plan)["tax"]["choice"] == "communication is the new ceiling"
        assert closed == (plan.comm_to_compute >= 1.0)


def test_every_stage_starts_from_the_one_before(plan_of: Make) -> None:
    answers = fill(plan_of(**SPREAD, workload="tokens: 1.0e13"))
    because = {stage: str(answers[stage]["because"]) for stage in STAGES}
    assert because["axis"].startswith("Throughput binds, so")
    assert because["topology"].startswith("The axes")
    assert "of the topology" in because["mode"]
    assert because["metric"].startswith("A batch job")
    assert because["tax"].startswith("What throughput pays")
