"""Jobs that users brought, through the command line: each once had a wrong or a poor answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planner.cli import app

MODEL = "{layers: 8, hidden: 2048, ffn_hidden: 5632, heads: 16, vocab: 32000%s}"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def predicted(job: str) -> dict[str, Any]:
    Path("job.yaml").write_text(job, "utf-8")
    result = CliRunner().invoke(app, ["predict", "job.yaml", "--json", "-"])
    assert result.exit_code == 0, result.stderr
    plan: dict[str, Any] = json.loads(result.stdout)
    return plan["prediction"]


def attention_s(kinds: str, sequence: int) -> float:
    job = f"""\
workload: {{kind: training, model: {MODEL % kinds}, sequence_length: {sequence}, global_batch: 8}}
hardware: {{system: dgx-h100, devices: 8}}
strategy: {{tp: 1, cp: 1, pp: 1, zero: 1, micro_batch: 1, recompute: none}}
"""
    return sum(t["exposed_s"] for t in predicted(job)["time"] if t["name"].startswith("attention"))


def test_linear_attention_costs_by_the_token_not_by_the_context():
    linear = ", layer_types: [linear_attention]"
    short, long = attention_s(linear, 65536), attention_s(linear, 262144)
    assert long == pytest.approx(4 * short, rel=0.05)
    # 262,144 tokens: half of them seen by a query, against 128 + 32 keys' worth of a state
    assert attention_s("", 262144) > 100 * long


def test_a_hybrid_pays_for_its_full_layers_alone():
    hybrid = attention_s(
        ", layer_types: [linear_attention, linear_attention, linear_attention, full_attention]",
        262144,
    )
    assert hybrid == pytest.approx(attention_s("", 262144) / 4, rel=0.02)


def test_a_context_of_a_round_million_is_split_as_a_pin_may_be():
    """1,000,000 tokens divide by 64 and not by 128: no plan may shard them over tp 8 and cp 16."""
    job = """\
workload: {kind: training, model: llama-3.1-70b, sequence_length: 1000000, global_batch: 4}
hardware: {system: gb200-nvl72, devices: 256}
strategy: {tp: [4, 8], cp: [16, 32], pp: [1, 2, 4]}
"""
    Path("job.yaml").write_text(job, "utf-8")
    result = CliRunner().invoke(app, ["plan", "job.yaml", "--json", "-"])
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    given = {"hardware": plan["job"]["hardware"], "workload": plan["job"]["workload"]}
    again = predicted(json.dumps({**given, "strategy": plan["strategy"]}))
    assert again == plan["prediction"]
