"""`sixfold check` as a user runs it: a real step of two devices beside its price, and refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from quick_xla import QUICK

from planner.report.check import check_sections
from planner.report.terminal import render_sections

JOB = """
name: toy
workload:
  kind: training
  model: {name: toy, layers: 2, hidden: 64, ffn_hidden: 128, heads: 4, kv_heads: 4, vocab: 128}
  sequence_length: 64
  global_batch: 4
  precision: fp32
hardware: {system: cpu-host, devices: 2}
software: {preset: jax-explicit}
strategy: {tp: 1, cp: 1, pp: 1, zero: 1, micro_batch: 2, schedule: gpipe, recompute: none}
"""


def check(job: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **QUICK, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "planner", "check", str(job), *more]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB, "utf-8")
    return path


def test_a_step_runs_beside_its_price(job: Path) -> None:
    out = job.parent / "out.json"
    done = check(job, "--profile", "cpu-host-2-cores", "--repeats", "2", "--json", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text("utf-8"))
    compared = found["compared"]
    assert compared["step_time_s"]["measured"] > 0 and len(compared["samples_s"]) == 2
    assert {term["term"] for term in compared["terms"]} == {"dp", "optimizer", "compute"}
    (sent,) = compared["bytes"]
    assert sent["axis"] == "dp" and sent["error"] == pytest.approx(0.0, abs=1e-9)
    assert compared["memory"]["states"]["error"] == pytest.approx(0.0, abs=0.02)
    assert compared["losses"][-1] < compared["losses"][0]
    said = render_sections(check_sections({**found, "busy": "2.0 processes wanted each core"}))
    assert "Busy: 2.0 processes" in said and "Step time" in said


def test_without_a_profile_of_this_machine_it_says_how_to_get_one(job: Path) -> None:
    done = check(job)
    assert done.returncode == 2
    assert "sixfold calibrate --quick --out host.yaml" in done.stderr
    assert "Traceback" not in done.stderr
