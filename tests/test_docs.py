"""The documents tell the truth: examples run, names exist, pasted output is near what comes out.

A fenced block says in its first line what it is: `yaml plan` is a whole job and is planned, `yaml
part` is laid over a small job and loaded, `yaml runs` is a runs file and is validated, `sh run`
holds commands that are run one after the other in one folder.
"""

import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, get_args
from xml.dom import minidom

import pytest
from typer.testing import CliRunner

from hardware_profiles.load import names as systems
from hardware_profiles.stack import stack_names
from planner import recommend, spec
from planner.cli import app
from planner.job import Metric
from planner.models.load import names as models
from planner.reading.document import read_text
from planner.validate import validate

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "benchmarks/accuracy/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXT = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in DOCUMENTS}
BLOCK = re.compile(r"^( *)```(\w+) (\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NEAR = 0.1
"""Share by which a pasted figure may be off before it has to be renewed."""
BASE = {
    "workload": {
        "kind": "training",
        "model": "llama-3.1-8b",
        "sequence_length": 8192,
        "global_batch": 64,
    },
    "hardware": {"system": "dgx-h100", "devices": 64},
}
CONFIG = {
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
    "vocab_size": 32000,
}


def blocks(kind: str) -> list[Any]:
    """Blocks of one kind, each named after its document and its place in it."""
    found = []
    for name, text in TEXT.items():
        marked = [m for m in BLOCK.finditer(text) if f"{m[2]} {m[3]}" == kind]
        for index, match in enumerate(marked):
            indent = len(match[1])
            lines = [line[indent:] for line in match[4].splitlines()]
            found.append(pytest.param("\n".join(lines), id=f"{name}-{index}"))
    return found


@pytest.mark.parametrize("job", blocks("yaml plan"))
def test_jobs_are_planned(job: str) -> None:
    made: Mapping[str, Any] = recommend.plan(spec.load(job))
    strategy, prediction = made["strategy"], made["prediction"]
    assert (
        prod(strategy[axis] for axis in ("tp", "cp", "pp", "dp"))
        == (made["job"]["hardware"]["devices"])
    )
    assert prediction["fits"] is True
    search = made["search"]
    assert search["bound"] <= search["objective"]
    closed = search["gap"] == 0.0 and "coarse grid" not in search["covers"]
    assert search["status"] == ("optimal" if closed else "feasible")


@pytest.mark.parametrize("part", blocks("yaml part"))
def test_parts_are_loaded(part: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    value: Any = read_text(part).value
    job = {key: {**BASE[key], **value.get(key, {})} for key in BASE}
    plain = spec.load_mapping(BASE)
    assert spec.load_mapping({**value, **job}, base_dir=tmp_path) != plain


@pytest.mark.parametrize("runs", blocks("yaml runs"))
def test_runs_are_priced(runs: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(runs, "utf-8")
    answer: Mapping[str, Any] = validate([path])
    assert answer["runs"]
    for run in answer["runs"]:
        assert run["skipped"] is None
        assert run["predicted"] == pytest.approx(run["measured"], rel=0.5)


@pytest.mark.parametrize("commands", blocks("sh run"))
def test_commands_run(commands: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "sixfold"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{line}: {done.output}"
    assert (tmp_path / "plan" / "report.html").exists()
    assert list((tmp_path / "configs").iterdir())


@pytest.mark.parametrize("name", TEXT)
def test_links_lead_somewhere(name: str) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", TEXT[name], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        aim = (ROOT / name).parent / path if path else ROOT / name
        assert aim.exists(), f"{name}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", aim.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in anchors, f"{name}: {target}"


@pytest.mark.parametrize("name", TEXT)
def test_names_in_code_exist(name: str) -> None:
    """`package.module.name` and `folder/file` between backticks are there."""
    for dotted in re.findall(
        r"`((?:planner|costmodels|hardware_profiles)(?:\.\w+)+)[`(]", TEXT[name]
    ):
        module, found = dotted, None
        while found is None and module:
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError:
                module = module.rpartition(".")[0]
        value: object = found
        for part in dotted.removeprefix(module).strip(".").split("."):
            value = getattr(value, part) if part else value
    for path in re.findall(
        r"`((?:planner|costmodels|hardware_profiles|tests|benchmarks|docs)/[\w./-]*)`", TEXT[name]
    ):
        assert (ROOT / path).exists(), f"{name}: {path}"


def test_every_key_of_a_job_is_documented() -> None:
    text = TEXT["docs/spec.md"]
    for title, part in {"Job": spec.schema(), **_definitions()}.items():
        if title in ("Pool", "Stage"):
            continue  # keys of what is not planned for yet
        for key in part.get("properties", {}):
            assert re.search(rf"`{key}`|\b{key}:|## {key}\b", text), f"{title}.{key}"


def _definitions() -> dict[str, Any]:
    found = spec.schema()["$defs"]
    assert isinstance(found, dict)
    return found


def test_every_metric_and_preset_is_documented() -> None:
    text = TEXT["docs/spec.md"]
    metrics = get_args(Metric)
    assert len(metrics) == 8
    for word in (*metrics, *stack_names()):
        assert f"`{word}`" in text, word


def test_every_command_is_documented() -> None:
    text = TEXT["docs/commands.md"]
    names = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
    assert len(names) > 10
    for name in names:
        assert f"`sixfold {name}" in text, name


def test_every_fitted_constant_is_documented() -> None:
    fit = _module(ROOT / "benchmarks" / "accuracy" / "fit_steps.py")
    for constant in fit.CONSTANTS:
        assert f"`{constant.name}`" in TEXT["docs/accuracy.md"], constant.name


def _module(path: Path) -> ModuleType:
    made = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    # dataclasses look their module up by name
    importlib.sys.modules[module.__name__] = module  # type: ignore[attr-defined]
    made.loader.exec_module(module)
    return module


def test_counts_of_what_ships() -> None:
    said = TEXT["CHANGELOG.md"]
    assert f"{len(systems())} machines, {len(stack_names())} software stacks" in said
    assert len(models()) > 100


def test_the_pasted_plan_is_near_what_comes_out() -> None:
    """The same sections in the same order; figures of the step within a tenth."""
    refresh = _module(ROOT / "docs" / "refresh.py")
    (match,) = [
        m for m in refresh.MARKED.finditer(TEXT["README.md"]) if m["what"].startswith("plan ")
    ]
    pasted, now = match[0], refresh.shown(match["what"])
    title = re.compile(r"^[A-Z][\w ]+$", re.MULTILINE)
    assert title.findall(pasted) == title.findall(now) != []
    for figure in (r"step time +([\d.]+) s", r"throughput +([\d,]+) tok", r"goodput +([\d.]+)%"):
        then, today = (
            float(re.findall(f"^  {figure}", text, re.MULTILINE)[0].replace(",", ""))
            for text in (pasted, now)
        )
        assert then == pytest.approx(today, rel=NEAR), "renew it: python docs/refresh.py"


def test_the_picture_shows_the_pasted_terms() -> None:
    drawn = minidom.parse(str(ROOT / "docs" / "first-plan.svg"))
    labels = {
        str(text.firstChild.nodeValue)
        for text in drawn.getElementsByTagName("text")
        if text.firstChild
    }
    table = TEXT["README.md"].split("exposed, then hidden\n")[1].split("\n\n")[0]
    terms = {re.split(r"  +", line.strip())[0] for line in table.splitlines()}
    assert len(terms) > 10
    assert terms <= labels


def test_accuracy_tables_agree() -> None:
    refresh = _module(ROOT / "docs" / "refresh.py")

    def shown(what: str) -> list[str]:
        marked = (m for text in TEXT.values() for m in refresh.MARKED.finditer(text))
        return [match[0] for match in marked if match["what"] == what]

    left_out = shown("left out")
    assert len(left_out) == 3
    assert all(refresh.left_out_table() in table for table in left_out)
    tables = shown("accuracy")
    assert len(tables) == 2
    assert len(set(tables)) == 1
    assert re.search(r"^\| all \| [\d,]+ \| [\d.]+% \|", tables[0], re.MULTILINE)
