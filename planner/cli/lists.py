"""Commands that show what ships: lists, the schema of jobs, a job to start from.

Parts: `schema`, `systems`, `models`, `targets`, `init`.
"""

from pathlib import Path
from typing import Annotated

import typer

import planner
from planner.cli.arguments import Json
from planner.cli.show import note, show_sections
from planner.errors import SpecError

__all__ = ["init", "models", "schema", "systems", "targets"]

_KINDS = ("training",)


def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    from planner import spec
    from planner.report.json_text import dumps
    from planner.report.screen import put

    put(dumps(spec.schema()))


def systems(json: Json = None) -> None:
    """List the machines that ship."""
    from planner.report import catalogue

    rows, hidden = catalogue.systems(), ("accelerator",)
    show_sections(
        {"systems": rows}, json, lambda: [catalogue.catalogue_section("Systems", rows, hidden)]
    )


def models(json: Json = None) -> None:
    """List the models that ship."""
    from planner.report import catalogue

    rows, hidden = catalogue.models(), ("source", "family")
    show_sections(
        {"models": rows}, json, lambda: [catalogue.catalogue_section("Models", rows, hidden)]
    )


def targets(json: Json = None) -> None:
    """List the frameworks that a plan can be written for."""
    from planner.report import catalogue

    rows = catalogue.targets()
    show_sections({"targets": rows}, json, lambda: [catalogue.catalogue_section("Targets", rows)])


def init(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(_KINDS)}.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a job.yaml.")] = False,
) -> None:
    """Write a job file to start from to ./job.yaml."""
    from planner.nearest import hint
    from planner.report.plan_file import write_text

    if kind not in _KINDS:
        raise SpecError(f"no kind of job {kind[:40]!r}; {hint(kind, _KINDS)}", key="KIND")
    place = Path("job.yaml")
    if place.exists() and not force:
        raise SpecError("exists already; --force replaces it", file=str(place))
    example = Path(planner.__file__).parent / "examples" / f"{kind}.yaml"
    write_text(place, example.read_text("utf-8"))
    note(f"wrote {place}: change it, then run `sixfold plan {place}`")
