"""The vision tower: FLOP by hand, who pays for it, what stays whole, what is refused."""

import json

import numpy as np
import pytest

from planner import recommend, spec
from planner.cluster import build
from planner.errors import SpecError
from planner.models.load import load
from planner.workloads import training
from planner.workloads.training.graph import Documents
from planner.workloads.training.graph import build as graph_of

VISION = {
    "layers": 12, "hidden": 1024, "ffn_hidden": 4096, "heads": 16, "tokens": 1024, "merge": 2,
    "images_per_sequence": 4.0,
}  # fmt: skip
MODEL = {
    "layers": 16, "hidden": 2048, "ffn_hidden": 8192, "heads": 16, "vocab": 32000,
    "vision": VISION,
}  # fmt: skip


def job(strategy=None, vision=None, **workload):
    model = MODEL | {"vision": None if vision == "none" else VISION | (vision or {})}
    work = {"kind": "training", "model": model, "sequence_length": 4096, "global_batch": 64}
    return spec.load(
        json.dumps(
            {
                "workload": work | workload,
                "hardware": {"system": "dgx-h100", "devices": 32},
                "strategy": strategy or {},
            }
        )
    )


def flop(config, sequence):
    graph = graph_of(config, Documents(sequence, sequence, sequence))
    return {b.name: b.count * sum(o.flop for o in b.phase("forward")) for b in graph.blocks}


def test_the_flop_of_a_tower_are_those_of_its_patches():
    config = load("internvl2.5-78b").model_copy(deep=True)
    images = config.vision.model_copy(update={"images_per_sequence": 24.0})
    made = flop(config.model_copy(update={"vision": images}), 16384.0)
    patches = 24 * 1024 / 16384
    layer = 2 * (3200 * 9600 + 3200 * 3200 + 2 * 3200 * 12800) + 4 * 1024 * 3200
    assert made["vision"] == pytest.approx(45 * patches * layer, rel=1e-12)
    assert made["projector"] == pytest.approx(patches / 4 * 2 * (12800 * 8192 + 8192 * 8192))
    assert made["patches"] == pytest.approx(patches * 2 * 588 * 3200)


def test_most_layers_of_a_windowed_tower_see_their_window_alone():
    made = flop(load("qwen2.5-vl-7b"), 8192.0)["vision"]
    pairs = (4 * 1024 + 28 * 64) / 32
    layer = 2 * (1280 * 5120 + 3 * 1280 * 3420) + 4 * pairs * 1280
    assert made == pytest.approx(32 * 1024 / 8192 * layer, rel=1e-12)


def test_a_plan_with_a_tower_takes_longer_and_says_so():
    strategy = {"tp": 4, "pp": 4, "cp": 1, "micro_batch": 1, "recompute": "none", "zero": 1,
                "offload": []}  # fmt: skip
    with_it = recommend.predict(job(strategy))["prediction"]
    without = recommend.predict(job(strategy, vision="none"))["prediction"]
    terms = {t["name"]: t["exposed_s"] for t in with_it["time"]}
    assert terms["vision tower"] > 0
    assert with_it["step_time_s"] > without["step_time_s"]
    assert "vision tower" not in {t["name"] for t in without["time"]}
    first, *_, last = with_it["memory_by_stage"]
    assert first["bytes"] > without["memory_by_stage"][0]["bytes"]
    assert last["bytes"] == without["memory_by_stage"][-1]["bytes"]


def test_images_of_the_job_come_before_those_of_the_model():
    few, many = (recommend.predict(job({"pp": 1, "tp": 1}, images_per_sequence=n)) for n in (1, 8))
    assert few["job"]["workload"]["model"]["vision"]["images_per_sequence"] == 1
    assert few["prediction"]["step_time_s"] < many["prediction"]["step_time_s"]
    again = spec.load(json.dumps(many["job"] | {"strategy": many["strategy"]}))
    assert recommend.predict(again)["prediction"] == many["prediction"]


def test_a_frozen_tower_runs_forward_only_and_keeps_nothing():
    learned, frozen = (job(vision={"frozen": value}) for value in (False, True))
    cluster = build(spec_profile(), 32)
    blocks = [
        {b.name: b for b in training.make(each, cluster).graph.blocks}["vision"]
        for each in (learned, frozen)
    ]
    assert blocks[1].phase("backward") == () and blocks[0].phase("backward")
    assert blocks[1].weights(trainable=True) == 0 < blocks[0].weights(trainable=True)
    assert sum(op.saved for op in blocks[1].ops) == 0
    strategy = {"tp": 2, "pp": 2, "cp": 2, "micro_batch": 1, "recompute": "none"}
    prices = [
        recommend.predict(job(strategy, vision={"frozen": value}))["prediction"]
        for value in (False, True)
    ]
    assert prices[1]["step_time_s"] < prices[0]["step_time_s"]
    assert prices[1]["memory_bytes"] < prices[0]["memory_bytes"]


def test_adapters_leave_the_tower_frozen():
    made = training.make(job(task="lora"), build(spec_profile(), 32)).graph
    tower = [b for b in made.blocks if b.on_patches]
    assert len(tower) == 3
    assert all(b.weights(trainable=True) == 0 for b in tower)


def test_heads_that_do_not_divide_are_padded_to_whole_ones():
    config = load("internvl2.5-78b")
    graph = graph_of(config, Documents(16384.0, 16384.0, 16384.0))
    vision = next(b for b in graph.blocks if b.name == "vision")
    heads = next(op for op in vision.ops if op.kind == "attention")
    shares = heads.part(25.0, np.array([1.0, 2.0, 4.0, 5.0, 8.0]))
    assert shares.tolist() == [25.0, 13.0, 7.0, 5.0, 4.0]
    mlp = next(op for op in vision.ops if op.name == "vision/mlp up")
    assert mlp.part(25.0, 8.0) == 25.0 / 8.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images_per_sequence": 17.0}, "17 images of 256 tokens do not fit in a sequence of 4096"),
        ({"heads": 15}, "hidden 1024 is not a multiple of heads 15"),
        ({"merge": 3}, "tokens 1024 is not a multiple of merge 3^2"),
        ({"full_attention_layers": 13}, "full_attention_layers 13 is more than layers 12"),
        ({"patches": 4}, "patches"),
    ],
)
def test_a_tower_that_cannot_be_is_refused(change, said):
    with pytest.raises(SpecError, match=said.replace("^", r"\^")):
        job(vision=change)


def test_images_without_a_tower_are_refused():
    with pytest.raises(SpecError, match="the model has no vision tower"):
        job(vision="none", images_per_sequence=2)


def spec_profile():
    from hardware_profiles.load import load as profile

    return profile("dgx-h100")
