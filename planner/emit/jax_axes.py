"""Named mesh axes for JAX from the degrees of a plan.

A JAX mesh has one grid of axes, and a plan has several cuts of the same ranks: ZeRO's shard
groups cut dp*cp, expert groups cut tp*cp*dp. The common refinement of all cuts gives axes such
that every cut is a product of some of them. Knows degrees and rank order; no model, no JAX.

Parts: `MeshAxes`, `mesh_axes`.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from planner.emit.text import Header
from planner.emit.view import Mesh

__all__ = ["MeshAxes", "mesh_axes"]


@dataclass(slots=True)
class _Atom:
    """One axis of the grid: part of a plan's axis, and the cuts that it is inside of."""

    parent: str
    size: int
    roles: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class MeshAxes:
    """Axes of the grid, outermost first, and by role the axes that make it up.

    Roles: tp, cp, dp, pp; fsdp (ranks that share dense shards); ep, etp; efsdp (ranks that
    share the shards of an expert). A role of degree 1 has no axes.
    """

    sizes: Mapping[str, int]
    roles: Mapping[str, tuple[str, ...]]

    def degree(self, role: str) -> int:
        """Product of the axes of a role."""
        return math.prod(self.sizes[axis] for axis in self.roles[role])


def mesh_axes(mesh: Mesh, header: Header) -> MeshAxes:
    """Refine the cuts of a plan into named axes; notes a cut that no grid has."""
    grid = [_Atom(axis, getattr(mesh, axis), {axis}) for axis in mesh.order]
    cuts = (
        ("fsdp", mesh.zero_group if mesh.zero else 1, ("cp", "dp"), ""),
        ("etp", mesh.etp, ("tp", "cp", "dp"), ""),
        ("ep", mesh.ep, ("tp", "cp", "dp"), "etp"),
    )
    for role, ranks, parents, behind in cuts:
        grid = _cut(grid, role, ranks, parents, {behind}, header)
    if mesh.zero:
        shards = max(1, mesh.zero_group * mesh.tp // (mesh.ep * mesh.etp))
        grid = _cut(grid, "efsdp", shards, ("tp", "cp", "dp"), {"ep", "etp"}, header)
    return _named([atom for atom in grid if atom.size > 1])


def _cut(
    grid: list[_Atom],
    role: str,
    ranks: int,
    parents: Collection[str],
    behind: set[str],
    header: Header,
) -> list[_Atom]:
    """Give `role` to the innermost `ranks` ranks of the parents that are not in `behind`."""
    out: list[_Atom] = []
    left = ranks
    for atom in grid:
        if left == 1 or atom.parent not in parents or atom.roles & behind:
            out.append(atom)
            continue
        inner = math.gcd(left, atom.size)
        left //= inner
        out.append(_Atom(atom.parent, inner, atom.roles | {role} if inner > 1 else atom.roles))
        if inner < atom.size:
            if left > 1:
                header.not_expressible(
                    f"{role} of {ranks} ranks across {atom.parent} of {atom.size}",
                    f"{role} of {ranks // left}",
                )
                left = 1
            out.append(_Atom(atom.parent, atom.size // inner, set(atom.roles)))
    return out


def _named(grid: list[_Atom]) -> MeshAxes:
    """Name the axes by their parents; several of one parent are numbered from inside."""
    seen: dict[str, int] = {}
    names: list[str] = []
    parents = [atom.parent for atom in grid]
    for parent in parents:
        many = parents.count(parent) > 1
        names.append(f"{parent}_{seen.get(parent, 0)}" if many else parent)
        seen[parent] = seen.get(parent, 0) + 1
    pairs = list(zip(names, grid, strict=True))[::-1]
    every = ("pp", "dp", "cp", "tp", "fsdp", "ep", "etp", "efsdp")
    return MeshAxes(
        sizes={name: atom.size for name, atom in pairs},
        roles={role: tuple(n for n, atom in pairs if role in atom.roles) for role in every},
    )
