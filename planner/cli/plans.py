"""Commands about a job and its plan: search it, price it, write it, ask of it.

Parts: `plan`, `predict`, `emit`, `explain`, `what_if`, `report`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.arguments import Job, Json, Plan
from planner.cli.door import Progress
from planner.cli.show import note, show_plan, show_sections, wrote

__all__ = ["emit", "explain", "plan", "predict", "report", "what_if"]


def plan(
    job: Job,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for plan.json, report.html and the configurations."),
    ] = None,
    json: Json = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Seconds to search at most.")
    ] = None,
) -> None:
    """Search for the best plan of a job and print it."""
    from planner import recommend, spec
    from planner.emit import check_targets
    from planner.report import terminal  # noqa: F401  (loaded before the plan is made)

    loaded = spec.load_any(job)
    with spec.located(job), Progress() as progress:
        check_targets(loaded.emit, getattr(loaded.workload, "task", "pretrain"))
        answer = recommend.plan(loaded, time_limit_s=time_limit, progress=progress)
    show_plan(answer, json)
    if out is not None:
        _write_plan(answer, out)


def _write_plan(answer: Mapping[str, object], out: Path) -> None:
    from planner.emit import emit_all
    from planner.emit.write import write_files
    from planner.report import html
    from planner.report.json_text import dumps
    from planner.report.plan_file import emit_targets

    files = {"plan.json": dumps(answer), "report.html": html.render(answer)}
    files |= emit_all(answer, emit_targets(answer))
    write_files(files, out)
    note(wrote(files, out))


def predict(job: Job, json: Json = None) -> None:
    """Price a job whose strategy is pinned, in whole or in part."""
    from planner import recommend, spec

    loaded = spec.load_any(job)
    with spec.located(job):
        answer = recommend.predict(loaded)
    show_plan(answer, json)


def emit(
    plan: Plan,
    target: Annotated[
        list[str], typer.Option(help="A framework, see `targets`; may be given again.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; absent: print the files.")
    ] = None,
) -> None:
    """Write a plan as a framework's configuration."""
    from planner.emit import emit_all
    from planner.emit.write import write_files
    from planner.report.plan_file import read_plan
    from planner.report.screen import put

    files = emit_all(read_plan(plan), target)
    if out is not None:
        write_files(files, out)
        note(wrote(files, out))
        return
    for path, text in files.items():
        put(f"==> {path} <==\n{text}\n" if len(files) > 1 else text)


def explain(
    plan: Plan,
    why_not: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Price this instead; may be given again."),
    ] = None,
    json: Json = None,
) -> None:
    """Say what binds a plan, and what else would cost."""
    from planner.explain import explain as reasons
    from planner.report.answers import explain_sections
    from planner.report.plan_file import read_plan

    answer = reasons(read_plan(plan), why_not or ())
    show_sections(answer, json, lambda: explain_sections(answer))


def what_if(
    job: Job,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="More of --set.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the job."),
    ] = None,
    json: Json = None,
) -> None:
    """Plan again with changed figures."""
    from planner.explain.whatif import what_if as again
    from planner.report.answers import what_if_sections

    answer = again(job, [*(sets or ()), *(more or ())])
    show_sections(answer, json, lambda: what_if_sections(answer))


def report(
    plan: Plan,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page.")] = Path(
        "report.html"
    ),
) -> None:
    """Write the report of a plan as one HTML page."""
    from planner.report import html
    from planner.report.plan_file import read_plan, write_text

    write_text(out, html.render(read_plan(plan)))
    note(f"wrote {out}")
