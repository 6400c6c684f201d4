"""Which devices take part in a collective: every spelling that a compiler prints, read as numbers.

    {{0,1},{2,3}}                  the groups, one by one
    [2,2]<=[4]                     numbers in order, cut into 2 groups of 2
    [2,2]<=[2,2]T(1,0)             a grid of numbers, transposed, then cut
    mesh['a'=2,'b'=2] {'b'}        a mesh in row-major order; groups vary along the axes named;
                                   `device_ids=([4]<=[2,2]T(1,0))` where it is in another order
    {}                             all devices together
    source_target_pairs={{0,1}}    a permutation, as pairs of sender and receiver

Parts: `groups_of`, `pairs_of`.
"""

import re

import numpy as np
from numpy.typing import NDArray

from planner.errors import SpecError

__all__ = ["Groups", "groups_of", "pairs_of"]

Groups = tuple[tuple[int, ...], ...]

_LISTED = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})\}")
_IOTA = r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?"
_CUT = re.compile(rf"replica_groups={_IOTA}")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](.*?)\{([^}]*)\}")
_AXIS = re.compile(r"'([^']+)'=(\d+)")
_USED = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\s*\d+\},?\s*)*)\}")


def groups_of(attributes: str, devices: int) -> Groups:
    """Read the groups of a collective's attributes.

    Parameters
    ----------
    devices : of the program, who are one group where none are named

    Raises
    ------
    SpecError : groups in a spelling that is not known
    """
    if listed := _LISTED.search(attributes):
        each = re.findall(r"\{([\d, ]+)\}", listed.group(1))
        return tuple(_numbers(group) for group in each)
    if cut := _CUT.search(attributes):
        return _rows(_grid(*cut.groups()))
    if mesh := _MESH.search(attributes):
        return _of_mesh(*mesh.groups())
    if re.search(r"replica_groups=\{\s*\}", attributes) or "replica_groups=" not in attributes:
        return (tuple(range(devices)),)
    spelled = attributes[attributes.index("replica_groups=") :][:80]
    raise SpecError(f"groups of a collective in a spelling that is not known: {spelled}")


def pairs_of(attributes: str) -> tuple[tuple[int, int], ...]:
    """Read sender and receiver of every pair of a permutation; SpecError where there are none."""
    found = _PAIRS.search(attributes)
    if not found:
        raise SpecError(f"a permutation without pairs: {attributes[:80]}")
    pairs = re.findall(r"\{(\d+),\s*(\d+)\}", found.group(1))
    return tuple((int(source), int(target)) for source, target in pairs)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())


def _rows(table: NDArray[np.int64]) -> Groups:
    return tuple(tuple(int(device) for device in row) for row in table)


def _grid(shape: str, counted: str, order: str | None) -> NDArray[np.int64]:
    """Numbers in order over the grid `counted`, transposed by `order`, in `shape`."""
    grid = _numbers(counted)
    numbers = np.arange(int(np.prod(grid)), dtype=np.int64).reshape(grid)
    if order:
        numbers = numbers.transpose(_numbers(order))
    return numbers.reshape(_numbers(shape))


def _of_mesh(axes: str, between: str, used: str) -> Groups:
    """Read groups along axes of a mesh; `'a':(m)s` is the part of size s of an axis behind m."""
    sizes = {name: int(size) for name, size in _AXIS.findall(axes)}
    total = int(np.prod([*sizes.values()]))
    given = re.search(rf"device_ids=\({_IOTA}\)", between)
    numbers = _grid(*given.groups()).reshape(-1) if given else np.arange(total, dtype=np.int64)
    wanted = [(name, int(m or 1), int(s or sizes[name])) for name, m, s in _USED.findall(used)]
    parts = _split(sizes, wanted)
    chosen = [parts.index(part) for part in wanted]
    rest = [at for at in range(len(parts)) if at not in chosen]
    grid = numbers.reshape([size for _, _, size in parts]).transpose(rest + chosen)
    return _rows(grid.reshape(-1, int(np.prod([size for _, _, size in wanted]))))


def _split(sizes: dict[str, int], wanted: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Cut each axis, outermost part first, so that every part wanted is one of the pieces.

    A piece is (axis, ranks of the axis outside it, its size).
    """
    pieces: list[tuple[str, int, int]] = []
    for name, size in sizes.items():
        edges = {1, size}
        for axis, outside, part in wanted:
            if axis == name:
                edges |= {outside, outside * part}
        marks = sorted(edges)
        pieces += [(name, a, b // a) for a, b in zip(marks, marks[1:], strict=False)]
        pieces += [(name, 1, 1)] * (size == 1)
    return pieces
