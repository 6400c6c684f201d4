"""Axes and patterns: the book's table to the digit, the formulas by hand, shares that sum to 1."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st

from planner.design import ceilings, patterns
from planner.design.one_plan import OnePlan
from planner.design.patterns import PATTERNS, Concerns, match

BOOK = {  # Code 2.9.1: concerns, the verdict and the fit that it prints
    "data-parallel LLM training": ((0.5, 0.9, 0.4, 0.1), "all-reduce / collective", "0.992"),
    "huge sparse recsys embeddings": ((0.95, 0.3, 0.6, 0.3), "parameter server", "0.997"),
    "batch corpus dedup": ((0.1, 0.1, 0.95, 0.0), "MapReduce / scatter-gather", "0.999"),
    "online RL from a simulator": ((0.6, 0.2, 0.8, 0.2), "actor-learner", "0.995"),
    "low-latency model serving": ((0.1, 0.1, 0.3, 0.95), "sharded/replicated serving", "0.995"),
}
Make = Callable[..., OnePlan]


def axes(plan: OnePlan) -> dict[str, float]:
    return patterns.axes(plan.job, plan.context, plan.strategy, plan.prediction)


def shares(plan: OnePlan) -> dict[str, dict[str, object]]:
    made = patterns.patterns(plan.job, plan.context, plan.strategy, plan.prediction)
    return {str(entry["name"]): entry for entry in made}


@pytest.mark.parametrize("name", BOOK)
def test_the_toy_matcher_prints_the_books_table(name: str) -> None:
    vector, verdict, printed = BOOK[name]
    fits = match(Concerns(*vector))
    assert max(fits, key=lambda pattern: fits[pattern]) == verdict
    assert f"{fits[verdict]:.3f}" == printed


def test_there_are_six_patterns() -> None:
    assert [p.name for p in PATTERNS] == [
        "parameter server",
        "all-reduce / collective",
        "MapReduce / scatter-gather",
        "actor-learner",
        "sharded/replicated serving",
        "hierarchical/decentralized",
    ]


def test_a_job_without_concerns_fits_nothing() -> None:
    assert set(match(Concerns(0.0, 0.0, 0.0, 0.0)).values()) == {0.0}


@given_by(st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4), st.floats(0.1, 1.0))
def test_a_fit_is_a_cosine(vector: list[float], scale: float) -> None:
    fits = match(Concerns(*vector))
    smaller = match(Concerns(*(scale * v for v in vector)))
    for name, fit in fits.items():
        assert 0.0 < fit <= 1.0
        assert smaller[name] == pytest.approx(fit)


def test_the_pressures_are_their_formulas(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-70b", 256, workload="tokens: 15.0e12", strategy="tp: 8, pp: 4")
    found = ceilings.of_training(plan.job, plan.context)
    failures = plan.given("failures_expected")
    assert failures is not None
    assert axes(plan) == {
        "data": pytest.approx(1.0 - 8 * 256e9 / 60e12),
        "training": pytest.approx(1.0 - 30 * 86400.0 / found.device_run_s),
        "model": pytest.approx(1.0 - 79.9e9 / found.model.need),
        "inference": 0.0,
        "coordination": pytest.approx(1.0 - math.exp(-failures)),
        "intelligence": 0.0,
    }


def test_foundation_pretraining_spreads_the_four_axes_of_the_book(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-70b", 256, workload="tokens: 15.0e12", strategy="tp: 8, pp: 4")
    pressed = {axis for axis, pressure in axes(plan).items() if pressure > 0.5}
    assert pressed == {"data", "training", "model", "coordination"}  # Table 1.7.1


def test_one_device_spreads_nothing(plan_of: Make) -> None:
    plan = plan_of("mpt-125m", 1, workload="tokens: 1.0e13")
    assert set(axes(plan).values()) == {0.0}
    assert shares(plan) == {}


def test_one_machine_spreads_no_data_and_needs_no_coordination(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-8b", 8, workload="tokens: 1.0e13")
    pressures = axes(plan)
    assert pressures["data"] == pressures["coordination"] == 0.0
    assert pressures["training"] > 0.9
    assert pressures["model"] > 0.4


def test_failures_without_tokens_are_those_of_thirty_days(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-8b", 16, strategy="tp: 2")
    expected = 30 * 86400.0 / plan.figure("mtbf_s")
    assert axes(plan)["coordination"] == pytest.approx(1.0 - math.exp(-expected))


@pytest.mark.parametrize(
    ("axis", "less", "more"),
    [
        ("data", {"workload": "tokens: 1.0e12"}, {"workload": "tokens: 4.0e12"}),
        ("training", {"workload": "tokens: 1.0e11"}, {"workload": "tokens: 2.0e11"}),
        ("model", {"workload": "task: lora"}, {"workload": "task: sft"}),
        (
            "coordination",
            {"rest": "failure: {node_mtbf_s: 1.0e8}"},
            {"rest": "failure: {node_mtbf_s: 1.0e7}"},
        ),
    ],
)
def test_pressures_grow_with_what_causes_them(
    plan_of: Make, axis: str, less: dict[str, str], more: dict[str, str]
) -> None:
    common = {"model": "llama-3.1-8b", "devices": 32, "strategy": "tp: 4"}
    assert (
        0.0 <= axes(plan_of(**common, **less))[axis] < axes(plan_of(**common, **more))[axis] < 1.0
    )


def test_shares_sum_to_one_and_the_collectives_lead(plan_of: Make) -> None:
    plan = plan_of("llama-3.1-70b", 256, workload="tokens: 15.0e12", strategy="tp: 8, pp: 4")
    made = shares(plan)
    assert sum(float(str(entry["share"])) for entry in made.values()) == pytest.approx(1.0)
    assert next(iter(made)) == "all-reduce / collective"
    fits = {name: float(str(entry["fit"])) for name, entry in made.items()}
    assert max(fits, key=lambda name: fits[name]) == "all-reduce / collective"
    assert made["actor-learner"]["share"] == made["sharded/replicated serving"]["share"] == 0.0


def test_the_data_pass_grows_with_the_corpus(plan_of: Make) -> None:
    pinned = {"model": "llama-3.1-70b", "devices": 256, "strategy": "tp: 8, pp: 4"}
    few = shares(plan_of(**pinned, workload="tokens: 1.0e11"))
    many = shares(plan_of(**pinned, workload="tokens: 15.0e12"))
    name = "MapReduce / scatter-gather"
    assert few[name]["share"] == 0.0  # 400 GB lie in one machine's memory
    assert float(str(many[name]["share"])) > 0.2


def test_owned_shards_are_a_parameter_servers(plan_of: Make) -> None:
    name, pinned = "parameter server", {"model": "llama-3.1-8b", "devices": 64}
    whole = shares(plan_of(**pinned, strategy="tp: 8, pp: 4, zero: 0"))
    owned = shares(plan_of(**pinned, strategy="tp: 8, pp: 4, zero: 1"))
    assert whole[name]["share"] == 0.0
    assert 0.0 < float(str(owned[name]["share"])) < 0.5
    assert float(str(owned[name]["fit"])) > float(str(whole[name]["fit"]))


def test_shards_alone_are_half_a_parameter_servers(plan_of: Make) -> None:
    rest = "software: {preset: fsdp-compile}"
    plan = plan_of(
        "llama-3.1-8b", 8, workload="tokens: 1.0e9", strategy="tp: 1, cp: 1, zero: 3", rest=rest
    )
    assert set(plan.axis_bytes()) == {"dp"}
    made = shares(plan)
    assert made["parameter server"]["share"] == pytest.approx(0.5)
    assert made["all-reduce / collective"]["share"] == pytest.approx(0.5)


def test_work_fans_out_over_replicas_or_over_the_corpus(plan_of: Make) -> None:
    pinned = {"model": "llama-3.1-8b", "devices": 64, "workload": "tokens: 15.0e12"}
    plan = plan_of(**pinned, strategy="tp: 8, cp: 1, pp: 1, dp: 8")
    nothing = dict.fromkeys(axes(plan), 0.0)
    assert patterns.concerns(plan, nothing).fan_scatter == pytest.approx(0.5)  # ln 8 / ln 64
    assert patterns.concerns(plan, {**nothing, "data": 0.9}).fan_scatter == 0.9


def test_tokens_that_go_to_experts_are_a_parameter_servers(plan_of: Make) -> None:
    name, pinned = "parameter server", {"model": "mixtral-8x7b", "devices": 64}
    apart = shares(plan_of(**pinned, strategy="tp: 1, pp: 4, ep: 8, zero: 1"))
    inside = shares(plan_of(**pinned, strategy="tp: 8, pp: 4, ep: 1, etp: 8, zero: 1"))
    assert float(str(apart[name]["share"])) > float(str(inside[name]["share"]))


def test_nothing_pressing_leaves_the_collectives(plan_of: Make) -> None:
    made = shares(plan_of("mpt-125m", 8, workload="tokens: 1.0e9"))
    assert made["all-reduce / collective"]["share"] == 1.0


@pytest.mark.parametrize(
    ("consistency", "tight"),
    [
        ("synchronous", 1.0),
        ({"local_sgd": {"steps": 50, "across": "site", "precision": "int4"}}, 0.02),
        ({"stale": 3}, 0.25),
        ("asynchronous", 0.0),
    ],
)
def test_looser_steps_move_the_job_to_the_hierarchical_pattern(
    plan_of: Make, consistency: object, tight: float
) -> None:
    plan = plan_of("llama-3.1-70b", 256, workload="tokens: 15.0e12", strategy="tp: 8, pp: 4")
    plan = replace(plan, strategy={**plan.strategy, "consistency": consistency})
    assert patterns.concerns(plan, axes(plan)).sync_tight == tight
    assert (float(str(shares(plan)["hierarchical/decentralized"]["share"])) > 0) == (tight < 1)


@pytest.mark.parametrize(
    ("system", "preset", "library"),
    [
        ("dgx-h100", "megatron-core", "Megatron-Core over NCCL"),
        ("mi300x", "primus", "Megatron-Core over RCCL"),
        ("dgx-a100-80gb", "fsdp-compile", "PyTorch FSDP2 and DTensor over NCCL"),
        ("tpu-v5p", "maxtext", "XLA collectives under JAX (MaxText)"),
    ],
)
def test_the_library_is_the_stacks(plan_of: Make, system: str, preset: str, library: str) -> None:
    made = shares(plan_of("llama-3.1-8b", 8, system=system, rest=f"software: {{preset: {preset}}}"))
    assert made["all-reduce / collective"]["library"] == library
    assert made["MapReduce / scatter-gather"]["library"] == "PySpark or Ray Data"


def test_state_held_once_is_what_zero_shards(plan_of: Make) -> None:
    pinned = "tp: 2, pp: 1, cp: 1"
    none = plan_of("llama-3.1-8b", 16, strategy=f"{pinned}, zero: 0, offload: [optimizer]")
    assert patterns.held_once(none) == 0.0
    one = plan_of("llama-3.1-8b", 16, strategy=f"{pinned}, zero: 1, zero_group: 8")
    context = one.context
    optimizer = context.master_bytes + context.moment_bytes
    state = optimizer + context.gradient_bytes + context.parameter_bytes
    assert patterns.held_once(one) == pytest.approx(optimizer / state * 7 / 8)
    three = plan_of("llama-3.1-8b", 16, strategy=f"{pinned}, zero: 3, zero_group: 8")
    assert patterns.held_once(three) == pytest.approx(7 / 8)
