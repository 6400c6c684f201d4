"""Words for messages: the nearest valid name to what a user wrote, and a value cut short."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["hint", "nearest", "shown"]

LISTED = 40
SHOWN = 60


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like `word`, or None if none is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = get_close_matches(word[:100].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def hint(word: str, choices: Iterable[str]) -> str:
    """Return `nearest: x` where one is near, otherwise `allowed: a, b, c`."""
    known = tuple(choices)
    found = nearest(word, known)
    if found is not None:
        return f"nearest: {found}"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"allowed: {', '.join(known[:LISTED])}{more}"


def shown(value: object) -> str:
    """Return a value as a message shows it: short, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
