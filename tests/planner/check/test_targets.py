"""Names of chips to compile for; real compiles where libtpu or the CUDA plugin is installed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from planner.check.ahead import ahead
from planner.check.targets import GPUS, TPUS, devices_of, parse
from planner.errors import SpecError
from planner.report.ahead import ahead_sections

JOB = """
name: toy
workload:
  kind: training
  model: {name: toy, layers: 2, hidden: 256, ffn_hidden: 512, heads: 4, kv_heads: 4, vocab: 1024}
  sequence_length: 512
  global_batch: 8
  precision: bf16
hardware: {system: cpu-host, devices: 8}
software: {preset: jax-explicit}
strategy: {tp: 2, sp: true, cp: 1, pp: 1, zero: 3, micro_batch: 1, schedule: gpipe, recompute: full}
"""


@pytest.mark.parametrize(
    ("text", "chip", "shape"),
    [
        ("tpu-v5p:4x4x4", "tpu-v5p", (4, 4, 4)),
        ("v5e:4x2", "tpu-v5e", (4, 2)),
        ("v6e:16x16", "tpu-v6e", (16, 16)),
        ("tpu7x:2x2x2", "tpu-v7x", (2, 2, 2)),
        ("gpu-h100:1x4x8", "gpu-h100", (1, 4, 8)),
    ],
)
def test_names_of_targets(text: str, chip: str, shape: tuple[int, ...]) -> None:
    target = parse(text)
    assert (target.chip, target.shape) == (chip, shape)
    assert target.system == {"gpu-h100": "dgx-h100"}.get(chip, chip)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tpu-v5q:4x4", "no target 'tpu-v5q:4x4'"),
        ("gpu-h100", "needs 3 sizes, such as gpu-h100:1x1x8"),
        ("v5p:4x4", "needs 3 sizes, such as tpu-v5p:4x4x4"),
        ("v5e:4x0", "needs 2 sizes"),
        ("v5e:4y4", "needs 2 sizes"),
    ],
)
def test_what_is_no_target_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse(text)


def test_every_target_has_a_profile() -> None:
    from hardware_profiles.load import names

    for chip in (*TPUS, *GPUS):
        shape = "x".join(["2"] * TPUS[chip][1]) if chip in TPUS else "1x1x8"
        assert parse(f"{chip}:{shape}").system in names()


@pytest.mark.parametrize(
    ("module", "text", "extra"),
    [
        ("libtpu", "v5e:2x2", r"sixfold\[aot-tpu\]"),
        ("jax_plugins", "gpu-h100:1x1x8", r"sixfold\[aot-gpu\]"),
    ],
)
def test_the_extra_to_install_is_named(module: str, text: str, extra: str) -> None:
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed: nothing to refuse")
    with pytest.raises(SpecError, match=extra):
        devices_of(parse(text))


def compiled(tmp_path: Path, target: str) -> dict:
    """Compile the toy for a target in a process of its own."""
    job, out = tmp_path / "job.yaml", tmp_path / "out.json"
    job.write_text(JOB)
    command = [sys.executable, "-m", "planner", "check", str(job), "--compile-for", target]
    done = subprocess.run(
        [*command, "--json", str(out)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax_plugins") is None, reason="NOT RUN: no CUDA plugin (aot-gpu)")
def test_a_step_compiled_for_a_gpu_sends_what_its_plan_says(tmp_path: Path) -> None:
    found = compiled(tmp_path, "gpu-h100:1x1x8")
    assert found["equal"] and found["lines"]
    arguments = found["memory"]["arguments"]
    assert arguments["compiled"] == arguments["predicted"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("libtpu") is None, reason="NOT RUN: no libtpu (aot-tpu)")
def test_a_step_compiled_for_a_tpu_sends_no_less(tmp_path: Path) -> None:
    """It may reduce to all where a plan scatters, which sends twice as much; never less."""
    found = compiled(tmp_path, "tpu-v5e:4x2")
    assert found["unknown"] == []
    for axis in found["by_axis"].values():
        assert axis["predicted"] <= axis["compiled"] <= 2.0 * axis["predicted"]


def test_other_devices_than_the_strategy_s_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.check.ahead.devices_of", lambda target: [None] * target.devices)
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("tp: 2", "tp: 3"))
    with pytest.raises(SpecError):
        ahead(job, parse("gpu-h100:1x1x8"))


def test_the_report_says_what_is_equal() -> None:
    line = {
        "over": ["dp"], "axes": ["dp"], "predicted": 2e9, "compiled": 2e9,
        "compiled_as": [{"kind": "all-reduce", "dtype": "bf16", "bytes": 2e9}],
    }  # fmt: skip
    pair = {"predicted": 1e9, "compiled": 1e9}
    answer = {
        "target": "tpu-v5e:4x2", "compile_s": 9.0, "changes": ["a: b"], "notes": [], "unknown": [],
        "lines": [line, {**line, "axes": [], "predicted": 0.0}],
        "memory": {"arguments": pair, "peak": pair},
    }  # fmt: skip
    _, sent, memory = ahead_sections(answer)
    assert [row[-1] for row in sent.table.rows] == ["equal", "-2,000,000,000 B"]
    assert sent.table.rows[1][0] == "not planned"
    assert "tiles" in memory.notes[0]
