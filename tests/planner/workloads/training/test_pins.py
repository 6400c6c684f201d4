"""Contradictory pins: each rule's arithmetic in its message, and what is no contradiction."""

import pytest

from planner.errors import SpecError
from planner.job import Hardware, Software
from planner.models.config import ModelConfig, MoE
from planner.strategy import Strategy
from planner.workloads.training.pins import RULES, check
from planner.workloads.training.spec import TrainingJob, TrainingSpec

EXPERTS = MoE(experts=64, top_k=4, ffn_hidden=128)


def job(
    devices: int | tuple[int, ...] = 512,
    moe: MoE | None = None,
    preset: str = "megatron-core",
    overlap_ep: bool | None = None,
    **pins: object,
) -> TrainingJob:
    model = ModelConfig(layers=48, hidden=512, ffn_hidden=2048, heads=32, vocab=1000, moe=moe)
    spec = TrainingSpec(kind="training", model=model, sequence_length=4096, global_batch=512)
    strategy = Strategy.model_validate(pins)
    return TrainingJob(
        workload=spec,
        hardware=Hardware(devices=devices),
        strategy=strategy,
        software=Software(preset=preset, overlap_ep=overlap_ep),
    )


WRONG: list[tuple[dict[str, object], str]] = [
    ({"tp": 3, "pp": 2}, "strategy.tp: tp 3 * pp 2 = 6 does not divide devices 512"),
    (
        {"tp": 4, "cp": 1, "pp": 2, "dp": 32},
        "strategy.dp: dp 32 is not devices 512 / (tp 4 * cp 1 * pp 2) = 64",
    ),
    (
        {"tp": 1, "sp": True},
        "strategy.sp: sp true shards the sequence over the ranks of tp, but tp is 1",
    ),
    ({"tp": 4, "dp": 3}, "strategy.dp: tp 4 * dp 3 = 12 does not divide devices 512"),
    (
        {"tp": 4, "cp": 2, "pp": 1, "zero_group": 48},
        "strategy.zero_group: zero_group 48 does not divide dp 64 * cp 2 = 128",
    ),
    (
        {"tp": 4, "cp": 1, "pp": 1, "micro_batch": 3},
        "strategy.micro_batch: micro_batch 3 * dp 128 = 384 does not divide global_batch 512",
    ),
    ({"micro_batch": 3}, "strategy.micro_batch: micro_batch 3 does not divide global_batch 512"),
    (
        {"tp": 4, "cp": 1, "pp": 1, "micro_batch": 2, "microbatches": 4},
        "strategy.microbatches: microbatches 4 is not global_batch 512 / (dp 128 *"
        " micro_batch 2) = 2",
    ),
    (
        {"vpp": 2, "schedule": "1f1b"},
        "strategy.vpp: vpp 2 needs schedule interleaved, but schedule is 1f1b",
    ),
    ({"vpp": 2, "pp": 1}, "strategy.vpp: vpp 2 needs a pipeline, but pp is 1"),
    ({"pp": 32, "vpp": 2}, "strategy.pp: pp 32 * vpp 2 = 64 stages, but 48 layers"),
    ({"pp": 50, "devices": 50 * 8}, "strategy.pp: pp 50 stages, but 48 layers"),
    (
        {"layers_per_stage": [24, 20]},
        "strategy.layers_per_stage: sums to 44, but the model has 48 layers",
    ),
    (
        {"pp": 2, "vpp": 2, "layers_per_stage": [24, 24]},
        "strategy.layers_per_stage: has 2 entries, not pp 2 * vpp 2 = 4",
    ),
    (
        {"pp": 2, "layers_per_stage": [16, 16, 16]},
        "strategy.layers_per_stage: has 3 entries, not a multiple of pp 2",
    ),
    (
        {"pp": 4, "layers_per_stage": [16, 16, 0, 16]},
        "strategy.layers_per_stage: only the first and the last entry may be 0",
    ),
    (
        {"stages": [{"layers": 40}, {"layers": 4}]},
        "strategy.stages: layers sum to 44, but the model has 48 layers",
    ),
    (
        {"pp": 4, "stages": [{"layers": 40}, {"layers": 8}]},
        "strategy.stages: has 2 entries, but pp is 4",
    ),
    (
        {"stages": [{"layers": 40}, {"layers": 0}, {"layers": 8}]},
        "strategy.stages: only the first and the last may hold 0 layers",
    ),
    (
        {"vpp": 2, "stages": [{"layers": 40}, {"layers": 8}]},
        "strategy.stages: with vpp above 1, layers_per_stage must say how chunks share the layers",
    ),
    (
        {"layers_per_stage": [8, 8, 32], "stages": [{"layers": 40}, {"layers": 8}]},
        "strategy.stages: has 2 entries, but layers_per_stage has 3",
    ),
    (
        {"layers_per_stage": [20, 20, 4, 4], "stages": [{"layers": 40}, {"layers": 8}]},
        "strategy.stages.0.layers: is 40, but layers_per_stage gives stage 0 24 layers",
    ),
    (
        {"stages": [{"layers": 40}, {"layers": 8, "tp": 2}]},
        "strategy.stages.1.tp: needs a job over several pools",
    ),
    (
        {"recompute": {"full": 49}},
        "strategy.recompute.full: 49 layers of each stage, but the model has 48",
    ),
    (
        {"pp": 4, "recompute": {"full": 13}},
        "strategy.recompute.full: 13 layers of each stage, but a stage holds at most 12",
    ),
    (
        {"recompute": {"selective": ["layernorm", "moe_act"]}},
        "strategy.recompute: moe_act, but the model has no experts",
    ),
    (
        {"moe": EXPERTS, "recompute": ["none", {"selective": ["mla_up_proj"]}]},
        "strategy.recompute: mla_up_proj, but the model's attention is not latent (mla)",
    ),
    (
        {"stages": [{"layers": 48, "recompute": {"selective": ["shared_experts"]}}]},
        "strategy.stages.0.recompute: shared_experts, but the model has no experts",
    ),
    (
        {"preset": "fsdp-eager", "recompute": {"selective": ["layernorm"]}},
        "strategy.recompute: fsdp-eager recomputes no single modules; megatron-core, primus do",
    ),
    (
        {"moe": EXPERTS, "overlap_ep": True, "recompute": {"selective": ["moe"]}},
        "strategy.recompute: moe cannot be recomputed where overlap_ep runs its exchange beside"
        " others",
    ),
    ({"ep": 8}, "strategy.ep: ep 8, but the model has no experts"),
    ({"etp": 2}, "strategy.etp: etp 2, but the model has no experts"),
    ({"moe": EXPERTS, "ep": 128}, "strategy.ep: ep 128 does not divide experts 64"),
    (
        {"moe": EXPERTS, "devices": 64, "ep": 64, "etp": 2},
        "strategy.ep: ep 64 * etp 2 = 128 does not divide devices 64",
    ),
    ({"tp": 64}, "strategy.tp: tp 64 is more than the model's 32 attention heads"),
    ({"devices": 3, "cp": 3}, "strategy.cp: cp 3 does not divide sequence_length 4096"),
    (
        {"devices": 384, "cp": 128, "tp": 3, "sp": True},
        "strategy.cp: cp 128 * tp 3 = 384 does not divide sequence_length 4096",
    ),
]


