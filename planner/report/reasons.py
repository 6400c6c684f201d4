"""Why the plan is what it is: the six stages, the six slots, the patterns, and what a pin costs.

Reads `checklist`, `design`, `axes`, `patterns` and `pins` of a plan.
"""

from planner.report.content import Bar, Cell, Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import label, percent, quantity, seconds
from planner.report.strategies import in_a_line

__all__ = [
    "checklist_section",
    "design_section",
    "findings_table",
    "patterns_section",
    "pins_section",
]


def numbers_text(numbers: Node) -> str:
    """Write a mapping of figures as words: ``{"step_time_s": 3.2}`` is "step time 3.20 s"."""
    return ", ".join(f"{label(key)} {quantity(key, node.value)}" for key, node in numbers.entries())


def _words(node: Node) -> str:
    """Write text, or a list or mapping of it, in words; nothing is empty."""
    return quantity("", node.value) if node else ""


def checklist_section(checklist: Node) -> Section | None:
    """Return the six stages, each with its choice, the reason and the figures."""
    if not checklist:
        return None
    columns = (Column("stage"), Column("choice"), Column("because"), Column("figures", wide=True))
    rows = tuple(
        (
            label(stage),
            _words(answer["choice"]),
            _words(answer["because"]),
            numbers_text(answer["numbers"]),
        )
        for stage, answer in checklist.entries()
    )
    return Section("checklist", "Six stages", table=Table(columns, rows))


def design_section(design: Node) -> Section | None:
    """Return the six slots: the choice and the reason; the alternatives where there is room."""
    if not design:
        return None
    columns = (
        Column("slot"),
        Column("choice"),
        Column("because"),
        Column("instead of", wide=True),
    )
    rows = tuple(
        (
            label(slot),
            _words(answer["choice"]),
            _words(answer["because"]),
            "; ".join(_alternative(other) for other in answer["alternatives"].items()),
        )
        for slot, answer in design.entries()
    )
    return Section("design", "Six slots", table=Table(columns, rows))


def _alternative(other: Node) -> str:
    if not isinstance(other.value, dict):
        return other.text()
    reason = other["because"].text() or other["why_worse"].text()
    choice = other["choice"].text() or numbers_text(other)
    return f"{choice} ({reason})" if reason else choice


def patterns_section(axes: Node, patterns: Node) -> Section | None:
    """Return the pressure on each axis and the patterns that answer it."""
    if not axes and not patterns:
        return None
    columns = (Column("axis"), Column("pressure", right=True), Column("", wide=True))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (label(axis), percent(node.number()), Bar(min(1.0, max(0.0, node.size()))))
        for axis, node in axes.entries()
    )
    notes = tuple(
        ", ".join(
            part
            for part in (
                pattern["name"].text(),
                f"{percent(pattern['share'].number())} of it",
                f"fit {quantity('', pattern['fit'].value)}",
                pattern["library"].text(),
            )
            if part
        )
        for pattern in patterns.items()
    )
    table = Table(columns, rows) if rows else None
    return Section("axes", "Six axes, and the patterns that answer them", notes, table, wide=True)


def findings_table(findings: Node) -> Table | None:
    """Return entries of the form {what, because, numbers} as a table."""
    rows = tuple(
        (entry["what"].text(), entry["because"].text(), numbers_text(entry["numbers"]))
        for entry in findings.items()
    )
    columns = (Column("what"), Column("because"), Column("figures"))
    return Table(columns, rows) if rows else None


def pins_section(pins: Node) -> Section | None:
    """Return what the pinned values of the strategy cost against leaving all of it free."""
    if not pins:
        return None
    cost, share = pins["cost_s"].number(), pins["cost_share"].number()
    free = seconds(pins["free_step_time_s"].number())
    if cost is not None and cost > 0:
        told = f"The pinned values cost {seconds(cost)} a step ({percent(share)})"
    else:
        told = "The pinned values cost nothing"
    how = in_a_line(pins["free_strategy"]) if pins["free_strategy"] else ""
    notes = (f"{told}: left free, a step takes {free}" + (f" with {how}." if how else "."),)
    return Section("pins", "What the pins cost", notes)
