"""The text of an optimized HLO module, taken apart: computations, instructions, arrays.

For whoever reads what a compiler made of a program. One grammar serves the text of CPU, GPU and
TPU: layouts with tiles and memory spaces, tuples, comments and operands with or without their
types are read alike. Refuses to know what any instruction does.

Parts: `Array`, `Instruction`, `Module`, `parse`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.errors import SpecError

__all__ = ["Array", "Instruction", "Module", "parse"]

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{\s*$")
_NAMED = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\]")
_BITS = re.compile(r"\d+")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Array:
    """An array type: `f32[4,8]`; a scalar has no dims."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def bytes(self) -> float:
        """Bytes of its elements, without padding; a predicate is a byte, a token nothing."""
        bits = _BITS.search(self.dtype)
        each = int(bits.group()) if bits else 8 * (self.dtype == "pred")
        return math.prod(self.dims) * each / 8.0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a computation.

    Parameters
    ----------
    arrays     : of the result; of a tuple its leaves, in order
    operands   : names of the instructions that it reads
    argument   : the text between its parentheses
    attributes : the text behind them
    root       : it is what its computation returns
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    argument: str
    attributes: str
    root: bool

    def called(self, *keys: str) -> tuple[str, ...]:
        """Names of the computations under some attributes: `body=%x`, `calls={%x, %y}`."""
        found: list[str] = []
        for key in keys:
            match = re.search(rf"\b{key}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
            if match:
                found += re.findall(r"[\w.\-]+", match.group(1))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Module:
    """A module: instructions by computation and name, in the order of the text.

    Parameters
    ----------
    entry   : name of the computation that runs
    devices : that the program was made for: partitions times replicas
    """

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str
    devices: int


def parse(text: str) -> Module:
    """Take the text of one module apart.

    Raises
    ------
    SpecError : there is no entry computation in the text
    """
    computations: dict[str, dict[str, Instruction]] = {}
    entry, inside = "", ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            inside = header.group(2)
            computations[inside] = {}
            entry = inside if header.group(1) else entry
        elif line.startswith("}"):
            inside = ""
        elif inside:
            made = _instruction(line)
            if made is not None:
                computations[inside][made.name] = made
    if not entry:
        raise SpecError("no entry computation: this is not the text of an HLO module")
    return Module(computations, entry, _devices(text))


def _devices(text: str) -> int:
    first = text[text.find("HloModule") :].split("\n", 1)[0]
    counts = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", first)
    return math.prod(int(count) for count in counts)


def _instruction(line: str) -> Instruction | None:
    """Read `name = type opcode(operands), attributes`; None where a line is no instruction."""
    named = _NAMED.match(line)
    if not named:
        return None
    start = named.end()
    end = _closed(line, start) if line[start] == "(" else line.find(" ", start)
    opcode = _OPCODE.match(line, end)
    if not opcode:
        return None
    behind = _closed(line, opcode.end() - 1)
    argument = line[opcode.end() : behind - 1]
    return Instruction(
        named.group(2),
        opcode.group(1),
        tuple(_arrays(line[start:end])),
        tuple(part.split()[-1].lstrip("%") for part in _pieces(argument)),
        argument,
        line[behind:],
        bool(named.group(1)),
    )


def _closed(text: str, start: int) -> int:
    """Return the place behind the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in _OPEN) - (text[at] in _CLOSE)
        if depth == 0:
            return at + 1
    return len(text)


def _pieces(text: str) -> Iterator[str]:
    """Split at the commas that stand in no bracket; comments are left out."""
    text = re.sub(r"/\*.*?\*/", "", text)
    depth = start = 0
    for at, char in enumerate(text):
        depth += (char in _OPEN) - (char in _CLOSE)
        if char == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    if text[start:].strip():
        yield text[start:].strip()


def _arrays(text: str) -> Iterator[Array]:
    """Every array type of a text, in order."""
    for dtype, dims in _ARRAY.findall(text):
        sizes = (int(size.removeprefix("<=")) for size in dims.split(",") if size)
        yield Array(dtype, tuple(sizes))
