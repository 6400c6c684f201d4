"""The mesh that operators are split on: named axes, their degrees and their links.

Knows how axes lie on a cluster; nothing of what is split over them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from costmodels.hops import Span
from planner.cluster import Cluster

__all__ = ["Axis", "Mesh", "mesh_of"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Parameters
    ----------
    degree       : ranks along it
    span         : hops of the network that its groups cross
    kind         : kind of the terms that its collectives are shown under
    algorithm    : of its all-reduces, or auto
    overlap_frac : share of an exchange of activations that can run under compute
    """

    name: str
    degree: int
    span: Span
    kind: str = "tp"
    algorithm: str = "auto"
    overlap_frac: float = 0.0


Mesh = tuple[Axis, ...]
"""Axes, innermost (fastest links) first."""


def mesh_of(
    cluster: Cluster, degrees: Mapping[str, int], kinds: Mapping[str, str] | None = None
) -> Mesh:
    """Lay axes on a cluster, the first one on neighbouring devices.

    Parameters
    ----------
    degrees : ranks by axis, innermost first; an axis of one rank is left out
    kinds   : kind of the terms of each axis; its name, or "other" where that is no kind of term
    """
    known = ("tp", "cp", "ep", "dp", "pp")
    axes: list[Axis] = []
    stride = 1.0
    for name, degree in degrees.items():
        if degree > 1:
            kind = (kinds or {}).get(name, name if name in known else "other")
            axes.append(Axis(name, degree, cluster.span((float(degree), stride)), kind))
        stride *= degree
    return tuple(axes)
