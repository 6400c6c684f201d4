"""Which devices form the groups of an axis: closed forms against a list of every rank's device.

`exchange.segments` says which ranks exchange, `Cluster.span` which links they cross; here both
are read off the numbered devices of the mesh.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.units import Num
from hardware_profiles.load import load
from planner.cluster import Segment, build
from planner.dims import ORDERS, ParallelDims
from planner.workloads.training.groups import distinct_orders, segments

AXES = ("tp", "cp", "dp", "pp")
MESH = {"tp": 2, "cp": 2, "dp": 32, "pp": 4}  # the contract's case, 512 devices


def listed(mesh: dict[str, int], order: tuple[str, ...]) -> list[dict[str, int]]:
    """Coordinates of every device, in device order; the first axis of `order` runs fastest."""
    sizes = [mesh[axis] for axis in reversed(order)]
    places = itertools.product(*(range(size) for size in sizes))
    return [dict(zip(reversed(order), place, strict=True)) for place in places]


def groups(
    mesh: dict[str, int], order: tuple[str, ...], axis: str, *, zero_group: int, ep: int, etp: int
) -> list[list[int]]:
    """List the groups of an axis as device numbers, from the contract's words."""
    found: dict[tuple[object, ...], list[int]] = {}
    for device, at in enumerate(listed(mesh, order)):
        replica = stage = 0
        scale = {"replica": 1, "stage": 1}
        for one in order:  # ranks of dp*cp, and of a stage, numbered in the order of the mesh
            if one in ("cp", "dp"):
                replica += at[one] * scale["replica"]
                scale["replica"] *= mesh[one]
            if one != "pp":
                stage += at[one] * scale["stage"]
                scale["stage"] *= mesh[one]
        expert_replica = stage // (ep * etp)
        shards = max(1, zero_group * mesh["tp"] // (ep * etp))
        rest = {
            "replicas": (at["tp"], at["pp"]),
            "shards": (at["tp"], at["pp"], replica // zero_group),
            "copies": (at["tp"], at["pp"], replica % zero_group),
            "etp": (at["pp"], stage // etp),
            "ep": (at["pp"], stage % etp, expert_replica),
            "expert replicas": (at["pp"], stage % (ep * etp)),
            "expert shards": (at["pp"], stage % (ep * etp), expert_replica // shards),
            "expert copies": (at["pp"], stage % (ep * etp), expert_replica % shards),
        }
        key = rest[axis] if axis in rest else tuple(at[one] for one in AXES if one != axis)
        found.setdefault(key, []).append(device)
    return list(found.values())


def dims_of(
    mesh: dict[str, int], zero_group: int, ep: int, etp: int, order: tuple[str, ...] = AXES
) -> ParallelDims:
    ones = dict.fromkeys(ParallelDims.names(), 1.0)
    given = {**ones, **mesh, "zero": 3.0, "zero_group": zero_group, "ep": ep, "etp": etp}
    given["order"] = float(ORDERS.index(order))
    return ParallelDims.from_columns({**given, "devices": math.prod(mesh.values())})


def one(column: Num) -> float:
    return float(np.ravel(column)[0])


def offsets(group: tuple[Segment, ...]) -> list[int]:
    """Distances of a group's ranks from its first, from (degree, stride) pairs."""
    steps = [[i * one(stride) for i in range(int(one(degree)))] for degree, stride in group]
    return sorted(int(sum(place)) for place in itertools.product(*steps))


GROUPS = (
    *AXES,
    "replicas",
    "shards",
    "copies",
    "ep",
    "etp",
    "expert replicas",
    "expert shards",
    "expert copies",
)


def test_the_contracts_case_of_shards_and_replicas() -> None:
    dims = dims_of(MESH, 16, 8, 1)
    assert float(dims.replicas[0]) == 64
    assert float(dims.shards[0]) == 16
    assert float((dims.replicas / dims.shards)[0]) == 4
    assert float(dims.expert_replicas[0]) == 16
    assert float(dims.expert_shards[0]) == 4
    assert float((dims.expert_replicas / dims.expert_shards)[0]) == 4
    expected = {"shards": 16, "copies": 4, "ep": 8, "etp": 1, "expert replicas": 16,
                "expert shards": 4, "expert copies": 4}  # fmt: skip
    for axis, size in expected.items():
        members = groups(MESH, AXES, axis, zero_group=16, ep=8, etp=1)
        assert {len(group) for group in members} == {size}
        assert sum(len(group) for group in members) == 512


def test_experts_lie_in_the_node_and_their_copies_outside() -> None:
    cluster = build(load("dgx-h100"), 512)
    dims = dims_of(MESH, 16, 8, 1)

    def ranks(axis: str) -> list[float]:
        return [float(hop.ranks[0]) for hop in cluster.span(*segments(dims, axis))]

    assert ranks("ep") == [8, 1]
    assert ranks("shards") == [4, 4]
    assert ranks("copies") == [1, 4]
    assert ranks("expert shards") == [1, 4]
    assert ranks("expert copies") == [1, 4]
    assert ranks("pp") == [1, 4]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, int], tuple[str, ...], int, int, int]:
    mesh = {axis: draw(st.sampled_from([1, 2, 4, 8])) for axis in AXES}
    mesh["pp"] = min(mesh["pp"], 2)
    order = tuple(draw(st.permutations(AXES)))
    if order.index("pp") == 0:  # experts and replicas lie inside a stage in the other orders
        order = (*order[1:], "pp")
    replicas, stage = mesh["dp"] * mesh["cp"], mesh["tp"] * mesh["dp"] * mesh["cp"]
    zero_group = 2 ** draw(st.integers(0, int(math.log2(replicas))))
    ep = 2 ** draw(st.integers(0, int(math.log2(stage))))
    etp = 2 ** draw(st.integers(0, int(math.log2(stage // ep))))
    if zero_group * mesh["tp"] > stage or zero_group * mesh["tp"] % (ep * etp):
        ep, etp = min(ep, zero_group * mesh["tp"]), 1
    return mesh, order, zero_group, ep, etp


@settings(max_examples=40)
@given(layouts())
def test_segments_are_the_groups_listed(
    layout: tuple[dict[str, int], tuple[str, ...], int, int, int],
) -> None:
    mesh, order, zero_group, ep, etp = layout
    dims = dims_of(mesh, zero_group, ep, etp, order)
    for axis in GROUPS:
        members = groups(mesh, order, axis, zero_group=zero_group, ep=ep, etp=etp)
        first = next(group for group in members if 0 in group)
        assert offsets(segments(dims, axis)) == first, axis


@settings(max_examples=40)
@given(layouts(), st.sampled_from([2, 8, 16]))
def test_spans_are_the_ranks_and_the_shares_listed(
    layout: tuple[dict[str, int], tuple[str, ...], int, int, int], node: int
) -> None:
    """Ranks by level are distinct domains; a level's link is shared by the groups in a member."""
    mesh, order, zero_group, ep, etp = layout
    devices = math.prod(mesh.values())
    rack = {"name": "rack", "devices": 4 * node, "bytes_per_s": 100.0, "latency_s": 0.0}
    inner = {"name": "node", "devices": node, "bytes_per_s": 1000.0, "latency_s": 0.0}
    outer = {"name": "site", "devices": 4096, "bytes_per_s": 10.0, "latency_s": 0.0}
    cluster = build(load("dgx-h100"), devices, levels=[inner, rack, outer])
    dims = dims_of(mesh, zero_group, ep, etp, order)
    for axis in GROUPS:
        members = groups(mesh, order, axis, zero_group=zero_group, ep=ep, etp=etp)
        first = next(group for group in members if 0 in group)
        for level, hop in zip(cluster.levels, cluster.span(*segments(dims, axis)), strict=True):
            inside = {device // level.inside for device in first if device < level.devices}
            assert float(hop.ranks[0]) == len(inside), (axis, level.name)
            sharing = sum(1 for group in members if any(d < level.inside for d in group))
            assert one(hop.bytes_per_s) == pytest.approx(level.bytes_per_s / sharing), (
                axis,
                level.name,
            )


@settings(max_examples=30)
@given(st.lists(layouts(), min_size=2, max_size=6))
def test_plans_of_many_orders_have_the_groups_that_each_has_alone(
    many: list[tuple[dict[str, int], tuple[str, ...], int, int, int]],
) -> None:
    each = [dims_of(mesh, group, ep, etp, order) for mesh, order, group, ep, etp in many]
    joined = each[0]
    for more in each[1:]:
        joined = joined.joined(more)
    for axis in GROUPS:
        together = segments(joined, axis)
        for index, alone in enumerate(each):
            mine = [(float(d[index]), float(np.broadcast_to(s, len(many))[index]))
                    for d, s in together]  # fmt: skip
            assert mine == [(one(d), one(s)) for d, s in segments(alone, axis)], axis


@given(layouts())
def test_orders_that_lay_out_a_mesh_alike_are_counted_once(
    layout: tuple[dict[str, int], tuple[str, ...], int, int, int],
) -> None:
    mesh, _, group, ep, etp = layout
    distinct = distinct_orders(dims_of(mesh, group, ep, etp))[:, 0]
    several = [axis for axis in AXES if mesh[axis] > 1]
    assert distinct.sum() == math.factorial(len(several))
    used = [tuple(a for a in order if a in several) for order in ORDERS]
    kept = [used[code] for code in np.flatnonzero(distinct)]
    assert len(set(kept)) == len(kept)
    assert all(
        used.index(one) == code for code, one in zip(np.flatnonzero(distinct), kept, strict=True)
    )
