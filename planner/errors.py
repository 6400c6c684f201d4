"""The exception tree of the planner: what a user did wrong, what cannot be done, what is our fault.

Imports nothing. Each class knows the exit code that the command line gives for it.
"""

__all__ = ["InternalError", "NoFeasiblePlan", "PlannerError", "SpecError", "TimeLimitReached"]


class PlannerError(Exception):
    """Anything the planner raises on purpose; ``str()`` of it is one message for the user."""

    exit_code = 1


class SpecError(PlannerError):
    """The user's file or option is wrong.

    Parameters
    ----------
    message : what is wrong, what is allowed and, where there is one, the nearest valid value
    key     : dotted path of the field, ``workload.sequence_length``
    file    : the file as the user named it
    line    : 1-based line in that file
    """

    exit_code = 2

    def __init__(
        self, message: str, *, key: str = "", file: str = "", line: int | None = None
    ) -> None:
        self.message, self.key, self.file, self.line = message, key, file, line
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (where, self.key, self.message) if part)


class NoFeasiblePlan(PlannerError):
    """No candidate satisfies the rules and the memory limit; says the nearest miss and its cure."""

    exit_code = 3


class TimeLimitReached(PlannerError):
    """The user's time limit ended the search before any plan was priced."""

    exit_code = 4


class InternalError(PlannerError):
    """A bug of ours: two of our own figures disagree."""

    exit_code = 1
