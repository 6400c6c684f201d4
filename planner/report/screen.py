"""Putting an answer on standard output: for people, or as JSON and nothing else.

Knows whether standard output is a terminal, how wide it is, and what its encoding can write.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from planner.report.json_text import dumps
from planner.report.plan_file import write_text
from planner.report.terminal import WIDTH

__all__ = ["colour", "put", "show", "width"]

_WIDEST = 100


def put(text: str) -> None:
    """Write text; what the encoding of standard output lacks is replaced, never an error."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def width() -> int:
    """Return the columns to use: the terminal's up to a readable limit, 80 where piped."""
    if not sys.stdout.isatty():
        return WIDTH
    return min(shutil.get_terminal_size((WIDTH, 24)).columns, _WIDEST)


def colour() -> bool:
    """Tell whether to use colour: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def show(answer: Mapping[str, object], json: str | None, render: Callable[[], str]) -> None:
    """Print an answer for people; `json` is None, a file to write as well, or - for JSON alone."""
    if json == "-":
        put(dumps(answer))
        return
    put(render())
    if json is not None:
        write_text(Path(json), dumps(answer))
