"""Labels before they have names: axes that are found equal, or split, as operators are read.

A reshape tells that one axis is the product of two; an elementwise sum that two axes are one.
`Axis` keeps such findings; `leaves` are what they come to. Local to one operator.
"""

from collections.abc import Iterable, Sequence

__all__ = ["Axis", "Dims", "leaves", "match", "fresh"]


class Axis:
    """One axis of a loop nest: a leaf, the same as another (`link`), or split (`parts`)."""

    def __init__(self, size: int, whole: bool = False) -> None:
        self.size, self.whole = size, whole
        self.link: Axis | None = None
        self.parts: tuple[Axis, Axis] | None = None

    def keep_whole(self) -> None:
        """Forbid to split it."""
        for leaf in leaves([self]):
            leaf.whole = True


Dims = list[tuple[Axis, ...]]
"""Axes of each dim of an array, major first."""


def fresh(shape: Iterable[int], whole: bool = False) -> Dims:
    """Return new axes for an array; a dim of size one has none."""
    return [(Axis(size, whole),) if size != 1 else () for size in shape]


def leaves(axes: Iterable[Axis]) -> list[Axis]:
    """Return what axes come to, major first; without those of size one."""
    found: list[Axis] = []
    for axis in axes:
        at = axis
        while at.link is not None:
            at = at.link
        if at.parts is not None:
            found += leaves(at.parts)
        elif at.size != 1:
            found.append(at)
    return found


def same(one: Axis, other: Axis) -> None:
    """Make two leaves one."""
    if one is not other:
        other.whole |= one.whole
        one.link = other


def _split(axis: Axis, major: int) -> tuple[Axis, Axis]:
    axis.parts = (Axis(major, axis.whole), Axis(axis.size // major, axis.whole))
    return axis.parts


def match(one: Sequence[Axis], other: Sequence[Axis]) -> bool:
    """Find two runs of axes equal, major first, splitting either where it must be.

    Axes whose sizes have no common split are kept whole, and False is returned.
    """
    left, right = leaves(one), leaves(other)
    while left and right:
        a, b = left[0], right[0]
        if a is b or a.size == b.size:
            same(a, b)
            left, right = leaves(left[1:]), leaves(right[1:])
        elif a.size > b.size and a.size % b.size == 0:
            major, minor = _split(a, b.size)
            left = leaves([major, minor, *left[1:]])
        elif b.size > a.size and b.size % a.size == 0:
            major, minor = _split(b, a.size)
            right = leaves([major, minor, *right[1:]])
        else:
            break
    for axis in [*left, *right]:
        axis.keep_whole()
    return not left and not right
