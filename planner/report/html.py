"""A report as one HTML page: self-contained, offline, light and dark, nothing that runs.

Draws the same `Document` as the terminal, with the sections that need room and the charts. All
text is escaped by the template; the page forbids scripts and connections to itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from planner.report.content import Bar, Document
from planner.report.document import document
from planner.report.figures import figures
from planner.report.json_text import dumps
from planner.report.node import Node

__all__ = ["render"]


@dataclass(frozen=True, slots=True)
class _Page:
    """A report, its charts by section, and the pages of its parts."""

    report: Document
    charts: Mapping[str, Markup]
    parts: tuple["_Page", ...]
    job: str


def render(plan: Mapping[str, object]) -> str:
    """Return the report of a plan dictionary as the text of an HTML file."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["bar"] = lambda cell: isinstance(cell, Bar)
    template = environment.get_template("report.html.j2")
    return template.render(page=_page(document(plan), Node(plan), ""))


def _page(report: Document, plan: Node, prefix: str) -> _Page:
    # The drawings come from svg.py, which escapes names as XML: they are the one trusted part.
    charts = {key: Markup(svg) for key, svg in figures(plan, prefix).items()}
    parts = tuple(
        _page(part, node, f"{prefix}part{index}-")
        for index, (part, node) in enumerate(zip(report.parts, plan["parts"].items(), strict=True))
    )
    job = dumps(plan["job"].mapping()) if plan["job"] else ""
    return _Page(report, charts, parts, job)
