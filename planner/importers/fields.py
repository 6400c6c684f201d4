"""Typed reading of a JSON mapping: a wrong type or a missing key is one clear `SpecError`.

Knows JSON values and the name of the file; nothing of models.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import SpecError

__all__ = ["LIMIT", "Fields"]

LIMIT = 1_000_000_000
"""No size in a model is larger; a number above it is a mistake or an attack."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping of a file, read by key. Where several keys are given, the first present counts.

    A key whose value is null counts as absent, but for `whole_or_none`.
    """

    raw: Mapping[str, object]
    file: str
    inside: str = ""

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        return self.raw.get(key) is not None

    def whole(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """Whole number in `least` .. `LIMIT`; SpecError where absent and without default."""
        for key in keys:
            if self.has(key):
                return self._checked(key, least)
        if default is None:
            raise self.error(keys[0], f"is missing: give {' or '.join(keys)}, a whole number")
        return default

    def whole_or_none(self, key: str, absent: int | None = None, least: int = 1) -> int | None:
        """Whole number; None where null, `absent` where the key is not there at all."""
        if key not in self.raw:
            return absent
        return self._checked(key, least) if self.has(key) else None

    def flag(self, key: str, default: bool) -> bool:
        """Boolean."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, is {_shown(value)}")
        return value

    def text(self, key: str, default: str = "") -> str:
        """Text."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(key, f"must be text, is {_shown(value)}")
        return value

    def items(self, key: str) -> tuple[object, ...] | None:
        """List, or None where absent."""
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, is {_shown(value)}")
        return tuple(value)

    def nested(self, key: str) -> "Fields | None":
        """Fields of the mapping under `key`, or None where absent."""
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"must be a mapping, is {_shown(value)}")
        return Fields(value, self.file, self._dotted(key))

    def error(self, key: str, message: str) -> SpecError:
        """Make the error that names `key` and the file; the caller raises it."""
        return SpecError(message, key=self._dotted(key), file=self.file)

    def _dotted(self, key: str) -> str:
        return f"{self.inside}.{key}" if self.inside else key

    def _checked(self, key: str, least: int) -> int:
        value = self.raw[key]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, is {_shown(value)}")
        if not least <= value <= LIMIT:
            raise self.error(key, f"must be in {least} .. {LIMIT}, is {_shown(value)}")
        return value


def _shown(value: object) -> str:
    """Short text of a value that may be huge (an int of 5,000 digits has no text at all)."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LIMIT * LIMIT:
        return f"a number of {value.bit_length()} bits"
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
