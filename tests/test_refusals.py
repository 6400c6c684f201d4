"""Wrong input and jobs that cannot be done, through the command line.

One line that says what is wrong and what would do, the right exit code, nothing written.
"""

import json
import re

import pytest
from typer.testing import CliRunner

from planner.cli import app

MODEL = {"name": "small", "layers": 8, "hidden": 1024, "ffn_hidden": 4096, "heads": 8,
         "vocab": 32000}  # fmt: skip


def job(**sections):
    raw = {
        "workload": {"kind": "training", "model": MODEL, "sequence_length": 2048,
                     "global_batch": 64},
        "hardware": {"system": "dgx-h100", "devices": 16},
    }  # fmt: skip
    for name, given in sections.items():
        raw[name] = {**raw.get(name, {}), **given}
    return raw


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that writes a job and runs a command on it in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def do(raw, *arguments, command="plan"):
        text = raw if isinstance(raw, str) else json.dumps(raw)
        (tmp_path / "job.yaml").write_text(text, "utf-8")
        result = CliRunner().invoke(app, [command, "job.yaml", *arguments])
        left = sorted(path.name for path in tmp_path.iterdir())
        return result.exit_code, result.stdout, result.stderr, left

    return do


def refused(run, code, raw, *arguments, command="plan"):
    """Run, check the form of the refusal, and return its message."""
    exit_code, out, err, left = run(raw, *arguments, command=command)
    assert exit_code == code, err
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    assert left == ["job.yaml"]
    return lines[0]


WRONG = {
    "an unknown key": (job(hardware={"device": 8}), "devices"),
    "an unknown model": (job(workload={"model": "llama-3.1-80b"}), "llama-3.1-8b"),
    "an unknown system": (job(hardware={"system": "dgx-h1000"}), "dgx-h100"),
    "an unknown stack": (job(software={"preset": "megatron-cor"}), "megatron-core"),
    "a wrong type": (job(workload={"global_batch": "many"}), "workload.global_batch"),
    "a wrong choice": (job(strategy={"schedule": "2f2b"}), "1f1b"),
    "devices that dp tp pp do not give": (job(strategy={"tp": 4, "pp": 2, "dp": 4, "cp": 1}), "dp"),
    "degrees that do not divide the devices": (job(strategy={"tp": 4, "pp": 3, "cp": 1}), "16"),
    "a batch that is not whole": (
        job(strategy={"tp": 1, "cp": 1, "pp": 1, "dp": 16, "micro_batch": 3}), "micro_batch"),
    "heads that tp does not divide": (job(strategy={"tp": 16}), "heads"),
    "experts of a dense model": (job(strategy={"ep": 4}), "ep"),
    "layers that do not add up": (
        job(strategy={"pp": 2, "vpp": 1, "layers_per_stage": [4, 5]}), "layers_per_stage"),
    "virtual stages without interleaving": (
        job(strategy={"pp": 2, "vpp": 2, "schedule": "1f1b"}), "interleaved"),
    "more stages than layers": (job(strategy={"pp": 16}), "pp"),
    "a shard group that does not divide": (
        job(strategy={"tp": 1, "cp": 1, "pp": 1, "zero_group": 3, "zero": 1}), "zero_group"),
    "a deadline without tokens": (job(constraints={"deadline_s": 3600.0}), "tokens"),
    "what comes later": (job(hardware={"pools": []}), "pools"),
    "not a mapping": ("[1, 2]", "mapping"),
    "nothing": ("", "empty"),
    "not YAML": ("a: [1", ""),
    "the same key twice": ("name: a\nname: b\n", "name"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_named(run, what):
    raw, named = WRONG[what]
    said = refused(run, 2, raw, "--out", "plans", "--json", "plan.json")
    assert named in said
    assert "job.yaml" in said


@pytest.mark.parametrize("command", ["plan", "predict"])
def test_contradictory_pins_are_refused_by_both(run, command):
    raw = job(strategy={"tp": 4, "cp": 1, "pp": 2, "dp": 4})
    said = refused(run, 2, raw, command=command)
    assert re.search(r"\b2\b", said), "the arithmetic is in the message"


BIG = {"name": "big", "layers": 96, "hidden": 12288, "ffn_hidden": 49152, "heads": 96,
       "vocab": 51200}  # fmt: skip
IMPOSSIBLE = {
    "a model that is too big": (
        job(workload={"model": BIG}, hardware={"devices": 8}), "exceed the memory limit"),
    "a pinned plan that does not fit": (
        job(strategy={"tp": 1, "pp": 1, "cp": 1, "zero": 0, "recompute": "none",
                      "micro_batch": 4, "offload": []},
            hardware={"set": {"memory_bytes": 6e9}}), "memory"),
    "a deadline that cannot be kept": (
        job(workload={"tokens": 1e12}, constraints={"deadline_s": 60.0}), "deadline_s 60"),
    "a budget that cannot be kept": (
        job(workload={"tokens": 1e12}, constraints={"max_cost_usd": 1.0}), "max_cost_usd 1"),
    "a rate that cannot be reached": (
        job(constraints={"min_tokens_per_s": 1e12}), "min_tokens_per_s"),
    "rules that leave nothing": (
        job(workload={"global_batch": 2}, strategy={"tp": 1, "pp": 1, "cp": 1}),
        "dp divides the global batch"),
}  # fmt: skip


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_done_says_how_near_it_came(run, what):
    raw, named = IMPOSSIBLE[what]
    code, out, err, left = run(raw, "--out", "plans", "--json", "plan.json")
    if what == "rules that leave nothing" and code == 2:
        return  # pins that contradict each other may be refused at the door
    assert code == 3, err
    assert named in err
    assert (out, left) == ("", ["job.yaml"])
    assert len(err.strip().splitlines()) == 1


def test_no_time_is_no_plan(run):
    said = refused(run, 4, job(), "--time-limit", "0", "--out", "plans")
    assert "time limit" in said


def test_predict_prices_what_does_not_fit(run):
    raw, _ = IMPOSSIBLE["a pinned plan that does not fit"]
    code, out, err, _ = run(raw, "--json", "-", command="predict")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["prediction"]["fits"] is False
    assert made["prediction"]["step_time_s"] > 0


def test_a_file_that_is_not_there(run, tmp_path):
    result = CliRunner().invoke(app, ["plan", "absent.yaml"])
    assert result.exit_code == 2
    assert "absent.yaml" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_good_job_writes_what_it_says_and_prints_json_alone(run, tmp_path):
    code, out, _, left = run(job(), "--json", "-")
    assert code == 0
    assert json.loads(out)["prediction"]["fits"] is True
    assert left == ["job.yaml"]
    code, _, _, left = run(job(), "--out", "plans")
    assert code == 0
    assert left == ["job.yaml", "plans"]
    written = json.loads((tmp_path / "plans" / "plan.json").read_text("utf-8"))
    assert written["strategy"] == json.loads(out)["strategy"]
