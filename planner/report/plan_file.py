"""Reading a plan's file and writing any answer's file: whole, or not at all.

A file that is not a plan is a `SpecError` with its line. A file is written beside its place and
moved there, so that nobody reads half of one.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from planner.errors import SpecError
from planner.report.node import Node

__all__ = ["emit_targets", "read_plan", "write_text"]

_MOST_BYTES = 256_000_000


def read_plan(path: Path) -> dict[str, object]:
    """Return the plan in a JSON file; SpecError where there is none."""
    plan = _json(path)
    if not isinstance(plan, dict) or not ({"strategy", "parts"} & plan.keys()):
        message = "not a plan: `sixfold plan JOB --json FILE` writes one"
        raise SpecError(message, file=str(path))
    return plan


def _json(path: Path) -> object:
    file = str(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SpecError(f"a plan has at most {_MOST_BYTES:,} bytes", file=file)
        return json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SpecError(f"not JSON: {error.msg}", file=file, line=error.lineno) from None
    except RecursionError:
        raise SpecError("nested too deeply for a plan", file=file) from None
    except UnicodeDecodeError:
        raise SpecError("not UTF-8 text", file=file) from None
    except ValueError as error:
        raise SpecError(f"not JSON: {error}", file=file) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", file=file) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; what is not a plain file is written to as it is."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(f"cannot be written: {error.strerror}", file=str(path)) from None


def emit_targets(plan: Mapping[str, object]) -> tuple[str, ...]:
    """Return the targets that the job of a plan asks for."""
    return tuple(target.text() for target in Node(plan)["job"]["emit"].items())
