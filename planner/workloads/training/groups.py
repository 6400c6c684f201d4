"""Which ranks form the groups of an axis: degrees and strides in device numbers, as columns.

The four axes are laid out in the order of each plan, innermost first; experts and shards lie
consecutively inside the ranks that they are carved out of. Sites are whole meshes, one after the
other. Knows degrees and orders; no network.

Parts: `strides`, `segments`, `distinct_orders`, `every_order`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Num
from planner.cluster import Segment
from planner.dims import AXES, ORDERS, ParallelDims

__all__ = ["distinct_orders", "every_order", "segments", "strides"]

INSIDE = {
    (axis, other): np.array([order.index(other) < order.index(axis) for order in ORDERS])
    for axis in AXES
    for other in AXES
}
"""By order: whether `other` is laid out inside `axis`."""


def _degree(dims: ParallelDims, axis: str) -> Num:
    """Degree of a mesh axis inside a site."""
    degree: Num = dims.dp_inside if axis == "dp" else getattr(dims, axis)
    return degree


def strides(dims: ParallelDims) -> dict[str, Num]:
    """Distance in device numbers between neighbours on each mesh axis."""
    code = _one_code(dims)
    at: dict[str, Num] = {}
    if code is not None:
        stride: Num = 1.0
        for axis in ORDERS[code]:
            at[axis] = stride
            stride = stride * _degree(dims, axis)
        return at
    codes = dims.order.astype(int)
    for axis in AXES:
        stride = np.ones(len(dims))
        for other in AXES:
            if other != axis:
                stride = stride * np.where(INSIDE[axis, other][codes], _degree(dims, other), 1.0)
        at[axis] = stride
    return at


def _one_code(dims: ParallelDims) -> int | None:
    """Return the order of all plans, None where they differ."""
    if not len(dims):
        return 0
    return int(dims.order[0]) if np.all(dims.order == dims.order[0]) else None


def _laid_out(dims: ParallelDims, axes: Sequence[str]) -> tuple[Segment, ...]:
    """Degrees and strides of some axes, innermost first in each plan."""
    at, code = strides(dims), _one_code(dims)
    if code is not None:
        return tuple((_degree(dims, axis), at[axis]) for axis in ORDERS[code] if axis in axes)
    places = np.array([[axes.index(a) for a in order if a in axes] for order in ORDERS])
    picks = places[dims.order.astype(int)]
    degrees = np.stack([_degree(dims, axis) for axis in axes])
    apart = np.stack([np.broadcast_to(at[axis], (len(dims),)) for axis in axes])
    rows = np.arange(len(dims))
    return tuple((degrees[pick, rows], apart[pick, rows]) for pick in picks.T)


def segments(dims: ParallelDims, axis: str) -> tuple[Segment, ...]:
    """Degrees and strides of a group of an axis, innermost first.

    Beside tp, cp, dp and pp: `replicas` (dp and cp together), `shards` (the first zero_group of
    them), `copies` (across shard groups), and the experts' `ep`, `etp` and `expert replicas`,
    which lie consecutively inside the ranks of a stage. All of these are of one site, but for
    `dp`; `sites` are the same ranks of every site, `everyone` they and the replicas.
    """
    sites = (dims.sites, dims.devices / dims.sites)
    if axis == "sites":
        return (sites,)
    if axis in AXES:
        inside = (_degree(dims, axis), strides(dims)[axis])
        return (inside, sites) if axis == "dp" else (inside,)
    one = np.ones_like(dims.tp)
    if axis in ("replicas", "shards", "copies", "everyone"):
        replicas = _laid_out(dims, ("cp", "dp"))
        if axis == "everyone":
            return (*replicas, sites)
        if axis == "replicas":
            return replicas
        if axis == "shards":
            return _slice(replicas, one, dims.zero_group)
        return _slice(replicas, dims.zero_group, dims.replicas / dims.zero_group)
    stage = _laid_out(dims, ("tp", "cp", "dp"))
    if axis == "etp":
        return _slice(stage, one, dims.etp)
    if axis == "ep":
        return _slice(stage, dims.etp, dims.ep)
    if axis == "expert replicas":
        return _slice(stage, dims.etp * dims.ep, dims.expert_replicas)
    if axis == "expert shards":
        return _slice(stage, dims.etp * dims.ep, dims.expert_shards)
    return _slice(
        stage, dims.etp * dims.ep * dims.expert_shards, dims.expert_replicas / dims.expert_shards
    )


def _slice(parts: tuple[Segment, ...], skip: Num, degree: Num) -> tuple[Segment, ...]:
    """`degree` ranks of the composite of `parts`, taken every `skip`-th."""
    taken: list[Segment] = []
    for size, stride in parts:
        inside = np.minimum(size, skip)
        left = np.minimum(size / inside, degree)
        taken.append((left, stride * inside))
        skip = np.maximum(1.0, skip / size)
        degree = np.maximum(1.0, degree / left)
    return tuple(taken)


def _first_alike() -> NDArray[np.float64]:
    """By which axes have several ranks, and order: the first order that lays them out alike."""
    made = np.zeros((1 << len(AXES), len(ORDERS)))
    for several in range(1 << len(AXES)):
        seen: dict[tuple[str, ...], int] = {}
        for code, order in enumerate(ORDERS):
            used = tuple(axis for axis in order if several >> AXES.index(axis) & 1)
            made[several, code] = seen.setdefault(used, code)
    return made


FIRST_ALIKE = _first_alike()


def distinct_orders(dims: ParallelDims) -> NDArray[np.bool_]:
    """(orders, plans): true for the first of the orders that lay out a plan's ranks alike."""
    several = sum((np.asarray(_degree(dims, axis)) > 1) << i for i, axis in enumerate(AXES))
    codes = np.arange(len(ORDERS))
    return np.asarray(codes[:, None] == FIRST_ALIKE[several].T)


def every_order(dims: ParallelDims) -> tuple[ParallelDims, NDArray[np.intp]]:
    """Return every plan in every distinct order of its mesh, and which plan each is of."""
    rows, codes = np.nonzero(distinct_orders(dims).T)
    return replace(dims.take(rows), order=codes.astype(float)), rows
