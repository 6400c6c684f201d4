"""Which axes of a grid of devices a collective runs over.

Devices are numbered row-major over the grid, as a mesh lists them. An axis takes part where its
coordinate varies inside a group. Knows numbers; no plan and no HLO text.

Parts: `Family`, `family`, `over`.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from planner.check.hlo import Collective

__all__ = ["Family", "family", "over"]

Family = Literal["reduce", "exchange", "send"]
"""Collectives that a compiler may put in each other's place: all-reduce, all-gather and
reduce-scatter; all-to-alls; permutations."""

_FAMILIES: Mapping[str, Family] = {
    "all-to-all": "exchange",
    "ragged-all-to-all": "exchange",
    "collective-permute": "send",
}


def family(collective: Collective) -> Family:
    """Return the family of a collective."""
    return _FAMILIES.get(collective.kind, "reduce")


def over(collective: Collective, sizes: Mapping[str, int]) -> frozenset[str]:
    """Axes that vary inside the groups of a collective.

    Parameters
    ----------
    sizes : of the grid's axes, outermost first
    """
    grid = np.indices(tuple(sizes.values())).reshape(len(sizes), -1)
    axes: set[str] = set()
    for group in collective.groups:
        places = grid[:, list(group)]
        varies = (places != places[:, :1]).any(axis=1)
        axes |= {name for name, moves in zip(sizes, varies, strict=True) if moves}
    return frozenset(axes)
