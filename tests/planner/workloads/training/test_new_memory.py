"""Memory that a step gets anew costs time where a host says so, and nowhere else."""

from pathlib import Path

import pytest

from hardware_profiles.load import load
from hardware_profiles.schema import Figure
from hardware_profiles.write import dumps
from planner import recommend, spec

JOB = """
name: toy
workload:
  kind: training
  model: {name: toy, layers: 4, hidden: 256, ffn_hidden: 1024, heads: 4, kv_heads: 4, vocab: 1024}
  sequence_length: 256
  global_batch: 8
  precision: fp32
hardware: {system: SYSTEM, devices: 8}
software: {preset: jax-explicit}
strategy: {tp: 2, cp: 1, pp: 1, zero: 1, micro_batch: 2, schedule: gpipe, recompute: none}
"""


def priced(tmp_path: Path, bytes_per_s: float | None) -> dict:
    profile = load("cpu-host")
    rate = None
    if bytes_per_s is not None:
        rate = Figure(value=bytes_per_s, basis="measured", source="a test")
    host = profile.host.model_copy(update={"new_memory_bytes_per_s": rate})
    path = tmp_path / "here.yaml"
    path.write_text(dumps(profile.model_copy(update={"name": "here", "host": host})), "utf-8")
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("SYSTEM", "./here.yaml"), "utf-8")
    return recommend.predict(spec.load(job))["prediction"]


def test_what_does_not_outlive_a_step_is_new_in_each(tmp_path: Path) -> None:
    found = priced(tmp_path, 1e9)
    (term,) = (t for t in found["time"] if t["name"] == "new memory")
    lasting = ("weights", "optimizer states")
    fresh = sum(
        m["bytes"] for m in found["memory"] if m["name"] not in lasting and m["kind"] != "reserve"
    )
    assert term["exposed_s"] == pytest.approx(fresh / 1e9) and fresh > 0
    kept = priced(tmp_path, None)
    assert "new memory" not in {t["name"] for t in kept["time"]}
    assert found["step_time_s"] == pytest.approx(kept["step_time_s"] + fresh / 1e9)


def test_a_host_that_gives_memory_faster_is_never_slower(tmp_path: Path) -> None:
    steps = [priced(tmp_path, rate)["step_time_s"] for rate in (1e8, 1e9, 1e12)]
    assert steps == sorted(steps, reverse=True)
