"""What `sixfold check --compile-for` prints: what the plan says beside what was compiled."""

from collections.abc import Mapping

from planner.report.check import replaced
from planner.report.content import Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import quantity

__all__ = ["ahead_sections"]


def ahead_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return what was compiled, and the tables of bytes sent and of memory."""
    found = Node(answer)
    return (_changes(found), _sent(found), _memory(found))


def _changes(found: Node) -> Section:
    ran = (
        f"Compiled for {found['target'].text()} in {found['compile_s'].size():.0f} s; nothing ran."
    )
    return Section("changes", "What was compiled", (ran,), replaced(found, "compiled"))


def _sent(found: Node) -> Section:
    columns = (
        Column("axis"), Column("over"), Column("compiled as"), Column("predicted", right=True),
        Column("compiled", right=True), Column("difference", right=True),
    )  # fmt: skip
    rows = []
    for line in found["lines"].items():
        kinds = [
            f"{one['kind'].text()} {one['dtype'].text()}" for one in line["compiled_as"].items()
        ]
        predicted, compiled = line["predicted"].size(), line["compiled"].size()
        rows.append(
            (
                _joined(line["axes"]) or "not planned",
                _joined(line["over"]),
                ", ".join(kinds) or "nothing",
                quantity("bytes", predicted),
                quantity("bytes", compiled),
                "equal" if predicted == compiled else f"{predicted - compiled:+,.0f} B",
            )
        )
    notes = tuple(one.text() for one in found["unknown"].items())
    return Section("bytes", "Sent by one device in a step", notes, Table(columns, tuple(rows)))


def _joined(names: Node) -> str:
    return " ".join(one.text() for one in names.items())


def _memory(found: Node) -> Section:
    memory = found["memory"]
    columns = (
        Column("what"), Column("predicted", right=True), Column("compiled", right=True),
        Column("error", right=True),
    )  # fmt: skip
    rows = []
    for key, name in (("arguments", "arguments of the step"), ("peak", "peak")):
        predicted, compiled = memory[key]["predicted"].size(), memory[key]["compiled"].size()
        error = f"{predicted / compiled - 1.0:+.1%}" if compiled else "-"
        rows.append((name, quantity("bytes", predicted), quantity("bytes", compiled), error))
    tiles = "TPUs lay arrays out in tiles: arguments there are larger than their elements."
    notes = (tiles,) if found["target"].text().startswith("tpu-") else ()
    return Section("memory", "Memory of a device", notes, Table(columns, tuple(rows)))
