"""More jobs that users brought, through the command line: each once had a wrong or poor answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planner.cli import app


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(job: str, command: str = "plan") -> dict[str, Any]:
    """Return the document of a job that is planned or predicted."""
    Path("job.yaml").write_text(job, "utf-8")
    result = CliRunner().invoke(app, [command, "job.yaml", "--json", "-"])
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_no_step_is_shorter_than_what_the_link_between_two_stages_carries():
    """12.5 MB/s between boxes cannot hide under seconds of compute."""
    job = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 2048, global_batch: 512}
hardware:
  system: l40s
  devices: 24
  levels:
    - {name: box, devices: 8, bytes_per_s: 2.5e10, latency_s: 5.0e-6}
    - {name: net, devices: 24, bytes_per_s: 1.25e7, latency_s: 3.0e-2}
strategy: {tp: 1, cp: 2, pp: 3, zero: 1, micro_batch: 1, consistency: synchronous}
"""
    made = ran(job, "predict")["prediction"]
    activations = 512 * 2048 * 2048 * 2.0  # tokens of a step, hidden, bf16: out of a box, one way
    assert made["step_time_s"] > activations / 1.25e7
    terms = {term["name"]: term for term in made["time"]}
    compute_s = sum(t["exposed_s"] for t in made["time"] if t["kind"] in ("compute", "hbm"))
    assert terms["stage boundary sends"]["hidden_s"] <= compute_s
