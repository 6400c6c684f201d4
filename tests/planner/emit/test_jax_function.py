"""The emitted program of a function's plan: it runs on fake devices, and exchanges what is planned.

One process with eight CPU devices runs a whole step; what XLA compiled is read for its
collectives.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from quick_xla import QUICK

from planner import recommend, spec
from planner.emit import emit_all

HELPERS = Path(__file__).parents[2] / "helpers"
ROOT = Path(__file__).parents[3]
SIZES = {"f32": 4, "bf16": 2, "s32": 4, "pred": 1}


def job(name: str, inputs: dict[str, list[int]], strategy: dict[str, Any]) -> str:
    return json.dumps({
        "workload": {"kind": "training", "model": {"jax": f"jax_models:{name}", "inputs": inputs},
                     "global_batch": 16, "precision": "fp32"},
        "hardware": {"system": "dgx-h100", "devices": 8},
        "software": {"preset": "maxtext"},
        "strategy": strategy,
    })  # fmt: skip


def run(plan: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """Run the emitted program for one step; return what it prints and the compiled program."""
    file = folder / "train.py"
    file.write_text(emit_all(plan, ["jax"])["jax/train.py"])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HELPERS), str(ROOT)]),
        **QUICK,
    }
    command = [sys.executable, str(file), "--dry-run", "--hlo", str(folder / "hlo")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), (folder / "hlo").read_text()


def reduced_bytes(program: str) -> int:
    """Bytes that all-reduces are called with; scalars (the loss) left out."""
    total = 0
    for line in program.splitlines():
        found = re.search(r"= (.*?) all-reduce(-start)?\(", line)
        if found is not None:
            for kind, dims in re.findall(r"(\w+)\[([\d,]*)\]", found[1]):
                if dims:
                    total += SIZES[kind] * math.prod(map(int, dims.split(",")))
    return total


def test_a_step_runs_with_the_planned_shardings(tmp_path: Path) -> None:
    mesh = {"sharding": {"mesh": {"x": 4, "y": 2}}, "microbatches": 2}
    plan = recommend.plan(spec.load_any(job("loss", {"tokens": [4, 32]}, mesh)))
    for leaf in ("layers/up", "layers/down"):  # a layout that needs exchange, whatever is best
        entry = plan["layouts"]["parameters"][leaf]
        entry["spec"] = entry["states"] = (
            [[], [], ["x"]] if leaf.endswith("up") else [[], ["x"], []]
        )
    said, program = run(plan, tmp_path)
    assert math.isfinite(said["loss"]) and said["loss"] > 0
    assert said["mesh"] == {"y": 2, "x": 4}
    assert said["shards"]["layers/up"] == [3, 64, 64]
    assert said["shards"]["layers/down"] == [3, 64, 64]
    assert "all-reduce" in program


def test_plain_data_parallelism_reduces_the_planned_bytes(tmp_path: Path) -> None:
    pinned = {"sharding": {"mesh": {"x": 8}}, "microbatches": 1}
    found = recommend.plan(spec.load_any(job("mlp", {"x": [8, 64]}, pinned)))
    sharding = found["strategy"]["sharding"]
    graph_ops = sharding["operators"]
    sharding["operators"] = dict.fromkeys(graph_ops, "x:a")  # samples, in every operator
    sharding["parameters"] = dict.fromkeys(sharding["parameters"], "whole")
    sharding["tensors"] = dict.fromkeys(sharding["tensors"], "x:0")
    strategy = {"sharding": sharding, "microbatches": 1}
    plan = recommend.predict(spec.load_any(job("mlp", {"x": [8, 64]}, strategy)))
    (sent,) = plan["prediction"]["traffic"]
    planned = sent["bytes"] / (2 * 7 / 8)  # a ring sends 2 (p - 1)/p of the message
    assert planned == pytest.approx(4 * 64 * 64 * 4)
    said, program = run(plan, tmp_path)
    assert math.isfinite(said["loss"])
    assert reduced_bytes(program) == planned
