"""A plan, or any other answer, as strict JSON text: the one function that writes it.

Keys of a plan come in the order of its schema, deeper keys in the order in which they were made;
floats are written by `repr`, so that reading gives the same bits back. No NaN, no infinity: JSON
has none, and a figure that is not a number is our fault.
"""

import json
import math
from collections.abc import Iterator, Mapping

from planner.errors import InternalError

__all__ = ["dumps"]

_ORDER = (
    "schema_version",
    "job",
    "provenance",
    "checklist",
    "design",
    "axes",
    "patterns",
    "strategy",
    "prediction",
    "scaling",
    "search",
    "alternatives",
    "frontier",
    "pins",
    "parts",
)


def dumps(answer: Mapping[str, object]) -> str:
    """Return an answer as indented ASCII JSON with a line end; InternalError where it cannot be."""
    first = {key: answer[key] for key in _ORDER if key in answer}
    try:
        return json.dumps({**first, **answer}, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        where = next(_unwritable(answer, ""), "")
        raise InternalError(f"{where or 'the answer'} cannot be written as JSON: {error}") from None


def _unwritable(value: object, path: str) -> Iterator[str]:
    """Yield the paths of what JSON has no word for."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _unwritable(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _unwritable(member, f"{path}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path
    elif not isinstance(value, str | int | None):
        yield path
