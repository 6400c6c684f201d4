"""Sections of a job: what they accept, refuse and work out."""

import pytest
from pydantic import ValidationError

from planner.job import DeviceRange, Hardware, HardwareSet, LevelSpec, SliceSpec, Software
from planner.models.config import ModelConfig
from planner.strategy import RecomputeFull, Strategy
from planner.workloads.training.spec import TrainingSpec

MODEL = ModelConfig(layers=2, hidden=64, ffn_hidden=256, heads=4, vocab=100)


def training(**more: object) -> TrainingSpec:
    given = {"kind": "training", "model": MODEL, "sequence_length": 128, "global_batch": 8}
    return TrainingSpec.model_validate(given | more)


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Hardware(devices=8).devices = 9  # type: ignore[misc]


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Strategy.model_validate({"tq": 4})


@pytest.mark.parametrize(
    ("devices", "fixed"),
    [
        (64, 64),
        ((64, 64), 64),
        ((64, 128), None),
        (DeviceRange(min=8, max=8), 8),
        (DeviceRange(min=8, max=9), None),
        (None, None),
    ],
)
def test_fixed_devices(devices: int | tuple[int, ...] | DeviceRange, fixed: int | None) -> None:
    assert Hardware(devices=devices).fixed_devices == fixed


def test_systems_are_a_tuple_however_given() -> None:
    assert Hardware().systems == ()
    assert Hardware(system="a").systems == ("a",)
    assert Hardware(system=("a", "b")).systems == ("a", "b")


def test_slice_gives_axes_and_devices() -> None:
    given = SliceSpec(topology="4x8x16", count=2)
    assert given.axes == (4, 8, 16)
    assert given.devices == 1024
    assert Hardware(slice=given).fixed_devices == 1024


@pytest.mark.parametrize("topology", ["", "4by8", "4x", "0x8", "4x8x8x8", "4x-8", "४x८"])
def test_bad_topologies(topology: str) -> None:
    with pytest.raises(ValidationError):
        SliceSpec(topology=topology)


def test_slice_and_devices_must_agree() -> None:
    with pytest.raises(ValidationError, match=r"devices 100 is not .* 4x8 \* count 2 = 64"):
        Hardware(devices=100, slice=SliceSpec(topology="4x8", count=2))


def test_levels_of_the_contract_hold_whole_usable_domains() -> None:
    rack = LevelSpec(name="rack", devices=72, usable=64, bytes_per_s=9e11, latency_s=2e-6)
    site = LevelSpec(name="site", devices=512, bytes_per_s=1.25e9, latency_s=2e-2)
    assert Hardware(levels=(rack, site)).levels[1].devices == 8 * 64
    full = LevelSpec(name="rack", devices=72, bytes_per_s=9e11)
    with pytest.raises(ValidationError, match=r"site has 512 devices, not whole domains of rack"):
        Hardware(levels=(full, site))


def test_usable_devices_are_at_most_all() -> None:
    with pytest.raises(ValidationError, match="usable 73 is more than devices 72"):
        LevelSpec(name="rack", devices=72, usable=73, bytes_per_s=1.0)


def test_set_lists_only_what_is_given() -> None:
    assert HardwareSet(memory_bytes=80e9, devices_per_node=4).given() == {
        "memory_bytes": 80e9,
        "devices_per_node": 4.0,
    }


def test_switches_leave_out_preset_and_text() -> None:
    given = Software(preset="fsdp-eager", compile=False, runtime="v1", gemm_efficiency=0.7)
    assert given.switches() == {"compile": False, "gemm_efficiency": 0.7}


def test_allowed_and_pinned_values() -> None:
    strategy = Strategy(tp=8, cp=(1, 2), pp=(4,), sp=False, recompute=RecomputeFull(full=3))
    assert strategy.allowed("tp") == (8,)
    assert strategy.allowed("cp") == (1, 2)
    assert strategy.allowed("dp") is None
    assert strategy.allowed("sp") == (False,)
    assert strategy.pinned("sp") is False
    assert strategy.pinned("cp") is None
    assert strategy.pinned("recompute") == RecomputeFull(full=3)
    assert strategy.pinned_count("pp") == 4
    assert strategy.pinned_count("recompute") is None


@pytest.mark.parametrize(
    "given",
    [
        {"tp": []},
        {"tp": 0},
        {"tp": 10_000_001},
        {"zero": 4},
        {"mesh_order": ["tp", "dp"]},
        {"mesh_order": ["tp", "tp", "dp", "pp"]},
        {"offload": ["optimizer", "optimizer"]},
        {"placement": {"xp": "rack"}},
        {"collectives": "ringed"},
        {"consistency": {"stale": 0}},
    ],
)
def test_strategy_refuses(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Strategy.model_validate(given)


def test_strategy_accepts_the_grammar_that_waits_for_the_solver() -> None:
    given = Strategy.model_validate(
        {
            "stages": [{"layers": 4, "pool": "old", "tp": 2, "recompute": {"full": 1}}],
            "sharding": {"op": "row"},
            "consistency": {"local_sgd": {"steps": 8, "across": "site", "precision": "int4"}},
        }
    )
    assert given.stages is not None
    assert given.stages[0].recompute == RecomputeFull(full=1)


def test_whole_floats_count_as_numbers() -> None:
    assert training(global_batch=1.0e3).global_batch == 1000
    with pytest.raises(ValidationError):
        training(global_batch=1.5)


def test_lora_has_a_stated_default() -> None:
    tuned = training(task="lora")
    assert tuned.adapters is not None
    assert (tuned.adapters.rank, tuned.adapters.targets) == (16, "all-linear")
    assert training().adapters is None


def test_lora_needs_its_task() -> None:
    with pytest.raises(ValidationError, match="lora is given but task is sft"):
        training(task="sft", lora={"rank": 8})


def test_documents_fit_the_sequence() -> None:
    assert training(sequence_lengths={"mean": 90, "p99": 800}, packing=True).packing
    with pytest.raises(ValidationError, match="mean 90 is more than p99 80"):
        training(sequence_lengths={"mean": 90, "p99": 80})
    with pytest.raises(ValidationError, match="mean 900 is more than sequence_length 128"):
        training(sequence_lengths={"mean": 900, "p99": 1000})
