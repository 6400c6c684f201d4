"""Layers dealt to unlike stages in order, at the fastest pace that their room allows.

For a given pace every stage takes, in forward order, as many layers as it can in that time and in
its room; the fastest pace that places all is found by halving. Dealing so is exact for a pace,
since layers go in order and more of them never take less. Knows seconds and room of stages; no
meshes, no pools.

Parts: `dealt`, and `paces`, its bound for many columns at once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column

__all__ = ["dealt", "paces"]

HALVINGS = 32


def paces(
    fixed_s: NDArray[np.float64],
    layer_s: NDArray[np.float64],
    room: NDArray[np.float64],
    layers: float,
) -> Column:
    """Find the least pace of every column at which its stages hold all layers, by halving.

    At pace T a stage with fixed time a, time b for a layer and room for r of them holds at most
    min(r, (T - a) / b) layers, whole or not: no dealing has a faster pace.
    """
    low = np.zeros(room.shape[1])
    high = (fixed_s + layer_s * np.maximum(room, 1.0)).max(axis=0, initial=0.0)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        held = np.minimum(room, np.maximum(0.0, (middle - fixed_s) / layer_s)).sum(axis=0)
        enough = held >= layers
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return low


def dealt(
    kinds: Sequence[int], costs: Sequence[tuple[float, Sequence[float]]], room: Sequence[int]
) -> tuple[int, ...] | None:
    """Deal layers to stages at the fastest pace that places all; None where there is no room.

    Parameters
    ----------
    kinds : of every layer, in order
    costs : of every stage, its fixed seconds and those of a layer of each kind
    room  : layers that each stage can hold
    """
    high = sum(fixed_s + max(layer_s) * len(kinds) for fixed_s, layer_s in costs)
    best, low = _fill(kinds, costs, room, high), 0.0
    if best is None:
        return None
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        found = _fill(kinds, costs, room, middle)
        low, high = (low, middle) if found else (middle, high)
        best = found or best
    return best


def _fill(
    kinds: Sequence[int],
    costs: Sequence[tuple[float, Sequence[float]]],
    room: Sequence[int],
    pace_s: float,
) -> tuple[int, ...] | None:
    """Give each stage in turn as many layers as the pace and its memory allow, one at least."""
    made, at = [], 0
    for place, (fixed_s, layer_s) in enumerate(costs):
        most = min(room[place], len(kinds) - at - (len(costs) - place - 1))
        took, seconds = 0, fixed_s
        while took < most and seconds + layer_s[kinds[at + took]] <= pace_s:
            seconds += layer_s[kinds[at + took]]
            took += 1
        if not took:
            return None
        made.append(took)
        at += took
    return tuple(made) if at == len(kinds) else None
