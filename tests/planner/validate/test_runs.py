"""Runs files: both ways of writing them, what absent keys mean, and what is refused."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from planner.errors import SpecError
from planner.models.load import load
from planner.validate.runs import RunsFile, job_of, load_runs

HEAD = """\
source:
  name: a source
  where: somewhere
  noise: 0.02
  attention_flop: full
  cautions:
  - 'one: two'
runs:
"""
JOB = (
    "job: {workload: {kind: training, model: llama-3.1-8b, sequence_length: 8192,"
    " global_batch: 16}, hardware: {system: dgx-h100, devices: 8}, strategy: {STRATEGY}}"
)
RUN = (
    "  - {id: a, group: null, " + JOB + ", measured: {step_time_s: 2.5, peak_memory_bytes: },"
    " inferred: [workload.precision]}\n"
)
MEASURED = Path(__file__).parents[4] / "shared" / "measurements" / "training"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "runs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def one(tmp_path: Path, strategy: str = "") -> RunsFile:
    return load_runs(written(tmp_path, HEAD + RUN.replace("STRATEGY", strategy)))


def refused(tmp_path: Path, text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_runs(written(tmp_path, text))
    return caught.value


def test_a_runs_file(tmp_path: Path) -> None:
    file = one(tmp_path)
    assert (file.source.name, file.source.noise) == ("a source", 0.02)
    assert file.source.cautions == ("one: two",)
    run = file.runs[0]
    assert (run.id, run.group, run.line) == ("a", None, 9)
    assert run.measured.step_time_s == 2.5
    assert run.measured.peak_memory_bytes is None
    assert run.measured.outcome == "ok"
    assert run.inferred == ("workload.precision",)


def test_block_style_and_json_read_the_same(tmp_path: Path) -> None:
    text = HEAD + RUN.replace("STRATEGY", "tp: 2")
    fast = load_runs(written(tmp_path, text))
    slow = load_runs(written(tmp_path, text.replace("\nruns:\n", "\nruns: # by another way\n")))
    raw = YAML(typ="safe", pure=True).load(text)
    as_json = load_runs(written(tmp_path, json.dumps(raw, indent=1)))
    block = tmp_path / "block.yaml"
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(raw, block)
    assert fast.runs == slow.runs
    for other in (as_json, load_runs(block)):
        assert other.source == fast.source
        assert [run.job for run in other.runs] == [run.job for run in fast.runs]


@pytest.mark.parametrize(
    ("strategy", "vpp"), [("", 1), ("schedule: 1f1b", 1), ("schedule: interleaved, pp: 2", 2)]
)
def test_absent_keys(tmp_path: Path, strategy: str, vpp: int) -> None:
    file = one(tmp_path, strategy)
    pinned = job_of(file.runs[0], file).strategy
    assert (pinned.cp, pinned.ep, pinned.etp, pinned.vpp) == (1, 1, 1, vpp)
    assert pinned.offload == ()
    assert pinned.zero is pinned.sp is pinned.recompute is pinned.micro_batch is None


def test_given_keys_stay(tmp_path: Path) -> None:
    file = one(tmp_path, "cp: 2, vpp: null, offload: [optimizer], recompute: full")
    pinned = job_of(file.runs[0], file).strategy
    assert (pinned.cp, pinned.vpp, pinned.recompute) == (2, 1, "full")
    assert pinned.offload == ("optimizer",)


def test_a_published_name_with_its_sizes_brings_what_is_published_beside(tmp_path: Path) -> None:
    oss = "{name: gpt-oss-20b, layers: LAYERS, hidden: 2880, ffn_hidden: 2880, heads: 64,"
    oss += (
        " kv_heads: 8, head_dim: 64, vocab: 201088, moe: {experts: 32, top_k: 4, ffn_hidden: 2880}}"
    )
    text = HEAD + RUN.replace("model: llama-3.1-8b", f"model: {oss}").replace("STRATEGY", "")
    made = []
    for layers in ("24", "12"):
        file = load_runs(written(tmp_path, text.replace("LAYERS", layers)))
        made.append(job_of(file.runs[0], file).workload.model)
    assert made[0] == load("gpt-oss-20b")
    assert (made[1].attention.window, made[1].linear_bias) == (None, False)


@pytest.mark.parametrize(
    ("preset", "layers"), [("megatron-core", 1), ("primus", 1), ("fsdp-compile", 0), ("maxtext", 0)]
)
def test_recipes_of_megatron_alone_train_multi_token_prediction(
    tmp_path: Path, preset: str, layers: int
) -> None:
    v3 = "{name: deepseek-v3, layers: 61, hidden: 7168, heads: 128, kv_heads: 128, vocab: 129280,"
    v3 += " ffn_hidden: 18432, moe: {experts: 256, top_k: 8, ffn_hidden: 2048}}"
    text = HEAD + RUN.replace("model: llama-3.1-8b", f"model: {v3}").replace("STRATEGY", "")
    text = text.replace("strategy: {}", f"strategy: {{}}, software: {{preset: {preset}}}")
    file = load_runs(written(tmp_path, text))
    model = job_of(file.runs[0], file).workload.model
    assert (model.attention.kind, model.mtp_layers) == ("mla", layers)


def test_a_wrong_job_is_told_with_its_line(tmp_path: Path) -> None:
    file = one(tmp_path, "tp: 3")
    with pytest.raises(SpecError) as caught:
        job_of(file.runs[0], file)
    said = "strategy.tp: tp 3 * cp 1 = 3 does not divide devices 8"
    assert str(caught.value) == f"{tmp_path / 'runs.yaml'}:9: {said}"


def test_serving_runs_are_read_and_their_jobs_wait(tmp_path: Path) -> None:
    text = HEAD + RUN.replace("STRATEGY", "").replace("kind: training", "kind: serving")
    file = load_runs(written(tmp_path, text))
    with pytest.raises(SpecError, match="kind serving is not supported yet"):
        job_of(file.runs[0], file)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("id: a, ", "", 9, "runs.0.id: is needed"),
        ("step_time_s", "step_time", 9, "nearest: step_time_s"),
        ("2.5", "-2.5", 9, "got -2.5; allowed: a number above 0"),
        ("2.5", ".inf", 9, "not a number"),
        ("{id: a,", "{id: a, line: 3,", 9, "unknown key 'line'"),
        ("attention_flop: full", "attention_flop: half", 5, "one of full, causal"),
        ("runs:", "rums:", 8, "nearest: runs"),
        ("measured: {", "measured: [{", 9, "not YAML"),
        ("  noise: 0.02", "  noise: 0.02\n  noise: 1", 5, "key given twice"),
        ("source:", "path: x\nsource:", 1, "unknown key 'path'"),
        ("  - {id: a,", f"{RUN.rstrip()}\n  - {{id: a,", 10, "'a' is given twice, first on line 9"),
        ("{step_time_s: 2.5, peak_memory_bytes: }", "{}", 9, "says nothing: one of step_time_s"),
        ("{step_time_s: 2.5,", "{step_time_s: null,", 9, "measured: says nothing"),
        ("bytes: }", "bytes: 60}", 9, "60 counts bytes: 60 GB is 60e9"),
        ("{id: a,", "{id: a, notes: x,", 9, "allowed: id, group, job, measured, inferred"),
    ],
)
def test_faults_of_the_file(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    error = refused(tmp_path, (HEAD + RUN).replace(old, new, 1))
    assert said in str(error)
    assert error.line == line


@pytest.mark.parametrize("text", ["", "- a", "runs: []\nsource: {name: a}", "runs:\nsource: 3"])
def test_what_is_no_runs_file(tmp_path: Path, text: str) -> None:
    assert str(refused(tmp_path, text)).isprintable()


@settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_mutated_files_raise_spec_errors_only(tmp_path: Path, data: st.DataObject) -> None:
    text = HEAD + RUN.replace("STRATEGY", "tp: 2")
    start = data.draw(st.integers(0, len(text)))
    put = data.draw(st.text(alphabet="{}[]:,- \n&*'\"0ea", max_size=8))
    text = text[:start] + put + text[start + data.draw(st.integers(0, 12)) :]
    try:
        file = load_runs(written(tmp_path, text))
        job_of(file.runs[0], file)
    except SpecError as error:
        assert str(error).isprintable()


@pytest.mark.skipif(not MEASURED.is_dir(), reason=f"no measured runs at {MEASURED}")
def test_measured_runs_are_read_fast_and_as_yaml() -> None:
    start = time.process_time()
    files = [load_runs(path) for path in sorted(MEASURED.glob("*.yaml"))]
    jobs = [job_of(run, file) for file in files for run in file.runs]
    assert len(jobs) >= 2000
    assert time.process_time() - start < 15.0
    for file in files:
        if len(file.runs) > 100:
            continue
        raw = YAML(typ="safe", pure=True).load(Path(file.path).read_text(encoding="utf-8"))
        for run, given_run in zip(file.runs, raw["runs"], strict=True):
            assert run.job == given_run["job"]
            assert run.id == given_run["id"]
