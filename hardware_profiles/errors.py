"""The one error of this package, and how a bad profile file is told to its author.

`ProfileError` carries one message: file, line, key, what is wrong, what is allowed and the
nearest valid name. Knows the schema; never opens a file.

Parts: `ProfileError`, `nearest`, `from_validation`.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import cast

from pydantic import ValidationError

from hardware_profiles.schema import HardwareProfile

__all__ = ["ProfileError", "from_validation", "nearest"]

SHORTEST, MOST_NAMES = 3, 3
"""Letters of a word that names are searched for, and names that are told."""
_Json = dict[str, object]
_Loc = tuple[int | str, ...]


class ProfileError(Exception):
    """A machine profile, its name or an override of it is wrong; ``str()`` is one message.

    Parameters
    ----------
    message : what is wrong, what is allowed and, where there is one, the nearest valid name
    key     : dotted path in the profile, ``network.0.bytes_per_s``
    file    : the file as the user named it
    line    : 1-based line in that file
    """

    def __init__(
        self, message: str, *, key: str = "", file: str = "", line: int | None = None
    ) -> None:
        self.message, self.key, self.file, self.line = message, key, file, line
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (where, self.key, self.message) if part)


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the valid names nearest to `word`, or nothing.

    Those that have the whole word in them come before those that are spelt alike.

    >>> nearest("a100", ["dgx-v100", "dgx-a100-40gb"])
    " (did you mean 'dgx-a100-40gb'?)"
    """
    known, said = {name.lower(): name for name in valid}, word[:80].lower()
    close = [name for name in known if said in name] if len(said) >= SHORTEST else []
    close = close[:MOST_NAMES] or get_close_matches(said, list(known), n=1, cutoff=0.5)
    return f" (did you mean {' or '.join(repr(known[name]) for name in close)}?)" if close else ""


def from_validation(
    error: ValidationError, file: str, line_of: Callable[[_Loc], int | None]
) -> ProfileError:
    """Turn the most telling finding of `error` into a `ProfileError`; `line_of` finds a key's line.

    An unknown key comes before a missing one: the second is often the first, misspelt.
    """
    found = error.errors(include_url=False, include_context=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    loc: _Loc = tuple(part for part in first["loc"] if part != "[key]")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        allowed = _allowed(loc[:-1])
        message = f"unknown key{nearest(str(loc[-1]), allowed)}; allowed: {', '.join(allowed)}"
    elif first["type"] == "missing":
        message = "is missing"
    elif first["type"] == "literal_error":
        message = f"{message}{nearest(str(first['input']), _literals(message))}"
    if isinstance(first["input"], str | int | float):
        message = f"{message} (is {str(first['input'])[:40]!r})"
    key = ".".join(str(part) for part in loc)
    return ProfileError(message, key=key, file=file, line=line_of(loc))


def _literals(message: str) -> list[str]:
    return message.split("'")[1::2]


def _allowed(loc: _Loc) -> list[str]:
    """Keys that the schema allows in the mapping at `loc`."""
    schema = cast(_Json, HardwareProfile.model_json_schema())
    definitions = cast(dict[str, _Json], schema["$defs"])
    here = schema
    for part in loc:
        inner = here.get("items") if isinstance(part, int) else _property(here, part)
        here = _resolved(cast(_Json, inner or {}), definitions)
    return sorted(cast(_Json, here.get("properties") or {}))


def _property(here: _Json, name: str) -> object:
    given = cast(_Json, here.get("properties") or {})
    return given.get(name) or here.get("additionalProperties")


def _resolved(node: _Json, definitions: dict[str, _Json]) -> _Json:
    for option in cast(list[_Json], node.get("anyOf") or []):
        if "$ref" in option:
            node = option
    if "$ref" in node:
        return definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
    return node
