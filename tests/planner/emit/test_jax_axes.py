"""Named axes that make up every cut of a plan's ranks."""

import itertools
import math
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.emit.jax_axes import MeshAxes, mesh_axes
from planner.emit.text import Header
from planner.emit.view import read

Plan = dict[str, Any]


def groups(axes: MeshAxes, role: str) -> set[frozenset[int]]:
    """Return the sets of ranks that differ only along the axes of a role."""
    names = list(axes.sizes)
    out: dict[tuple[int, ...], set[int]] = {}
    for rank, place in enumerate(itertools.product(*(range(n) for n in axes.sizes.values()))):
        rest = tuple(
            p for p, name in zip(place, names, strict=True) if name not in axes.roles[role]
        )
        out.setdefault(rest, set()).add(rank)
    return {frozenset(group) for group in out.values()}


def test_the_case_of_the_contract(plans: dict[str, Plan]) -> None:
    """Dense parameters: 16 shards, 4 replicas. Experts: 4 shards, 4 replicas, 1/8 a rank."""
    header = Header("x")
    axes = mesh_axes(read(plans["case"]).mesh, header)
    assert math.prod(axes.sizes.values()) == 512
    assert axes.degree("fsdp") == 16
    assert axes.degree("dp") * axes.degree("cp") // axes.degree("fsdp") == 4
    assert axes.degree("ep") == 8
    assert axes.degree("efsdp") == 4
    stage = axes.degree("tp") * axes.degree("cp") * axes.degree("dp")
    assert stage // (axes.degree("ep") * axes.degree("efsdp")) == 4
    assert header.lost == []


def test_expert_groups_are_neighbours(plans: dict[str, Plan]) -> None:
    axes = mesh_axes(read(plans["case"]).mesh, Header("x"))
    assert frozenset(range(8)) in groups(axes, "ep")
    assert frozenset({0, 1}) in groups(axes, "tp")
    assert frozenset({0, 2}) in groups(axes, "cp")
    assert frozenset({0, 128, 256, 384}) in groups(axes, "pp")


def test_axes_of_degree_one_are_left_out(plans: dict[str, Plan]) -> None:
    axes = mesh_axes(read(plans["fsdp"]).mesh, Header("x"))
    assert dict(axes.sizes) == {"dp_1": 8, "dp_0": 8}
    assert axes.roles["fsdp"] == ("dp_0",)
    assert axes.roles["tp"] == ()


def test_a_cut_that_no_grid_has_is_said(
    plans: dict[str, Plan], planned: Callable[..., Plan]
) -> None:
    model = plans["case"]["job"]["workload"]["model"]
    plan = planned("x", model, {"tp": 2, "cp": 3, "ep": 4}, devices=24, global_batch=4)
    header = Header("x")
    axes = mesh_axes(read(plan).mesh, header)
    assert math.prod(axes.sizes.values()) == 24
    assert axes.degree("ep") == 2
    assert "ep of 4 ranks" in header.lost[0]


DEGREES = st.sampled_from([1, 2, 3, 4, 6, 8])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), tp=DEGREES, cp=DEGREES, pp=DEGREES, dp=DEGREES)
def test_every_cut_is_a_product_of_axes_or_is_said(
    plans: dict[str, Plan],
    planned: Callable[..., Plan],
    data: st.DataObject,
    tp: int,
    cp: int,
    pp: int,
    dp: int,
) -> None:
    stage = tp * cp * dp
    etp = data.draw(st.sampled_from([1, tp]))
    ep = data.draw(st.sampled_from([n for n in range(1, stage + 1) if stage % (n * etp) == 0]))
    group = data.draw(st.sampled_from([n for n in range(1, dp * cp + 1) if dp * cp % n == 0]))
    order = data.draw(st.permutations(["tp", "cp", "dp", "pp"]))
    zero = data.draw(st.sampled_from([0, 1, 3]))
    assume(ep * etp <= stage)
    strategy = {"tp": tp, "cp": cp, "pp": pp, "ep": ep, "etp": etp, "zero": zero}
    plan = planned(
        "x",
        plans["case"]["job"]["workload"]["model"],
        {**strategy, "zero_group": group, "mesh_order": order},
        devices=stage * pp,
        global_batch=dp,
    )
    header = Header("x")
    axes = mesh_axes(read(plan).mesh, header)
    assert math.prod(axes.sizes.values()) == stage * pp
    for role in ("tp", "cp", "pp", "dp"):
        assert axes.degree(role) == strategy.get(role, dp)
    assert not set(axes.roles["ep"]) & set(axes.roles["etp"])
    assert not set(axes.roles["efsdp"]) & set(axes.roles["ep"] + axes.roles["etp"])
    said = " ".join(header.lost)
    expected = {"fsdp": group if zero else 1, "etp": etp, "ep": ep}
    for role, degree in expected.items():
        if f" {role} of" not in said:
            assert axes.degree(role) == degree
