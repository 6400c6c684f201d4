"""What `sixfold calibrate` prints: constants with their error bars, and what was held back.

Reads the plain document that the command made; computes nothing.

Parts: `calibration_sections`.
"""

from collections.abc import Mapping

from planner.report.content import Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import percent, seconds

__all__ = ["calibration_sections"]

_WORST = 5


def calibration_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return the machine and its constants, how well they hold, and the points that fit worst."""
    found = Node(answer)
    return (_constants(found), _held(found), _worst(found))


def _constants(found: Node) -> Section:
    columns = (Column("of"), Column("constant"), Column("value", True), Column("+-", True))
    rows = []
    for fit in found["constants"].items():
        for constant in fit["constants"].items():
            bar = constant["error"].number()
            value = constant["value"].size()
            rows.append((
                fit["name"].text(),
                constant["name"].text(),
                seconds(value) if constant["name"].text().endswith("_s") and value < 1.0
                else f"{value:.4g}",
                "not told" if bar is None else percent(bar),
            ))  # fmt: skip
    machine = found["machine"]
    notes = [
        f"{machine['processor'].text()}, {machine['cores'].size():.0f} cores;"
        f" {machine['versions'].text()}",
        f"{machine['devices_per_process'].size():.0f} devices a process,"
        f" {machine['processes_per_host'].size():.0f} processes a host,"
        f" {machine['hosts'].size():.0f} hosts; {found['wall_s'].size():.0f} s",
        *(f"Busy: {why.text()}; measure again when it is quiet." for why in found["busy"].items()),
    ]
    return Section("constants", "Constants", tuple(notes), Table(columns, tuple(rows)))


def _held(found: Node) -> Section:
    columns = (Column("class"), Column("points", True), Column("median error", True),
               Column("held back", True))  # fmt: skip
    rows = tuple(
        (
            fit["name"].text(),
            f"{fit['points'].size():.0f}",
            percent(fit["median_error"].number()),
            percent(fit["median_error_held_out"].number()),
        )
        for fit in found["constants"].items()
    )
    note = "Held back: shapes, sizes and counts that constants were fitted without, and predicted."
    return Section("held", "How well they hold", (note,), Table(columns, rows))


def _worst(found: Node) -> Section:
    rows = [row for fit in found["constants"].items() for row in fit["rows"].items()]
    rows.sort(key=lambda row: -abs(row["error"].size()))
    columns = (Column("point"), Column("measured", True), Column("predicted", True),
               Column("error", True))  # fmt: skip
    table = tuple(
        (
            row["point"].text(),
            seconds(row["measured_s"].size()),
            seconds(row["predicted_s"].size()),
            percent(row["error"].number()),
        )
        for row in rows[:_WORST]
    )
    return Section("worst", "Points that fit worst", (), Table(columns, table))
