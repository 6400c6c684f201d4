"""How a command shows its answer: as text or JSON, and what it wrote, on standard error.

Parts: `note`, `show_plan`, `show_sections`, `wrote`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from planner.report.content import Section

__all__ = ["note", "show_plan", "show_sections", "wrote"]


def show_plan(answer: Mapping[str, object], json: str | None) -> None:
    """Print a plan, or write it as JSON."""
    from planner.report.screen import colour, show, width
    from planner.report.terminal import render

    show(answer, json, lambda: render(answer, width=width(), colour=colour()))


def show_sections(
    answer: Mapping[str, object],
    json: str | None,
    sections: Callable[[], Sequence["Section"]],
) -> None:
    """Print sections, or write the answer that they are of as JSON."""
    from planner.report.screen import colour, show, width
    from planner.report.terminal import render_sections

    show(answer, json, lambda: render_sections(sections(), width=width(), colour=colour()))


def wrote(files: Mapping[str, str], out: Path) -> str:
    """Say how many files are where."""
    return f"wrote {len(files)} {'file' if len(files) == 1 else 'files'} to {out}"


def note(text: str) -> None:
    """Print a line on standard error."""
    typer.echo(text, err=True)
