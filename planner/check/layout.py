"""Parameters of a checked model: shapes, who holds what, who adds up whose gradients.

Every parameter has a first dim of its own: decoder layers, cut over the stages, or for the tables
one copy a stage. Names are of grid axes (see
`planner.emit.jax_axes`). Pure data: knows no JAX.

Parts: `Group`, `Parameter`, `Layout`, `layout_of`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from planner.emit.jax_axes import MeshAxes, mesh_axes
from planner.emit.text import Header
from planner.emit.view import Mesh, PlanView
from planner.errors import SpecError
from planner.models.config import ModelConfig
from planner.workloads.training.context import DEFAULT_IMBALANCE

__all__ = ["Axes", "Group", "Layout", "Parameter", "layout_of"]

Axes = tuple[str, ...]


class Group(NamedTuple):
    """Ranks that exchange: for which axis of the plan, and the grid axes that they span."""

    term: str
    axes: Axes


Dim = tuple[str, int, Axes]
"""What a dim is, its size, and the axes that cut it where the parameter is used."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One kind of parameter.

    Parameters
    ----------
    dims    : the whole array's; the first is `layers` or `stages`
    cut     : the dim that ZeRO cuts
    shards  : axes whose ranks share the parameter's states under ZeRO
    copies  : axes whose ranks hold the same shard and add up gradients
    partial : axes whose ranks each have a part of the gradient, the parameter whole
    """

    dims: tuple[Dim, ...]
    cut: int
    shards: Axes
    copies: Axes
    partial: Axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return tuple(size for _, size, _ in self.dims)

    @property
    def used(self) -> tuple[Axes, ...]:
        """Axes that cut each dim where the parameter is used."""
        return tuple(axes for _, _, axes in self.dims)

    @property
    def sharded(self) -> tuple[Axes, ...]:
        """Axes that cut each dim of a shard."""
        return tuple(
            (*axes, *self.shards) if dim == self.cut else axes for dim, axes in enumerate(self.used)
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """A model on the mesh of a plan.

    Parameters
    ----------
    axes       : grid axes, and those that make up each role
    batch      : sequences of a microbatch on all data-parallel ranks together
    capacity   : slots of an expert over the tokens that it gets on average
    balanced   : tokens are dealt to experts evenly, whatever the router says
    """

    model: ModelConfig
    mesh: Mesh
    axes: MeshAxes
    parameters: Mapping[str, Parameter]
    sequence: int
    batch: int
    capacity: float
    balanced: bool

    def group(self, role: str) -> Group:
        """Ranks of a role, what they exchange named after it."""
        return Group("ep" if role == "etp" else role, self.role(role))

    def role(self, name: str) -> Axes:
        """Grid axes of a role, outermost first; none where its degree is 1."""
        return self.axes.roles[name]

    @property
    def gathers_often(self) -> bool:
        """Whether parameters are gathered at every use, not once a step: zero 3, no pipeline."""
        return self.mesh.zero == 3 and self.mesh.pp == 1


def layout_of(view: PlanView, header: Header | None = None) -> Layout:
    """Lay the model of a plan out; SpecError where a dim does not divide."""
    axes = mesh_axes(view.mesh, header or Header(""))
    model, mesh, workload = view.model, view.mesh, view.workload
    parameters = {**_tables(model, mesh), **_layers(model)}
    moe = model.moe
    capacity = 1.0 if moe is None else moe.imbalance or moe.capacity_factor or DEFAULT_IMBALANCE
    layout = Layout(
        model=model,
        mesh=mesh,
        axes=axes,
        parameters={
            name: _parameter(name, dims, mesh, axes, model.tied_embeddings)
            for name, dims in parameters.items()
        },
        sequence=workload.sequence_length,
        batch=mesh.dp * mesh.micro_batch,
        capacity=capacity,
        balanced=capacity == 1.0,
    )
    _check(layout)
    return layout


Named = list[tuple[str, int, str]]
"""Dims by what they are, size, and the role that cuts them."""


def _tables(model: ModelConfig, mesh: Mesh) -> dict[str, Named]:
    stages = ("stages", mesh.pp, "pp")
    kinds: dict[str, Named] = {
        "embedding": [stages, ("vocab", model.vocab, "tp"), ("hidden", model.hidden, "")],
        "final_norm": [stages, ("hidden", model.hidden, "")],
    }
    if not model.tied_embeddings:
        kinds["head"] = [stages, ("hidden", model.hidden, ""), ("vocab", model.vocab, "tp")]
    return kinds


def _layers(model: ModelConfig) -> dict[str, Named]:
    """Dims of the layers' parameters, stacked; queries lie beside their keys and values."""
    layers, hidden = ("layers", model.layers, "pp"), ("hidden", model.hidden, "")
    groups, width = model.kv_heads_or_all, model.head_dim_or_even
    each = model.heads // groups + 2
    gates = ("gates", 2 if model.gated_mlp else 1, "")
    kinds: dict[str, Named] = {
        "attention_norm": [layers, hidden],
        "qkv": [layers, hidden, ("kv_heads", groups, "tp"), ("each", each, ""), ("d", width, "")],
        "out": [layers, ("heads", model.heads * width, "tp"), hidden],
        "mlp_norm": [layers, hidden],
    }
    moe = model.moe
    if moe is None:
        wide = ("ffn", model.ffn_hidden, "tp")
        return kinds | {"up": [layers, hidden, gates, wide], "down": [layers, wide, hidden]}
    many, inner = ("experts", moe.experts, "ep"), ("expert_ffn", moe.ffn_hidden, "etp")
    kinds["router"] = [layers, hidden, ("experts", moe.experts, "")]
    kinds["expert_up"] = [layers, many, hidden, gates, inner]
    kinds["expert_down"] = [layers, many, inner, hidden]
    shared = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
    if shared:
        wide = ("ffn", shared, "tp")
        kinds |= {"up": [layers, hidden, gates, wide], "down": [layers, wide, hidden]}
    return kinds


