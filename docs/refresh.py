"""Renew what the documents show of real runs: plans, the picture, the accuracy table.

    python docs/refresh.py                          # pasted output of commands, and the picture
    python docs/refresh.py VALIDATION.json RUNS...  # the accuracy tables too

VALIDATION.json is what `sixfold validate RUNS... --json VALIDATION.json` wrote.

A marked block looks like this in a document, and everything between the marks is replaced:

    <!-- output: plan planner/examples/llama3-70b-1024-h100.yaml | until Six stages -->
    <!-- end -->

The command runs from the root of the repository. `until TITLE` cuts the output before a line.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import expm1, fsum
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
FIRST_PLAN = ROOT / "planner" / "examples" / "llama3-70b-1024-h100.yaml"
LEFT_OUT = ROOT / "benchmarks" / "accuracy" / "data" / "left_out.csv"
MARKED = re.compile(r"(<!-- output: (?P<what>.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
COLOURS = """<style>
:root { --ink: #1c2430; --soft: #5b6675; --c1: #2563a8; --c2: #1d7f72; --c3: #c2570c;
        --c4: #77808c; --c5: #7a4fb0 }
@media (prefers-color-scheme: dark) {
:root { --ink: #e4e9f0; --soft: #9aa6b5; --c1: #6aa5e8; --c2: #4fc0b0; --c3: #f0965a;
        --c4: #97a1ad; --c5: #b795ea } }
</style>"""


def shown(what: str) -> str:
    """Return the output of a `sixfold` command as a block of text, cut where the mark says."""
    command, _, until = what.partition(" | until ")
    done = subprocess.run(
        [sys.executable, "-m", "planner", *command.split()],
        cwd=ROOT, check=True, capture_output=True, text=True, env={"COLUMNS": "80"},
    )  # fmt: skip
    text = done.stdout
    if until:
        text = text[: text.index(f"\n{until}\n")]
    return f"```text\n$ sixfold {command}\n{text.strip()}\n```\n"


def refreshed(text: str, tables: Mapping[str, str]) -> str:
    """Return a document with its marked blocks renewed; a table that is not given stays."""

    def renew(match: re.Match[str]) -> str:
        what = match["what"]
        if what == "left out":
            return f"{match[1]}{left_out_table()}{match[3]}"
        if what.startswith("measured again "):
            return f"{match[1]}{measured_again(what.rpartition(' ')[2])}{match[3]}"
        if what.startswith("accuracy"):
            return f"{match[1]}{tables[what]}{match[3]}" if what in tables else match[0]
        return f"{match[1]}{shown(what)}{match[3]}"

    return MARKED.sub(renew, text)


def left_out_table() -> str:
    """Return errors by source, each predicted with the whole source left out of the fit."""
    errors: dict[str, list[float]] = {}
    with LEFT_OUT.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            errors.setdefault(row["source"], []).append(expm1(float(row["log_error"])))
    rows = [(name, *_spread(each)) for name, each in sorted(errors.items())]
    rows.append(("all", *_spread([e for each in errors.values() for e in each])))
    means = [fsum(map(abs, each)) / len(each) for each in errors.values()]
    rows.append(("mean over sources", "", _share(fsum(means) / len(means)), "", "", ""))
    return _table("source | runs | mean error | median | 90th percentile | bias", rows)


def _spread(errors: Sequence[float]) -> tuple[str, ...]:
    size = sorted(map(abs, errors))
    tail = size[min(len(size) - 1, int(0.9 * len(size)))]
    mean, bias = fsum(size) / len(size), fsum(errors) / len(size)
    return (f"{len(size):,}", _share(mean), _share(median(size)), _share(tail), _share(bias))


def measured_again(table: str) -> str:
    """Return a table of what the measurements say of themselves."""
    script = LEFT_OUT.parents[1] / "measured_again.py"
    done = subprocess.run(
        [sys.executable, str(script), table], check=True, capture_output=True, text=True
    )
    return done.stdout


def accuracy_tables(validation: Mapping[str, Any], files: Sequence[Path]) -> dict[str, str]:
    """Return the tables of a validation in Markdown: by source, by machine, by group, worst."""
    summary, runs = validation["summary"], validation["runs"]
    sources = [*sorted(summary["by_source"].items()), ("all", summary["overall"])]
    head = "source | runs | mean error | median | bias | Kendall tau | regret | memory"
    ranked = [(r["group"], f"{r['tau']:.2f}", _share(r["regret"])) for r in _rankings(summary)]
    timed = [run for run in runs if run["error"] is not None]
    worst = sorted(timed, key=lambda run: -abs(run["error"]))[:20]
    return {
        "accuracy": _table(head, [(name, *_figures(made)) for name, made in sources]),
        "accuracy by machine": _by_machine(timed, files),
        "accuracy by group": _table("group | Kendall tau | regret", ranked),
        "accuracy, worst": _table(
            "run | source | metric | measured | predicted | error",
            [(r["id"], r["source"], r["metric"], f"{r['measured']:.4g}", f"{r['predicted']:.4g}",
              _share(r["error"])) for r in worst],
        ),
        "accuracy, skipped": _table(
            "runs | skipped because",
            [(f"{many}", why) for why, many in summary["overall"]["skipped"].items()],
        ),
    }  # fmt: skip


def _rankings(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = summary["overall"]["rankings"]
    return sorted(found, key=lambda ranking: str(ranking["group"]))


def _table(head: str, rows: Sequence[tuple[str, ...]]) -> str:
    names = head.split(" | ")
    if not rows:
        return "None.\n"
    right = [all(re.match(r"^[-+\d.,%e]*$", row[i]) for row in rows) for i in range(len(names))]
    rule = " | ".join("---:" if figure else "---" for figure in right)
    return "\n".join([f"| {head} |", f"| {rule} |", *(f"| {' | '.join(r)} |" for r in rows)]) + "\n"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _figures(made: Mapping[str, Any]) -> tuple[str, ...]:
    tau = made["kendall_tau"]
    shares = ("mean_absolute_error", "median_absolute_error", "bias")
    time = [_share(made[key]) for key in shares]
    order = ["" if tau is None else f"{tau:.2f}", _share(made["top1_regret_mean"])]
    return (f"{made['priced']:,}", *time, *order, _share(made["memory_error"]))


def _by_machine(timed: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> str:
    """Errors by machine, dense models and mixtures of experts apart."""
    from planner.validate.runs import job_of, load_runs

    kinds: dict[tuple[str, str], tuple[str, str]] = {}
    for path in files:
        file = load_runs(path)
        for run in file.runs:
            job = job_of(run, file)
            model = "experts" if job.workload.model.moe else "dense"
            kinds[file.source.name, run.id] = (job.hardware.systems[0], model)
    errors: dict[tuple[str, str], list[float]] = {}
    for entry in timed:
        errors.setdefault(kinds[entry["source"], entry["id"]], []).append(entry["error"])
    rows = [
        (machine, model, f"{len(each):,}", _share(fsum(map(abs, each)) / len(each)),
         _share(median(map(abs, each))), _share(fsum(each) / len(each)))
        for (machine, model), each in sorted(errors.items())
    ]  # fmt: skip
    return _table("machine | model | runs | mean error | median | bias", rows)


def picture() -> str:
    """Draw the waterfall of the first plan, as the report does, with colours of its own."""
    from planner import recommend, spec
    from planner.report.figures import figures
    from planner.report.node import Node

    drawn = figures(Node(recommend.plan(spec.load(FIRST_PLAN))), "plan-")["time"]
    start = drawn.index(">") + 1
    return f"{drawn[:start]}{COLOURS}{drawn[start:]}\n"


def main() -> None:
    """Rewrite the documents and docs/first-plan.svg in place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("validation", type=Path, nargs="?")
    parser.add_argument("runs", type=Path, nargs="*")
    given = parser.parse_args()
    tables: dict[str, str] = {}
    if given.validation:
        tables = accuracy_tables(json.loads(given.validation.read_text("utf-8")), given.runs)
    accuracy = ROOT / "benchmarks" / "accuracy" / "README.md"
    for path in [ROOT / "README.md", accuracy, *sorted((ROOT / "docs").glob("*.md"))]:
        path.write_text(refreshed(path.read_text("utf-8"), tables), "utf-8")
    (ROOT / "docs" / "first-plan.svg").write_text(picture(), "utf-8")


if __name__ == "__main__":
    main()
