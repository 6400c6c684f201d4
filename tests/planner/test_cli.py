"""The command line through its door: output, exit codes, files, start-up."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import planner
from planner.cli import app
from planner.errors import NoFeasiblePlan, SpecError, TimeLimitReached
from planner.report.json_text import dumps

SAMPLE = Path(__file__).parent / "report" / "sample_plan.json"
HEAVY = {"numpy", "scipy", "matplotlib", "networkx", "jax", "pydantic", "jinja2", "rich", "ruamel"}


@pytest.fixture
def sample() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SAMPLE.read_text("utf-8"))
    return loaded


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("name: x\n", "utf-8")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put functions in place of a module of `planner`: these tests are about the door alone."""

    def put(name: str, **members: object) -> None:
        module = ModuleType(f"planner.{name}")
        for key, member in members.items():
            setattr(module, key, member)
        monkeypatch.setitem(sys.modules, f"planner.{name}", module)
        parent, _, last = f"planner.{name}".rpartition(".")
        monkeypatch.setattr(import_module(parent), last, module, raising=False)

    return put


@pytest.fixture
def planned(stand_in: Callable[..., None], sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Make `plan` and `predict` answer with the sample; the calls are kept."""
    calls: list[dict[str, Any]] = []

    def plan(job: object, **options: Any) -> dict[str, Any]:
        calls.append({"job": job, **options})
        options["progress"]("meshes", 1, 2)
        return sample

    def load(path: Path, sets: tuple[str, ...] = ()) -> SimpleNamespace:
        return SimpleNamespace(path=str(path), emit=(), workload=None)

    stand_in(
        "spec", load_any=load, located=lambda path: nullcontext(), schema=lambda: {"type": "x"}
    )
    stand_in("recommend", plan=plan, predict=lambda job: sample)
    return calls


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_plan_prints_the_recommendation(planned: list[dict[str, Any]]) -> None:
    code, out, err = run("plan", "job.yaml", "--time-limit", "2.5")
    assert (code, err) == (0, "")
    assert "llama-3.1-70b on 1,024 x dgx-h100 with tp 8, pp 4" in out
    assert planned[0]["job"].path == "job.yaml"
    assert planned[0]["time_limit_s"] == 2.5


@pytest.mark.usefixtures("planned")
def test_json_to_standard_output_is_json_alone(sample: dict[str, Any]) -> None:
    for command in ("plan", "predict"):
        code, out, err = run(command, "job.yaml", "--json", "-")
        assert (code, err) == (0, "")
        assert json.loads(out) == sample
        assert out == dumps(sample)


@pytest.mark.usefixtures("planned")
def test_json_to_a_file_comes_with_the_report(tmp_path: Path, sample: dict[str, Any]) -> None:
    code, out, _ = run("predict", "job.yaml", "--json", "p.json")
    assert code == 0
    assert "Where the time goes" in out
    assert json.loads((tmp_path / "p.json").read_text()) == sample
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job.yaml", "p.json"]


@pytest.mark.usefixtures("planned")
def test_out_writes_the_plan_the_page_and_the_configurations(
    stand_in: Callable[..., None], sample: dict[str, Any]
) -> None:
    written: dict[str, Any] = {}

    def emit_all(plan: dict[str, Any], targets: Sequence[str]) -> dict[str, str]:
        return {f"{target}/run.sh": plan["job"]["name"] for target in targets}

    stand_in("emit", emit_all=emit_all, check_targets=lambda targets, task: None)
    stand_in("emit.write", write_files=lambda files, out: written.update(files=files, out=out))
    code, out, err = run("plan", "job.yaml", "--out", "o")
    assert code == 0
    assert list(written["files"]) == [
        "plan.json",
        "report.html",
        "megatron/run.sh",
        "torchtitan/run.sh",
    ]
    assert written["files"]["plan.json"] == dumps(sample)
    assert "<svg" in written["files"]["report.html"]
    assert written["out"] == Path("o")
    assert err == "wrote 4 files to o\n"
    assert "Where the time goes" in out


def test_a_real_job_from_file_to_page(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "name: small\n"
        "workload: {kind: training, model: llama-3.1-8b, sequence_length: 8192, global_batch: 64}\n"
        "hardware: {system: dgx-h100, devices: 8}\n"
        "emit: [megatron]\n",
        "utf-8",
    )
    code, out, err = run("plan", "job.yaml", "--out", "o")
    assert (code, err.startswith("wrote ")) == (0, True)
    assert "llama-3.1-8b on 8 x dgx-h100 with " in out
    assert max(map(len, out.splitlines())) <= 80
    made = json.loads((tmp_path / "o" / "plan.json").read_text("utf-8"))
    assert sum(term["exposed_s"] for term in made["prediction"]["time"]) == pytest.approx(
        made["prediction"]["step_time_s"], 1e-12
    )
    assert "Where the time goes" in (tmp_path / "o" / "report.html").read_text("utf-8")
    code, out, err = run("emit", "o/plan.json", "--target", "torchtitan", "--out", "t")
    assert (code, out) == (0, "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SpecError("is wrong", key="a.b", file="job.yaml", line=3), 2, "job.yaml:3: a.b: is wrong"),
        (NoFeasiblePlan("none fits\nclosest by 2 GB"), 3, "none fits closest by 2 GB"),
        (TimeLimitReached("no plan in 1 s"), 4, "no plan in 1 s"),
        (PermissionError(13, "Permission denied", "x/y"), 2, "x/y: Permission denied"),
    ],
)
def test_errors_are_one_line_and_a_code(
    stand_in: Callable[..., None], error: Exception, code: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    stand_in("spec", load_any=fail)
    stand_in("recommend", plan=fail)
    assert run("plan", "job.yaml") == (code, "", f"error: {message}\n")


def test_our_own_faults_say_so_in_one_line(
    stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("tp\nx")

    stand_in("spec", load_any=fail)
    stand_in("recommend", predict=fail)
    code, out, err = run("predict", "job.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("error: internal error (KeyError: ")
    assert err.count("\n") == 1
    assert "SIXFOLD_DEBUG=1" in err
    monkeypatch.setenv("SIXFOLD_DEBUG", "1")
    assert isinstance(CliRunner().invoke(app, ["predict", "job.yaml"]).exception, KeyError)


def test_a_machine_that_is_not_there_is_the_users(stand_in: Callable[..., None]) -> None:
    from hardware_profiles.load import load

    stand_in("spec", load_any=lambda path: load("dgx-h1000"))
    stand_in("recommend", predict=lambda job: {})
    code, _, err = run("predict", "job.yaml")
    assert code == 2
    assert "did you mean 'dgx-h100'" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plane"], "No such command 'plane'"),
        (["plan"], "Missing argument 'JOB'"),
        (["plan", "job.yaml", "--jsn", "-"], "No such option: --jsn"),
        (["plan", "job.yaml", "--time-limit", "soon"], "'--time-limit'"),
        (["--nothing"], "No such option: --nothing"),
        (["emit", "p.json"], "--target"),
        (["report", "none.json"], "none.json: cannot be read"),
        (["report", "job.yaml"], "job.yaml:1: not JSON"),
        (["speedup", "--compute-s", "1"], "give --compute-s, --alpha-s and --transfer-s"),
        (["speedup", "--measured", "8"], "--measured: '8' is not DEVICES:SECONDS"),
        (["speedup", "--measured", "1:2", "2:1", "--at", "x"], "--at: 'x' is not a whole number"),
        (["init", "trainin"], "KIND: no kind of job 'trainin'; nearest: training"),
        (["init", "training"], "job.yaml: exists already; --force replaces it"),
    ],
)
def test_wrong_usage_is_one_line_and_two(arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_help_and_version() -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert run() == (0, out, "")
    names = [line.split()[0] for line in out.split("Commands:\n")[1].splitlines()]
    assert " ".join(names) == (
        "plan predict validate calibrate emit explain what-if solve speedup check report schema "
        "systems models targets init"
    )
    assert all(run(name, "--help")[0] == 0 for name in names)
    assert run("--version") == (0, f"sixfold {planner.__version__}\n", "")


def test_the_version_is_the_distributions() -> None:
    project = Path(planner.__file__).parent.parent / "pyproject.toml"
    assert f'\nversion = "{planner.__version__}"\n' in project.read_text("utf-8")


def test_emit_prints_files_or_writes_them(stand_in: Callable[..., None]) -> None:
    files = {"t/a.sh": "echo a\n", "t/b.py": "b = 1\n"}
    written: dict[str, Any] = {}
    stand_in(
        "emit", emit_all=lambda plan, targets: {k: files[k] for k in list(files)[: len(targets)]}
    )
    stand_in("emit.write", write_files=lambda told, out: written.update(told))
    assert run("emit", str(SAMPLE), "--target", "t") == (0, "echo a\n", "")
    code, out, _ = run("emit", str(SAMPLE), "--target", "t", "--target", "u")
    assert (code, out) == (0, "==> t/a.sh <==\necho a\n\n==> t/b.py <==\nb = 1\n\n")
    assert run("emit", str(SAMPLE), "--target", "t", "--out", "o")[1:] == (
        "",
        "wrote 1 file to o\n",
    )
    assert written == {"t/a.sh": "echo a\n"}


def test_explain_passes_the_plan_and_the_questions(stand_in: Callable[..., None]) -> None:
    asked: list[Any] = []

    def explain(plan: dict[str, Any], why_not: Sequence[str]) -> dict[str, Any]:
        asked.append((plan["schema_version"], list(why_not)))
        return {"binds": [{"what": "memory", "because": "2% is left", "numbers": {}}]}

    stand_in("explain", explain=explain)
    code, out, _ = run("explain", str(SAMPLE), "--why-not", "tp=4", "--why-not", "pp=8")
    assert (code, asked) == (0, [(1, ["tp=4", "pp=8"])])
    assert "2% is left" in out
    assert json.loads(run("explain", str(SAMPLE), "--json", "-")[1])["binds"]


def test_what_if_takes_settings_after_one_option(stand_in: Callable[..., None]) -> None:
    asked: list[Any] = []

    def what_if(path: Path, sets: Sequence[str]) -> dict[str, Any]:
        asked.append((path, list(sets)))
        return {"base": {"step_time_s": 1.0}, "changed": {"step_time_s": 2.0}, "sensitivity": []}

    stand_in("explain.whatif", what_if=what_if)
    code, out, _ = run("what-if", "job.yaml", "--set", "a=1", "b=2", "--set", "c=3")
    assert (code, asked) == (0, [(Path("job.yaml"), ["a=1", "c=3", "b=2"])])
    assert "2.00 s" in out


def test_validate_passes_every_file(stand_in: Callable[..., None]) -> None:
    asked: list[Any] = []

    def compare(paths: Sequence[Path], progress: object) -> SimpleNamespace:
        asked.extend(paths)
        return SimpleNamespace(answer={"runs": [], "summary": {}}, priced=())

    stand_in("fitting.diagnosis", explained=lambda priced, progress: {"said": ["nothing is off"]})
    stand_in("validate", compare=compare)
    code, out, _ = run("validate", "a.yaml", "b.yaml", "--json", "v.json")
    assert (code, asked) == (0, [Path("a.yaml"), Path("b.yaml")])
    assert "0 of 0 runs were priced." in out
    assert "nothing is off" in out
    written = json.loads(Path("v.json").read_text())
    assert written == {"runs": [], "summary": {}, "explained": {"said": ["nothing is off"]}}


def test_validate_writes_a_profile_and_plots(tmp_path: Path) -> None:
    from measured import job, runs_file

    jobs = [job(tp=tp, micro_batch=size) for tp in (1, 2, 4) for size in (1, 4)]
    runs_file(Path("runs.yaml"), jobs, [0.2] * 6)
    code, out, err = run("validate", "runs.yaml", "--fit", "mine.yaml", "--plots", "plots")
    assert code == 0, err
    assert "Profile mine, from 6 runs" in out
    assert Path("mine.yaml").read_text().startswith("# Written by `sixfold validate --fit`.")
    assert (Path("plots") / "predicted.svg").exists()
    code, _, err = run("validate", "runs.yaml", "--fit", "mine")
    assert code == 2
    assert "ends in .yaml" in err


def test_speedup_in_both_forms() -> None:
    code, out, _ = run("speedup", "--compute-s", "1", "--alpha-s", "8e-4", "--transfer-s", "0.04")
    assert code == 0
    assert "p* = 34: speed-up 7.49x" in out
    code, out, _ = run(
        "speedup", "--measured", "1:10", "2:5.5", "4:3.5", "--at", "8", "16", "--json", "-"
    )
    assert code == 0
    answer = json.loads(out)
    assert [point["devices"] for point in answer["points"]] == [8, 16]
    assert len(answer["measured"]) == 3


def test_report_writes_one_page(tmp_path: Path) -> None:
    assert run("report", str(SAMPLE), "-o", "r.html") == (0, "", "wrote r.html\n")
    assert "</html>" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("command", ["systems", "models"])
def test_what_ships_is_listed(command: str) -> None:
    code, out, err = run(command)
    assert (code, err) == (0, "")
    rows = json.loads(run(command, "--json", "-")[1])[command]
    assert len(rows) == out.count("\n") - 2
    assert rows[0]["name"] in out


@pytest.mark.usefixtures("planned")
def test_schema_is_json() -> None:
    assert json.loads(run("schema")[1]) == {"type": "x"}


def test_init_writes_a_job_that_loads(tmp_path: Path) -> None:
    example = Path(planner.__file__).parent / "examples" / "training.yaml"
    if not example.exists():
        pytest.skip("the example for `init training` is not written yet")
    assert run("init", "training", "--force")[0] == 0
    assert (tmp_path / "job.yaml").read_text("utf-8") == example.read_text("utf-8")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from planner.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: sixfold" in done.stdout or "Usage: " in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_a_reader_that_leaves_is_no_fault_of_ours() -> None:
    command = [sys.executable, "-m", "planner", "models", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_an_encoding_without_the_characters_is_no_fault() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "planner", "speedup", "--compute-s", "1e-5", "--alpha-s", "0",
         "--transfer-s", "0"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert b"10.0 ?s" in done.stdout
    assert done.stderr == b""
