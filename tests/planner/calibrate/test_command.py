"""`sixfold calibrate` itself, cut to a few points: one process, two, and one that is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from quick_xla import QUICK

from hardware_profiles.load import load
from planner.calibrate.journal import journal_of

PROGRAM = Path(__file__).with_name("few_points.py")
JOB = """
name: tiny
workload:
  kind: training
  model: {{name: tiny, layers: 4, hidden: 256, ffn_hidden: 1024, heads: 8, vocab: 2048}}
  sequence_length: 128
  global_batch: 16
  precision: fp32
hardware: {{system: {profile}, devices: {devices}}}
"""


def start(out: Path, *more: str, until: int = 0, devices: int = 2) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "FEW_POINTS_UNTIL": str(until),
        "JAX_PLATFORMS": "cpu",
        **QUICK,
    }
    command = [sys.executable, str(PROGRAM), "calibrate", "--quick", "--devices", str(devices),
               "--out", str(out), *more]  # fmt: skip
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_a_run_cut_short_continues_and_its_profile_plans(tmp_path: Path) -> None:
    out = tmp_path / "here.yaml"
    cut = start(out, until=6)
    cut.communicate(timeout=300)
    assert cut.returncode == 9
    assert not out.exists()
    journal = journal_of(out).read_text().splitlines()
    assert len(journal) == 7
    whole = start(out, "--json", str(tmp_path / "said.json"))
    printed, error = whole.communicate(timeout=300)
    assert whole.returncode == 0, error
    assert journal_of(out).read_text().splitlines()[:7] == journal
    assert "wrote" in error
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["machine"]["devices_per_process"] == 2
    profile = load(str(out))
    assert profile.host.devices == 2
    assert profile.network[0].devices == 2
    assert profile.kernels.matmul["fp32"].efficiency.basis == "fitted"
    assert profile.memory_bytes_per_s.basis == "measured"
    assert profile.power.device_w.basis == profile.usd_per_device_hour.basis == "assumed"
    head = [line for line in out.read_text().splitlines() if line.startswith("#")]
    assert any("held back" in line for line in head)
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(profile=out, devices=2))
    planned = subprocess.run(
        [sys.executable, "-m", "planner", "plan", str(job), "--json", "-"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["prediction"]["step_time_s"] > 0


def test_two_processes_find_two_levels(tmp_path: Path) -> None:
    where = address()
    both = [
        start(tmp_path / f"{i}.yaml", "--coordinator", where, "--processes", "2",
              "--process-id", str(i))
        for i in range(2)
    ]  # fmt: skip
    said = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert not (tmp_path / "1.yaml").exists()
    profile = load(str(tmp_path / "0.yaml"))
    assert [(level.name, level.devices) for level in profile.network[:2]] == [
        ("process", 2),
        ("node", 4),
    ]
    assert profile.host.devices == 4
    for level in profile.network[:2]:
        assert level.latency_s.basis == level.bytes_per_s.basis == "fitted"
    assert profile.network[2].bytes_per_s.basis == "assumed"


def test_a_process_that_is_told_to_end_ends_the_others_with_one_message(tmp_path: Path) -> None:
    where = address()
    there = start(tmp_path / "a.yaml", "--coordinator", where, "--processes", "2",
                  "--process-id", "0")  # fmt: skip
    lost = start(tmp_path / "b.yaml", "--coordinator", where, "--processes", "2",
                 "--process-id", "1")  # fmt: skip
    journal = journal_of(tmp_path / "a.yaml")
    while not journal.exists() or journal.read_text().count("\n") < 4:
        assert there.poll() is None and lost.poll() is None
        time.sleep(0.05)
    lost.terminate()
    lost.communicate(timeout=10)
    assert lost.returncode == -signal.SIGTERM
    _, error = there.communicate(timeout=300)
    assert there.returncode == 1, error
    assert error.count("another process of the job was lost") == 1
    assert not (tmp_path / "a.yaml").exists()
    assert journal.read_text().count("\n") >= 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--coordinator", "x:1"), "go together: give all three"),
        (("--coordinator", "x:1", "--processes", "2", "--process-id", "2"), "is from 0 to 1"),
    ],
)
def test_options_that_do_not_go_together(more: tuple[str, ...], message: str) -> None:
    from planner.calibrate.launch import Joining, join
    from planner.errors import SpecError

    values = dict(zip(more[::2], more[1::2], strict=True))
    how = Joining(
        values["--coordinator"],
        int(values["--processes"]) if "--processes" in values else None,
        int(values["--process-id"]) if "--process-id" in values else None,
    )
    with pytest.raises(SpecError, match=message):
        join(how, {})
