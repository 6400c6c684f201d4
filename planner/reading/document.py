"""YAML text -> plain values, with the line of every key.

Reads YAML 1.2 (its core schema: `15.0e12` and `15e12` are numbers, `yes` and dates are text).
Refuses what a job never needs: duplicate keys, tags, several documents, deep nesting, aliases
that blow up, numbers that are not finite or absurd. Knows nothing of jobs.

Parts: `Document`, `read_text`, `read_file`, `scalar`, `clean`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from planner.errors import SpecError

__all__ = [
    "MAX_DEPTH",
    "MAX_NUMBER",
    "ON_COMMAND_LINE",
    "Document",
    "PathKey",
    "Value",
    "clean",
    "read_file",
    "read_text",
    "scalar",
]

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
PathKey = tuple[str | int, ...]

ON_COMMAND_LINE = 0
MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 20_000
MAX_NUMBER = 1e30
TEXT_TAGS = ("None", "!", "tag:yaml.org,2002:str")

NULL = {"", "~", "null", "Null", "NULL"}
BOOL = {t: t[0] in "tT" for t in ("true", "True", "TRUE", "false", "False", "FALSE")}
INT = re.compile(r"[-+]?[0-9]+")
BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass
class Document:
    """What a file says (`value`), and on which line each key or list entry stands.

    Line `ON_COMMAND_LINE` is for keys that the command line gave.
    """

    value: Value
    file: str = ""
    lines: dict[PathKey, int] = field(default_factory=dict)

    def line_of(self, path: PathKey) -> int | None:
        """1-based line of `path`, or of the nearest key around it that has one."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def error(self, message: str, path: PathKey = ()) -> SpecError:
        """Return the error that names `path`, its line and the file."""
        line = self.line_of(path)
        if line == ON_COMMAND_LINE:
            return SpecError(clean(message), key=_dotted(path), file="--set")
        return SpecError(clean(message), key=_dotted(path), file=self.file, line=line)