@pytest.mark.parametrize(("pins", "message"), WRONG)
def test_contradictions_say_the_arithmetic(pins: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        check(job(**pins))  # type: ignore[arg-type]
    assert str(caught.value) == message


RIGHT: list[dict[str, object]] = [
    {},
    {"tp": 8, "cp": 1, "pp": 4, "dp": 16, "zero_group": 8, "micro_batch": 2, "microbatches": 16},
    {"moe": EXPERTS, "tp": 2, "cp": 2, "pp": 4, "dp": 32, "zero": 3, "zero_group": 16, "ep": 8},
    {"tp": [3, 8]},
    {"devices": (64, 96), "tp": 3},
    {"vpp": 2, "pp": 4, "schedule": "interleaved"},
    {"vpp": 2, "schedule": ["1f1b", "interleaved"]},
    {"pp": 7, "devices": 7 * 64},
    {"pp": 25, "vpp": 2, "devices": 25 * 64},  # the embedding and the head alone on the ends
    {"pp": 2, "layers_per_stage": [30, 18]},
    {"layers_per_stage": [0, 48, 0]},
    {"stages": [{"layers": 0}, {"layers": 40, "recompute": "full"}, {"layers": 8}]},
    {"layers_per_stage": [20, 8, 10, 10], "stages": [{"layers": 30}, {"layers": 18}]},
    {"tp": 12, "devices": 96},
    {"recompute": {"selective": ["core_attn", "layernorm", "mlp"]}},
    {"moe": EXPERTS, "recompute": {"selective": ["moe", "shared_experts"]}, "preset": "primus"},
    {"ep": 1, "etp": 1},
    {"pp": 4, "layers_per_stage": [8, 8, 16, 16], "recompute": {"full": 16}},
]


@pytest.mark.parametrize("pins", RIGHT)
def test_these_are_no_contradictions(pins: dict[str, object]) -> None:
    check(job(**pins))  # type: ignore[arg-type]


def test_every_rule_has_a_case() -> None:
    """Each rule is the first to object to some case above."""
    objecting = set()
    for pins, _ in WRONG:
        made = job(**pins)  # type: ignore[arg-type]
        objecting.add(next(rule.__name__ for rule in RULES if rule(made)))
    assert objecting == {rule.__name__ for rule in RULES}
