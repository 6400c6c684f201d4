"""The order of the mesh is searched with the degrees: pinning any of the 24 is never better."""

import json
from typing import Any

import pytest

from planner import recommend, spec
from planner.dims import ORDERS
from planner.planning.homogeneous import search
from planner.planning.searched import best_of
from planner.workloads.training.spec import TrainingJob

GPT = {
    "name": "gpt", "layers": 16, "hidden": 4096, "ffn_hidden": 16384, "heads": 32, "vocab": 51200,
    "gated_mlp": False,
}  # fmt: skip
MOE = {
    **GPT, "layers": 12, "hidden": 2048, "ffn_hidden": 8192, "heads": 16,
    "moe": {"experts": 64, "top_k": 4, "ffn_hidden": 2048},
}  # fmt: skip
TIERS = [
    {"name": "node", "devices": 8, "bytes_per_s": 4e11, "latency_s": 2e-6},
    {"name": "rack", "devices": 32, "bytes_per_s": 1.6e11, "latency_s": 5e-6},
    {"name": "spine", "devices": 128, "bytes_per_s": 1e10, "latency_s": 1e-5},
]
"""Three levels, the outermost sixteen times oversubscribed."""
PLAIN = {"recompute": "none", "offload": [], "micro_batch": 1, "schedule": "1f1b", "zero": 1}


def job(strategy: dict[str, Any], batch: int, **given: Any) -> TrainingJob:
    hardware = {"system": given.get("system", "dgx-h100"), "devices": given.get("devices", 128)}
    if "levels" in given:
        hardware["levels"] = given["levels"]
    raw = {
        "workload": {"kind": "training", "model": given.get("model", GPT),
                     "sequence_length": given.get("sequence", 4096), "global_batch": batch},
        "hardware": hardware,
        "strategy": strategy,
    }  # fmt: skip
    if hardware["system"].startswith("tpu"):
        raw["software"] = {"preset": "maxtext"}
    return spec.load(json.dumps(raw))


def test_many_microbatches_put_the_replicas_across_the_spine():
    """Sends between stages are paid every microbatch, gradients once a step."""
    many = recommend.plan(job({**PLAIN, "tp": 8, "pp": 4, "cp": 1}, 4096, levels=TIERS))
    few = recommend.plan(job({**PLAIN, "tp": 8, "pp": 4, "cp": 1}, 32, levels=TIERS))
    assert many["strategy"]["mesh_order"] == ["tp", "cp", "pp", "dp"]
    assert few["strategy"]["mesh_order"] == ["tp", "cp", "dp", "pp"]
    crossing = {t["axis"] for t in many["prediction"]["traffic"] if t["level"] == "spine"}
    assert crossing == {"dp"}
    pinned = {**PLAIN, "tp": 8, "pp": 4, "cp": 1, "mesh_order": ["tp", "cp", "dp", "pp"]}
    default = recommend.plan(job(pinned, 4096, levels=TIERS))
    assert default["prediction"]["step_time_s"] > 1.2 * many["prediction"]["step_time_s"]
    again = recommend.predict(job(many["strategy"], 4096, levels=TIERS))
    assert again["prediction"] == many["prediction"]


@pytest.mark.parametrize(
    ("strategy", "batch", "given"),
    [
        ({**PLAIN, "tp": [2, 4, 8]}, 512, {"levels": TIERS}),
        ({**PLAIN, "ep": [8, 16], "pp": [1, 2]}, 288,
         {"system": "gb200-nvl72", "devices": 144, "model": MOE}),
        ({"recompute": "none", "offload": [], "micro_batch": 1, "tp": [2, 4]}, 64,
         {"system": "tpu-v5p", "devices": 64, "sequence": 16384}),
    ],
    ids=["oversubscribed", "nvlink-domains", "torus"],
)  # fmt: skip
def test_no_pinned_order_is_better_than_the_search(strategy, batch, given):
    found = best_of(search(job(strategy, batch, **given)))
    assert found is not None
    pinned = [
        best_of(search(job({**strategy, "mesh_order": list(order)}, batch, **given)))
        for order in ORDERS
    ]
    best = min(each.objective for each in pinned if each is not None)
    assert found.objective == pytest.approx(best, rel=1e-12)
    assert found.found.bound <= found.objective


def test_pinned_levels_choose_among_all_orders():
    """A pipeline that must stay inside the rack leaves the spine to the replicas."""
    pinned = {**PLAIN, "tp": 2, "pp": 8, "cp": 1, "placement": {"pp": "rack"}}
    plan = recommend.plan(job(pinned, 1024, levels=TIERS))
    levels = {t["level"] for t in plan["prediction"]["traffic"] if t["axis"] == "pp"}
    assert levels <= {"node", "rack"}
    assert plan["strategy"]["mesh_order"].index("pp") < plan["strategy"]["mesh_order"].index("dp")
