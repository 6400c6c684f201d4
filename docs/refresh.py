"""Renew what the documents show of real runs: plans, the picture, the accuracy table.

    python docs/refresh.py                 # pasted output of commands, and the picture
    python docs/refresh.py VALIDATION.json # the accuracy tables too, from `sixfold validate --json`

A marked block looks like this in a document, and everything between the marks is replaced:

    <!-- output: plan planner/examples/llama3-70b-1024-h100.yaml | until Six stages -->
    <!-- end -->

The command runs from the root of the repository. `until TITLE` cuts the output before a line.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST_PLAN = ROOT / "planner" / "examples" / "llama3-70b-1024-h100.yaml"
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


def refreshed(text: str, accuracy: str) -> str:
    """Return a document with its marked blocks renewed; no accuracy given leaves that table."""

    def renew(match: re.Match[str]) -> str:
        what = match["what"]
        if what == "accuracy":
            return f"{match[1]}{accuracy}{match[3]}" if accuracy else match[0]
        return f"{match[1]}{shown(what)}{match[3]}"

    return MARKED.sub(renew, text)


def accuracy_table(validation: Mapping[str, Mapping[str, object]]) -> str:
    """Return the summary of a validation as a Markdown table, a row a source."""
    summary = validation["summary"]
    sources, overall = summary["by_source"], summary["overall"]
    assert isinstance(sources, dict)
    lines = [
        "| source | runs | mean error | median | bias | Kendall tau | regret | memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, figures in [*sorted(sources.items()), ("all", overall)]:
        lines.append(f"| {name} | " + " | ".join(_cells(figures)) + " |")
    return "\n".join(lines) + "\n"


def _cells(figures: object) -> list[str]:
    assert isinstance(figures, dict)

    def share(key: str) -> str:
        return "" if figures[key] is None else f"{figures[key]:.1%}"

    tau = figures["kendall_tau"]
    time = [share(key) for key in ("mean_absolute_error", "median_absolute_error", "bias")]
    ranked = ["" if tau is None else f"{tau:.2f}", share("top1_regret_mean")]
    return [f"{figures['priced']:,}", *time, *ranked, share("memory_error")]


def picture() -> str:
    """Draw the waterfall of the first plan, as the report does, with colours of its own."""
    from planner import recommend, spec
    from planner.report.figures import figures
    from planner.report.node import Node

    drawn = figures(Node(recommend.plan(spec.load(FIRST_PLAN))), "plan-")["time"]
    start = drawn.index(">") + 1
    return f"{drawn[:start]}{COLOURS}{drawn[start:]}\n"


def main() -> None:
    """Rewrite README.md, docs/*.md and docs/first-plan.svg in place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("validation", type=Path, nargs="?")
    given: Path | None = parser.parse_args().validation
    accuracy = accuracy_table(json.loads(given.read_text("utf-8"))) if given else ""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        path.write_text(refreshed(path.read_text("utf-8"), accuracy), "utf-8")
    (ROOT / "docs" / "first-plan.svg").write_text(picture(), "utf-8")


if __name__ == "__main__":
    main()