def scalar(text: str) -> Value:
    """Read a plain (unquoted) scalar by the YAML 1.2 core schema; ValueError if it is absurd."""
    if text in NULL:
        return None
    if text in BOOL:
        return BOOL[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    if INT.fullmatch(text):
        return _bounded(int(text) if len(text) < 40 else float("inf"), text)
    if FLOAT.fullmatch(text):
        return _bounded(float(text), text)
    if BASED.fullmatch(text):
        return _bounded(int(text, 0) if len(text) < 40 else float("inf"), text)
    if NOT_FINITE.fullmatch(text):
        return _bounded(float("inf"), text)
    return text


def _bounded(number: float, text: str) -> int | float:
    if abs(number) <= MAX_NUMBER:
        return number
    raise ValueError(f"{text[:40]} is not a number that a job can hold (finite, at most 1e30)")


def read_file(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file; every way that this can fail is a SpecError."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"cannot read the file: {reason}", file=clean(str(path))) from None
    if len(raw) > max_bytes:
        raise SpecError(f"the file is larger than {max_bytes} bytes", file=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError("the file is not UTF-8 text", file=str(path), line=line) from None


def read_text(text: str, *, file: str = "", max_nodes: int = MAX_NODES) -> Document:
    """Read one YAML document.

    Raises
    ------
    SpecError : with the line, for whatever is wrong with the text
    """
    document = Document(None, file)
    builder = _Builder(document, max_nodes)
    try:
        document.value = builder.read(text)
    except SpecError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        parts = (error.context, error.problem)
        said = ", ".join(part for part in parts if part)
        raise SpecError(clean(f"not YAML: {said}"), file=file, line=line) from None
    except YAMLError as error:
        raise SpecError(clean(f"not YAML: {str(error).splitlines()[0]}"), file=file) from None
    except Exception as error:  # the parser's own faults on hostile text are the text's fault
        said = f"not YAML: {type(error).__name__}: {error}"
        raise SpecError(clean(said), file=file) from None
    return document


def clean(text: str, limit: int = 2000) -> str:
    """Keep a message on one line, printable, and short."""
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[:limit] + "..."


def _dotted(path: PathKey) -> str:
    return ".".join(clean(str(part), 60) for part in path)


class _Builder:
    """Turns the parser's events into values; one use."""

    def __init__(self, document: Document, max_nodes: int) -> None:
        self.document, self.left = document, max_nodes
        self.anchors: dict[str, tuple[Value, int, int]] = {}  # value, nodes, height
        self.deepest = 0
        self.events: Iterator[Event] = iter(())

    def read(self, text: str) -> Value:
        self.events = iter(YAML(typ="safe", pure=True).parse(text))
        value: Value = None
        documents = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error("holds more than one document", event, ())
            elif not isinstance(event, (StreamStartEvent, StreamEndEvent, DocumentEndEvent)):
                value = self._node(event, ())
        return value

    def _error(self, message: str, event: Event, path: PathKey) -> SpecError:
        line = event.start_mark.line + 1 if event.start_mark is not None else None
        file = self.document.file
        return SpecError(clean(message), key=_dotted(path), file=file, line=line)

    def _node(self, event: Event, path: PathKey) -> Value:
        """Return the node that starts with `event`."""
        if len(path) > MAX_DEPTH:
            raise self._too_deep(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if not isinstance(event, NodeEvent):
            raise self._error("cannot be read", event, path)
        left, outer = self.left, self.deepest
        self.deepest = len(path)
        self._spend(1, event)
        value: Value
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, path)
        elif getattr(event, "tag", None) is not None:
            raise self._error("tags (!name) are not allowed", event, path)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(path)
        else:
            value = self._sequence(path)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, left - self.left, self.deepest - len(path))
        self.deepest = max(outer, self.deepest)
        return value

    def _too_deep(self, event: Event) -> SpecError:
        return self._error(f"nested more than {MAX_DEPTH} deep", event, ())

    def _spend(self, nodes: int, event: Event) -> None:
        self.left -= nodes
        if self.left < 0:
            raise self._error("holds too many values", event, ())

    def _alias(self, event: AliasEvent, path: PathKey) -> Value:
        if event.anchor not in self.anchors:
            raise self._error(f"alias *{event.anchor} stands before its anchor", event, path)
        value, nodes, height = self.anchors[event.anchor]
        self._spend(nodes, event)
        self.deepest = max(self.deepest, len(path) + height)
        if self.deepest > MAX_DEPTH:
            raise self._too_deep(event)
        return value

    def _scalar(self, event: ScalarEvent, path: PathKey) -> Value:
        if str(event.tag) not in TEXT_TAGS:
            raise self._error("tags (!name) are not allowed", event, path)
        if any("\ud800" <= character <= "\udfff" for character in event.value):
            raise self._error("text holds half of a surrogate pair", event, path)
        text: str = event.value
        if event.style is not None or event.tag is not None:
            return text
        try:
            return scalar(text)
        except ValueError as error:
            raise self._error(str(error), event, path) from None

    def _sequence(self, path: PathKey) -> Value:
        made: list[Value] = []
        for event in self.events:
            if isinstance(event, SequenceEndEvent):
                break
            here = (*path, len(made))
            self._mark(here, event)
            made.append(self._node(event, here))
        return made

    def _mapping(self, path: PathKey) -> Value:
        made: dict[str, Value] = {}
        for event in self.events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                raise self._error("a key must be plain text", event, path)
            self._scalar(event, path)
            key: str = event.value
            here = (*path, key)
            if key in made:
                first = self.document.lines[here]
                raise self._error(f"key given twice, first on line {first}", event, here)
            self._mark(here, event)
            made[key] = self._node(next(self.events), here)
        return made

    def _mark(self, path: PathKey, event: Event) -> None:
        if event.start_mark is not None:
            self.document.lines[path] = event.start_mark.line + 1
