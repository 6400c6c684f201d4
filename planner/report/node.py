"""Reading a plan dictionary: typed access by key, with the path in every complaint.

`plan.json` is a file, so a user may edit it or hand us another file altogether. `Node` holds a
value and where it sits; asking it for a number that is not there gives None, and asking for a
number where text stands is a `SpecError` that names the path. Knows JSON, and nothing of plans.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.errors import SpecError
from planner.report.numbers import clean

__all__ = ["Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a plan and its dotted path; absent and null are the same: nothing."""

    value: object
    path: str = ""

    def __bool__(self) -> bool:
        """Tell whether there is anything: not absent, null, or an empty mapping, list or text."""
        return self.value is not None and self.value not in ({}, [], (), "")

    def __getitem__(self, key: str) -> "Node":
        """Return the value at a key of a mapping; nothing where the key is absent."""
        path = f"{self.path}.{key}" if self.path else key
        return Node(self.mapping().get(key), path)

    def mapping(self) -> Mapping[str, object]:
        """Return the mapping here; empty where there is nothing."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self._wrong("a mapping")
        return self.value

    def entries(self) -> Iterator[tuple[str, "Node"]]:
        """Yield the keys and values of a mapping, in its order."""
        for key in self.mapping():
            yield str(key), self[key]

    def items(self) -> Iterator["Node"]:
        """Yield the members of a list; none where there is nothing."""
        if self.value is None:
            return
        if not isinstance(self.value, list | tuple):
            raise self._wrong("a list")
        for index, member in enumerate(self.value):
            yield Node(member, f"{self.path}[{index}]")

    def number(self) -> float | None:
        """Return the number here, or None where there is nothing."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self._wrong("a number")
        try:
            number = float(self.value)
        except OverflowError:
            raise self._wrong("a number below 1e308") from None
        if not math.isfinite(number):
            raise self._wrong("a finite number")
        return number

    def size(self) -> float:
        """Return the number here, zero where there is nothing: for bars, never for figures."""
        return self.number() or 0.0

    def text(self) -> str:
        """Return the text here made safe to show; empty where there is nothing."""
        if self.value is None:
            return ""
        if isinstance(self.value, Mapping | list | tuple):
            raise self._wrong("text")
        return clean(str(self.value))

    def _wrong(self, wanted: str) -> SpecError:
        kind = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value"}
        got = kind.get(type(self.value), "a number")
        return SpecError(f"this is {got}; a plan has {wanted} here", key=self.path)
