"""What `sixfold solve` prints: status, cost, bound, gap, what is used of the limit."""

from collections.abc import Mapping

from planner.report.content import Section, pairs
from planner.report.node import Node
from planner.report.numbers import percent, plain

__all__ = ["solve_sections"]


def solve_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return the answer of the solver as one table; the picks are in the JSON."""
    found = Node(answer)
    rows = [
        ("status", found["status"].text(), ""),
        ("cost", _whole(answer["cost"]), ""),
        ("bound", _whole(answer["bound"]), "no allowed picks cost less"),
        ("gap", percent(found["gap"].number()) if found["gap"].value is not None else "", ""),
        ("peak usage", _whole(answer["peak_usage"]), f"limit {_whole(answer['usage_limit'])}"),
        ("nodes", plain(found["nodes"].number()), ""),
        ("edges", plain(found["edges"].number()), ""),
        ("wall time", f"{found['wall_s'].size():.1f} s", ""),
    ]
    return (Section("solve", found["name"].text() or "Problem", (), pairs(rows)),)


def _whole(value: object) -> str:
    """Write a number in full: costs are compared to the last digit."""
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
