"""Jobs that users brought, through the command line: each once had a wrong or a poor answer."""

import json
import re
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


MODEL_8B = "{kind: training, model: llama-3.1-8b, sequence_length: 8192, global_batch: 256%s}"


def job(more: str = "", system: str = "{system: dgx-h100, devices: 16}", **sections: str) -> str:
    lines = [f"workload: {MODEL_8B % more}", f"hardware: {system}"]
    return "\n".join([*lines, *(f"{name}: {text}" for name, text in sections.items())]) + "\n"


def told(text: str, code: int, command: str = "plan") -> str:
    """Return the message of a refusal."""
    Path("job.yaml").write_text(text, "utf-8")
    result = CliRunner().invoke(app, [command, "job.yaml", "--json", "-"])
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    return result.stderr.strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (job(emit="[megatorn]"), "job.yaml:3: emit: no target 'megatorn'; nearest: megatron"),
        (job(system="{system: ./gone.yaml, devices: 8}"),
         "job.yaml:2: hardware.system: gone.yaml: no such file"),
        (job().replace("llama-3.1-8b", "./gone.json"),
         "job.yaml:1: workload.model: gone.json: cannot be read"),
        (job(system="{system: DGX-H100, devices: 8}"), "did you mean 'dgx-h100'?"),
        (job(system="\n  system: dgx-h100\n  devices: 64\n  levels:\n"
             "  - {name: a, devices: 32, bytes_per_s: 1e11, latency_s: 1e-6}"),
         "job.yaml:5: hardware.levels: the outermost level"),
        (job(strategy="{recompute: {full: 40}}"),
         "job.yaml:3: strategy.recompute.full: 40 layers of each stage, but the model has 32"),
        (job(strategy="{pp: 4, recompute: {full: 9}}"), "but a stage holds at most 8"),
        ("parts:\n- {workload: {}}\nhardware: {system: dgx-h100, devices: 8}\n",
         "job.yaml:1: parts: a job of several parts is not supported yet"),
    ],
)  # fmt: skip
def test_a_wrong_job_is_told_where_and_what(text: str, said: str) -> None:
    assert said in told(text, 2)


def test_a_wrong_function_is_told_where():
    Path("shapes.py").write_text("def init(key):\n    return {}\n", "utf-8")
    model = '{jax: "shapes:loss", inputs: {x: [4, 8]}}'
    text = f"workload: {{kind: training, model: {model}, global_batch: 64}}\n"
    message = told(text + "hardware: {system: dgx-h100, devices: 8}\n", 2)
    assert message == "error: job.yaml:1: workload.model.jax: module shapes has no function loss"


def test_a_deadline_that_more_devices_would_keep_says_how_many():
    text = job(", tokens: 1.0e11", constraints="{deadline_s: 2.0e5}")
    message = told(text, 3)
    found = re.search(r"needs [\d.e+]+ s \(([\d.]+) days\).*would hold with (\d+) devices", message)
    assert found, message
    assert float(found[1]) * 86400 > 2.0e5
    text = text.replace("devices: 16", f"devices: {found[2]}")
    Path("job.yaml").write_text(text, "utf-8")
    assert CliRunner().invoke(app, ["plan", "job.yaml"]).exit_code == 0


def test_a_deadline_lost_to_preemptions_asks_for_spares_and_those_help():
    lost = job(
        ", tokens: 2.0e11",
        system="{system: dgx-a100-80gb, devices: 256}",
        constraints="{deadline_s: 8.0e5}",
        failure="{preemption_mean_s: 2.16e4, notice_s: 30, replacement_s: 900}",
    )
    message = told(lost, 3)
    assert "of the time to the run" in message
    assert "failure.spare_nodes" in message
    Path("job.yaml").write_text(lost.replace("900}", "900, spare_nodes: 12}"), "utf-8")
    assert CliRunner().invoke(app, ["plan", "job.yaml"]).exit_code == 0


def notes_of(text: str) -> str:
    Path("job.yaml").write_text(text, "utf-8")
    result = CliRunner().invoke(app, ["plan", "job.yaml", "--json", "-"])
    assert result.exit_code == 0, result.stderr
    return " | ".join(json.loads(result.stdout).get("notes", []))


def test_a_deadline_that_the_interval_may_break_is_said():
    said = notes_of(job(", tokens: 1.0e11", constraints="{deadline_s: 6.2e5, confidence: 0.95}"))
    found = re.search(r"deadline holds with (\d+)%; asking for deadline_s ([\d.e+]+)", said)
    assert found, said
    assert int(found[1]) < 95
    assert 3e5 < float(found[2]) < 6.2e5
    assert "asking for" not in notes_of(job(", tokens: 1.0e11", constraints="{deadline_s: 8.5e6}"))


def test_pools_of_two_vendors_say_what_that_asks_for():
    pools = ("\n  pools:\n  - {name: a, system: mi300x, devices: 8}\n"
             "  - {name: n, system: dgx-h100, devices: 8}")  # fmt: skip
    said = notes_of(job(system=pools))
    assert "amd and nvidia in one job" in said
    assert "no measurement of mi300x" in said


def test_a_run_that_mostly_waits_for_hosts_is_told_of_spares():
    lost = "{preemption_mean_s: 3.0e4, notice_s: 30, replacement_s: 1800%s}"
    workload = ", tokens: 1.0e10"
    machine = "{system: dgx-h100, devices: 256}"
    said = notes_of(job(workload, system=machine, failure=lost % ""))
    assert re.search(r"lost hosts leave \d+% of the time to the run", said)
    spared = notes_of(job(workload, system=machine, failure=lost % ", spare_nodes: 8"))
    assert "lost hosts" not in spared
