"""A fast reader for one line of plain YAML flow style: `{id: a, job: {devices: 8}}`.

Runs files hold thousands of such lines, which the general parser reads at 0.13 MB/s. This reads
the unambiguous part of the syntax at some 20 times that and refuses the rest, for which
`planner.reading.document` is asked: whatever it reads, it reads as the general parser does.
"""

import re

from planner.reading.document import MAX_DEPTH, Value, scalar

__all__ = ["read_flow"]

TOKEN = re.compile(
    r"""[ ]*(?:
      (?P<mark>[{}\[\],])
    | (?P<colon>:(?=[ ]))
    | '(?P<single>(?:[^']|'')*)'
    | "(?P<double>[^"\\]*)"
    | (?P<plain>(?:[A-Za-z0-9_./~(+]|-(?=[^ ,\[\]{}]))[^,\[\]{}:#'"]*)
    )""",
    re.VERBOSE,
)
END = ("mark", "")
Token = tuple[str, str]


def read_flow(text: str) -> Value:
    """Read one flow mapping on one line.

    Raises
    ------
    ValueError : the text is not of the plain kind; it may still be good YAML
    """
    if not (text.startswith("{") and text.isascii() and text.isprintable()):
        raise ValueError("not plain")
    reader = _Reader(text)
    value = reader.value(0)
    if reader.token != END:
        raise ValueError("not plain")
    return value


class _Reader:
    """Reads tokens one ahead: `token` is the next one, as (kind, text)."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text.rstrip(" "), 0
        self.token: Token = END
        self.next()

    def next(self) -> Token:
        """Return the token and step to the one after it."""
        taken = self.token
        if self.at >= len(self.text):
            self.token = END
            return taken
        found = TOKEN.match(self.text, self.at)
        if found is None or found.lastgroup is None:
            raise ValueError("not plain")
        self.at = found.end()
        self.token = (found.lastgroup, found[found.lastgroup])
        return taken

    def skip(self, mark: str) -> bool:
        """Step over a mark if it is next."""
        if self.token != ("mark", mark):
            return False
        self.next()
        return True

    def value(self, depth: int) -> Value:
        """Read the value that is next."""
        if depth > MAX_DEPTH:
            raise ValueError("not plain")
        kind, text = self.next()
        if kind == "plain":
            return scalar(text.rstrip(" "))
        if kind == "single":
            return text.replace("''", "'")
        if kind == "double":
            return text
        if (kind, text) == ("mark", "{"):
            return self.mapping(depth)
        if (kind, text) == ("mark", "["):
            return self.sequence(depth)
        raise ValueError("not plain")

    def sequence(self, depth: int) -> Value:
        """Read the rest of a list, up to and with its end."""
        made: list[Value] = []
        if self.skip("]"):
            return made
        while True:
            made.append(self.value(depth + 1))
            if self.skip("]"):
                return made
            if not self.skip(","):
                raise ValueError("not plain")

    def mapping(self, depth: int) -> Value:
        """Read the rest of a mapping, up to and with its end."""
        made: dict[str, Value] = {}
        if self.skip("}"):
            return made
        while True:
            kind, key = self.next()
            key = key.rstrip(" ")
            if kind not in ("plain", "single", "double") or "'" in key or key in made:
                raise ValueError("not plain")
            if self.next()[0] != "colon":
                raise ValueError("not plain")
            empty = self.token in (("mark", ","), ("mark", "}"))
            made[key] = None if empty else self.value(depth + 1)
            if self.skip("}"):
                return made
            if not self.skip(","):
                raise ValueError("not plain")