def _parameter(name: str, named: Named, mesh: Mesh, axes: MeshAxes, tied: bool) -> Parameter:
    """Say who shares a parameter: experts among the ranks beyond ep and etp, others over dp*cp."""
    roles, expert = axes.roles, name.startswith("expert_")
    taken = {*roles["ep"], *roles["etp"]} if expert else set()
    ranks = ("tp", "cp", "dp") if expert else ("cp", "dp")
    every = [a for a in axes.sizes if any(a in roles[role] for role in ranks) and a not in taken]
    shards = roles["efsdp" if expert else "fsdp"]
    partial: Axes = ()
    if name in ("attention_norm", "mlp_norm", "final_norm", "router") and mesh.sp:
        partial = roles["tp"]
    elif name == "embedding" and tied:  # the first stage looks up in it, the last one scores
        partial = roles["pp"]
    return Parameter(
        dims=tuple((what, size, roles[role] if role else ()) for what, size, role in named),
        cut=2 if expert else 1,
        shards=shards,
        copies=tuple(a for a in every if a not in shards),
        partial=partial,
    )


def _check(layout: Layout) -> None:
    """Refuse what does not divide: no rank of the step is unlike another."""
    mesh, model, sizes = layout.mesh, layout.model, layout.axes.sizes
    for name, parameter in layout.parameters.items():
        for (what, size, _), cut in zip(parameter.dims, parameter.sharded, strict=True):
            ways = math.prod(sizes[axis] for axis in cut)
            if size % ways:
                raise SpecError(
                    f"{what} of {size} ({name}) is not a multiple of the {ways} ranks that cut it",
                    key="workload.model",
                )
    if not mesh.even:
        raise SpecError("stages must hold equal layers", key="strategy.layers_per_stage")
    local = layout.sequence // mesh.cp
    if layout.sequence % mesh.cp or (mesh.sp and local % mesh.tp):
        raise SpecError(f"not whole tokens on each of cp {mesh.cp}, tp {mesh.tp} ranks",
                        key="workload.sequence_length")  # fmt: skip
    if mesh.cp_comm.startswith("a2a") and (model.kv_heads_or_all // mesh.tp) % mesh.cp:
        raise SpecError(f"kv_heads over tp {mesh.tp} is not a multiple of cp {mesh.cp}, which"
                        " exchanges heads", key="workload.model.kv_heads")  # fmt: skip
    moe = model.moe
    if moe is None:
        return
    tokens = local // (mesh.tp if mesh.sp else 1)
    if layout.balanced and tokens * moe.top_k % moe.experts:
        raise SpecError(f"{tokens} tokens a rank times top_k {moe.top_k} are not even shares of"
                        f" {moe.experts} experts", key="workload.model.moe.experts")  # fmt: skip
    if mesh.tp > 1 and not mesh.sp:
        raise SpecError("experts beside tensor parallelism need sp", key="strategy.sp")
