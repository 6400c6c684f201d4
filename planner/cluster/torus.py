"""How groups lie on a torus of chips, and its shape where none is given.

Knows axes, degrees and strides; no bandwidth.

Parts: `cubic`, `on_torus`; `has_slice`, `slices_beside`.
"""

from collections.abc import Sequence

import numpy as np

from costmodels.units import Num
from hardware_profiles.schema import HardwareProfile

__all__ = ["CUBE", "cubic", "has_slice", "on_torus", "slices_beside"]

CUBE = 64
"""Chips of a cube of 4 x 4 x 4, of which large slices of a 3-D torus are made."""
SMALL = {2: (1, 4, 8, 16, 32, 64, 128, 256), 3: (4, 8, 16, 32)}
"""Slices that are sold, by the axes of the torus; of three, multiples of a cube beside them."""


def cubic(chips: int, dims: int) -> tuple[int, ...]:
    """Split `chips` into `dims` factors, as even as powers and divisors allow, ascending.

    What is made of cubes of 4 x 4 x 4 has axes of multiples of 4.

    >>> cubic(192, 3), cubic(8960, 3), cubic(128, 2)
    ((4, 4, 12), (16, 20, 28), (8, 16))
    """
    if dims == 3 and chips % CUBE == 0:
        return (*(4 * factor for factor in _even(chips // CUBE, dims)),)
    return _even(chips, dims)


def _even(chips: int, dims: int) -> tuple[int, ...]:
    """Split into factors, each the largest divisor below the even share of what is left."""
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


def has_slice(profile: HardwareProfile, chips: int) -> bool:
    """Tell whether a slice, or several whole pods, have so many chips; True for no torus.

    Notes
    -----
    Source: Google Cloud TPU documentation, topologies of v4, v5e, v5p, v6e and tpu7x, 2025: on
    three axes 2x2x1, 2x2x2, 2x2x4, 2x4x4, and axes of multiples of 4; on two 1x1, 2x2, 2x4,
    4x4, 4x8, 8x8, 8x16, 16x16.

    >>> from hardware_profiles.load import load
    >>> [has_slice(load("tpu-v5p"), n) for n in (32, 100, 192)]
    [True, False, True]
    """
    inner = profile.network[0]
    if inner.torus_dims not in SMALL or inner.devices is None:
        return True
    if chips > inner.devices:
        return chips % inner.devices == 0 or (inner.torus_dims == 3 and chips % CUBE == 0)
    return chips in SMALL[inner.torus_dims] or (inner.torus_dims == 3 and chips % CUBE == 0)


def slices_beside(profile: HardwareProfile, chips: int) -> tuple[int, int]:
    """Return the nearest counts that a slice has, below and above; 0: none below."""
    below = next((n for n in range(chips, 0, -1) if has_slice(profile, n)), 0)
    above = next(n for n in range(chips, 2 * chips + 2 * CUBE * CUBE) if has_slice(profile, n))
    return below, above
