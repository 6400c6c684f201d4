"""What has been measured, kept beside the profile line by line, so that a rerun continues.

The first line names the machine and the versions; readings of another machine are left alone and
measured anew. A line that was cut short by the end of a process is passed over.

Parts: `Journal`.
"""

import json
from dataclasses import asdict
from pathlib import Path

from planner.calibrate.points import Point, Reading

__all__ = ["Journal", "journal_of"]


def journal_of(profile: Path) -> Path:
    """Path of the journal beside a profile."""
    return profile.with_name(f"{profile.name}.journal.jsonl")


class Journal:
    """Readings by point, in memory and in a file that only grows.

    Parameters
    ----------
    path    : of the file; None keeps nothing
    machine : key of the machine and its versions
    effort  : how points are timed; readings of less effort are not taken over
    """

    def __init__(self, path: Path | None, machine: str, effort: str, fresh: bool = False) -> None:
        self.readings: dict[str, Reading] = {}
        self._path = path
        head = json.dumps({"machine": machine, "effort": effort})
        if path is None:
            return
        text = path.read_text("utf-8") if path.exists() and not fresh else ""
        lines = text.splitlines()
        if lines and lines[0] == head:
            self._read(lines[1:])
            if not text.endswith("\n"):
                path.write_text(text + "\n", "utf-8")
            return
        path.write_text(head + "\n", "utf-8")

    def _read(self, lines: list[str]) -> None:
        for line in lines:
            try:
                point, reading = json.loads(line)
                self.readings[str(point)] = Reading(**reading)
            except (ValueError, TypeError):
                continue

    def add(self, point: Point, reading: Reading) -> None:
        """Keep a reading; it is on disk when this returns."""
        self.readings[point.key] = reading
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([point.key, asdict(reading)]) + "\n")
