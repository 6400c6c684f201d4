"""How groups lie on a torus of chips, and its shape where none is given.

Knows axes, degrees and strides; no bandwidth.

Parts: `cubic`, `on_torus`.
"""

from collections.abc import Sequence

import numpy as np

from costmodels.units import Num

__all__ = ["cubic", "on_torus"]


def cubic(chips: int, dims: int) -> tuple[int, ...]:
    """Split `chips` into `dims` factors, as even as powers and divisors allow, ascending."""
    shape: list[int] = []
    left = chips
    for remaining in range(dims, 1, -1):
        target = round(left ** (1.0 / remaining))
        factor = next(f for f in range(max(1, target), 0, -1) if left % f == 0)
        shape.append(factor)
        left //= factor
    return (*sorted([*shape, left]),)


def on_torus(torus: tuple[int, ...], segments: Sequence[tuple[Num, Num]]) -> tuple[Num, Num, Num]:
    """Share of a chip's links, steps of a pass and mean distance of a group on a torus.

    Device numbers run along the first axis, then the next. Of every axis that a group covers
    wholly its ring has both directions; a part of an axis is a line, which halves it; and ranks
    that stand s chips apart share the axis with the s - 1 groups between them. Axes are passed
    one after the other, r - 1 steps each. Between any two chips of a ring of r lie r/4 links on
    average, of a line r/3 (all-to-all).
    """
    covered: Num = 0.0
    turns: Num = 0.0
    distance: Num = 0.0
    done: float = 1.0
    for chips in torus:
        used: Num = 1.0
        apart: Num = np.inf
        for degree, stride in segments:
            ranks = np.minimum(done * chips, degree * stride) / np.maximum(done, stride)
            used = used * np.maximum(1.0, ranks)
            here = np.where(ranks > 1.0, np.maximum(1.0, stride / done), np.inf)
            apart = np.minimum(apart, here)
        whole = used * apart >= chips * (1.0 - 1e-9)
        covered = covered + np.where(used > 1.0, np.where(whole, 1.0, 0.5) / apart, 0.0)
        turns = turns + (used - 1.0)
        distance = distance + np.where(used > 1.0, used / np.where(whole, 4.0, 3.0), 0.0)
        done = done * chips
    share = np.where(covered > 0.0, covered, len(torus)) / len(torus)
    return share, turns, np.maximum(1.0, distance)
