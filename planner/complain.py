"""What pydantic found wrong with a job, as the one message that helps most.

Turns a `ValidationError` into a `SpecError` with the key's path, its line, and what is allowed
there. Knows the schema of the job; does not know how a file is read.
"""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from planner.document import Document, PathKey, Value
from planner.errors import SpecError
from planner.nearest import hint, shown
from planner.schema import allowed, keys

__all__ = ["spec_error"]


def spec_error(error: ValidationError, document: Document) -> SpecError:
    """Return the first and clearest of the errors, by line; misspelt keys come before all."""
    found = [_Complaint(details, document) for details in error.errors(include_url=False)]
    real = [each for each in found if not each.is_noise] or found
    return min(real, key=lambda each: each.order).as_error()


class _Complaint:
    """One error of pydantic's, on the user's path instead of pydantic's."""

    def __init__(self, details: ErrorDetails, document: Document) -> None:
        self.kind, self.text = details["type"], details["msg"]
        self.document = document
        self.path, self.value = _user_path(details["loc"], document.value, self.kind)

    @property
    def is_noise(self) -> bool:
        """An unknown key of one alternative that another alternative knows."""
        return self.kind == "extra_forbidden" and self.path[-1] in keys(self.path[:-1])

    @property
    def order(self) -> tuple[int, int, int, int]:
        line = self.document.line_of(self.path) or 0
        rank = {"value_error": 0, "missing": 2}.get(self.kind, 1)
        return (self.kind != "extra_forbidden", line, -len(self.path), rank)

    def as_error(self) -> SpecError:
        path, kind = self.path, self.kind
        if kind == "extra_forbidden":
            known = keys(path[:-1])
            where = ".".join(map(str, path[:-1])) or "the job"
            return self.document.error(
                f"unknown key {shown(path[-1])} in {where}; {hint(str(path[-1]), known)}", path
            )
        if kind == "value_error":
            return self.document.error(self.text.removeprefix("Value error, "), path)
        said = allowed(path)
        if kind == "missing":
            return self.document.error(f"is needed{f': {said}' if said else ''}", path)
        if not said:
            said = self.text[:200]
        near = ""
        if isinstance(self.value, str) and "one of" in said:
            choices = said.partition("one of ")[2].partition(", or ")[0].split(", ")
            found = hint(self.value, choices)
            near = f"; {found}" if found.startswith("nearest") else ""
        return self.document.error(f"got {shown(self.value)}; allowed: {said}{near}", path)


def _user_path(loc: tuple[int | str, ...], value: Value, kind: str) -> tuple[PathKey, Value]:
    """Leave out of pydantic's location the names of alternatives: the rest is the user's path."""
    path: PathKey = ()
    for index, part in enumerate(loc):
        inner = _inside(value, part)
        if inner is not None:
            value = inner[0]
        elif not (kind == "missing" and index == len(loc) - 1):
            continue
        path = (*path, part)
    return path, value


def _inside(value: Value, part: str | int) -> tuple[Value] | None:
    """Return what is at `part` of a mapping or list, in a tuple, or None if nothing is."""
    if isinstance(value, dict) and isinstance(part, str) and part in value:
        return (value[part],)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return (value[part],)
    return None
