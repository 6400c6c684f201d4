"""The way out of the command line: one line of error and an exit code, never a traceback.

`Door` wraps every command. A `PlannerError` gives its own exit code; a wrong option, a wrong
machine file and a file that cannot be read or written are the user's (2); anything else is our
own fault (1). Environment variable SIXFOLD_DEBUG=1 lets the traceback through.

Parts: `Door`, `Progress` (a line on standard error while work goes on).
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import typer
from typer.core import TyperGroup

from planner.errors import PlannerError

__all__ = ["Door", "Progress"]

_OURS = 1
_USERS = 2


class Door(TyperGroup):
    """The group of commands, with every exception turned into a line and a code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; exit with its code where the caller did not ask for the result."""

        def run() -> object:
            return super(Door, self).main(
                args, prog_name, complete_var, False, windows_expand_args, **extra
            )

        if not standalone_mode:
            return run()
        sys.exit(_code(run))


def _code(run: Callable[[], object]) -> int:
    try:
        code = run()
    except Exception as error:
        message, exit_code = _told(error)
        if os.environ.get("SIXFOLD_DEBUG") == "1":
            raise
        typer.echo(f"error: {' '.join(message.split())}", err=True)
        return exit_code
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code of an exception."""
    from planner.report.numbers import clean

    if isinstance(error, PlannerError):
        return clean(str(error)), error.exit_code
    if isinstance(error, typer.Abort):
        return "stopped", _OURS
    if hasattr(error, "format_message"):  # typer's own: a wrong option or argument
        return clean(error.format_message()), _USERS
    if isinstance(error, OSError) and error.filename is not None:
        return clean(f"{error.filename}: {error.strerror or error}"), _USERS
    from hardware_profiles.errors import ProfileError

    if isinstance(error, ProfileError):
        return clean(str(error)), _USERS
    kind = type(error).__name__
    return (
        f"internal error ({kind}: {clean(str(error))[:300]}). This is a bug of ours: please report "
        "it with your files and the output of the same command under SIXFOLD_DEBUG=1",
        _OURS,
    )


class Progress:
    """Says on standard error how far the work is, where that is a terminal; else silent.

    Call it with the phase, how many are done and how many there are (0: not known).
    """

    _EVERY_S = 0.1

    def __init__(self) -> None:
        self._shown = False
        self._next_s = 0.0
        self._visible = sys.stderr.isatty()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show the state, at most ten times a second."""
        if not self._visible or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + self._EVERY_S
        of = f" of {total:,}" if total else ""
        sys.stderr.write(f"\r\x1b[K{phase}: {done:,}{of}")
        sys.stderr.flush()
        self._shown = True

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
