"""A report as text for the terminal: 80 columns, colour only where it helps, plain when piped.

Draws a `Document`; Rich turns the names of styles into colours. Names from outside are plain
text here: no markup is read in them, and what would steer a terminal was taken out before.

Parts: `render` (a plan), `render_document`, `render_sections`.
"""

import io
from collections.abc import Iterable, Mapping

from planner.report.content import Document, Section
from planner.report.document import document
from planner.report.layout import Line, sentence_lines, table_lines

__all__ = ["WIDTH", "render", "render_document", "render_sections"]

WIDTH = 80
_LEAST_WIDTH = 60
_STYLES = {"title": "bold", "heading": "bold cyan", "warning": "bold red", "bar": "cyan"}


def render(plan: Mapping[str, object], *, width: int = WIDTH, colour: bool = False) -> str:
    """Return the report of a plan dictionary as text of at most `width` columns."""
    return render_document(document(plan), width=width, colour=colour)


def render_document(report: Document, *, width: int = WIDTH, colour: bool = False) -> str:
    """Return a report as text of at most `width` columns, coloured where asked."""
    return _text(_document_lines(report, max(width, _LEAST_WIDTH)), colour)


def render_sections(
    sections: Iterable[Section], *, width: int = WIDTH, colour: bool = False
) -> str:
    """Return some sections as text, without a title above them."""
    width = max(width, _LEAST_WIDTH)
    lines = [line for section in sections for line in _section_lines(section, width)]
    return _text(lines[1:], colour)


def _document_lines(report: Document, width: int) -> list[Line]:
    lines = sentence_lines(report.title, width, 0, "title")
    lines += sentence_lines(report.headline, width, 0)
    for warning in report.warnings:
        lines += sentence_lines(warning, width, 0, "warning")
    for section in report.sections:
        if not section.wide:
            lines += _section_lines(section, width)
    for part in report.parts:
        lines += [[], *_document_lines(part, width)]
    return lines


def _section_lines(section: Section, width: int) -> list[Line]:
    lines: list[Line] = [[]]
    if section.title:
        lines += sentence_lines(section.title, width, 0, "heading")
    for note in section.notes:
        lines += sentence_lines(note, width, 2)
    return lines + table_lines(section.table, width) if section.table else lines


def _text(lines: list[Line], colour: bool) -> str:
    if not colour:
        told = ("".join(text for text, _ in line).rstrip() for line in lines)
        return "\n".join(told) + "\n"
    return _coloured(lines)


def _coloured(lines: list[Line]) -> str:
    """Return the lines with the escape codes that Rich gives for their styles."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="standard", legacy_windows=False
    )
    for line in lines:
        pieces = ((text, _STYLES.get(style, style)) for text, style in line if text)
        console.print(Text.assemble(*pieces), soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
