"""What pydantic found wrong with a file, as the one message that helps most.

Turns a `ValidationError` into a `SpecError` with the key's path, its line, and what is allowed
there. Does not know what the file is about, nor how it is read.
"""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from planner.errors import SpecError
from planner.nearest import hint, shown
from planner.reading.document import Document, PathKey, Value
from planner.reading.grammar import Grammar

__all__ = ["spec_error"]


def spec_error(error: ValidationError, document: Document, grammar: Grammar) -> SpecError:
    """Return the first and clearest of the errors, by line; misspelt keys come before all.

    Of a value and what is inside it, the inside is at fault: pydantic also tells how the value
    fails each other alternative.
    """
    found = [_Complaint(details, document, grammar) for details in error.errors(include_url=False)]
    around = {each.path[:end] for each in found for end in range(len(each.path))}
    real = [each for each in found if not each.is_noise and each.path not in around] or found
    return min(real, key=lambda each: each.order).as_error()


class _Complaint:
    """One error of pydantic's, on the user's path instead of pydantic's."""

    def __init__(self, details: ErrorDetails, document: Document, grammar: Grammar) -> None:
        self.kind, self.text = details["type"], details["msg"]
        self.document, self.grammar = document, grammar
        self.path, self.value = _user_path(details["loc"], document.value, self.kind)
        if details["loc"] and details["loc"][-1] == "[key]":
            self.kind = "extra_forbidden"
        if self.kind == "value_error":
            self._step_to_first_word()

    def _step_to_first_word(self) -> None:
        """Point at the key that a validator's message starts with: `devices 8 is not ...`."""
        self.text = self.text.removeprefix("Value error, ")
        word = self.text.partition(" ")[0]
        if isinstance(self.value, dict) and word in self.value:
            self.path = (*self.path, word)

    @property
    def is_noise(self) -> bool:
        """An unknown key of one alternative that another alternative knows."""
        return self.kind == "extra_forbidden" and self.path[-1] in self.grammar.keys(self.path[:-1])

    @property
    def order(self) -> tuple[int, int, int, int]:
        line = self.document.line_of(self.path) or 0
        rank = {"value_error": 0, "missing": 2}.get(self.kind, 1)
        return (self.kind != "extra_forbidden", line, -len(self.path), rank)

    def as_error(self) -> SpecError:
        path, kind = self.path, self.kind
        if kind == "extra_forbidden":
            known = self.grammar.keys(path[:-1])
            where = ".".join(map(str, path[:-1])) or "the file"
            return self.document.error(
                f"unknown key {shown(path[-1])} in {where}; {hint(str(path[-1]), known)}", path
            )
        if kind == "value_error":
            return self.document.error(self.text, path)
        said = self.grammar.allowed(path)
        if kind == "missing":
            return self.document.error(f"is needed{f': {said}' if said else ''}", path)
        return self.document.error(
            f"got {shown(self.value)}; allowed: {said or self.text[:200]}{self._near()}", path
        )

    def _near(self) -> str:
        """Say what was meant, where that can be told: a misspelt word, a share in per cent."""
        value = self.value
        if isinstance(value, str):
            near = hint(value, self.grammar.choices(self.path))
            return f"; {near}" if near.startswith("nearest") else ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        percent = 1.0 < value < 100.0 and self.grammar.is_share(self.path)
        return f"; {value:g}% is {value / 100.0:g}" if percent else ""


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
