"""Plain JAX: a mesh with named axes and a PartitionSpec for every kind of tensor.

The emitted file stands alone: it builds the mesh, holds the specs as literals, and with
`--dry-run N` runs one small training step on N fake CPU devices with the same axes and specs.
Its own `# Not expressible: ...` says what a sharding cannot express. This module never imports
JAX.
"""

from collections.abc import Mapping, Sequence

from planner.emit import jax_function
from planner.emit.jax_axes import MeshAxes, mesh_axes
from planner.emit.pools import note_pools
from planner.emit.render import Source, literal, render
from planner.emit.text import Header, one_line
from planner.emit.view import PlanView, read
from planner.models.config import ModelConfig

__all__ = ["NAME", "TARGET", "TASKS", "emit"]

NAME = "jax"
TARGET = "JAX 0.5 to 0.11 (jax.sharding.Mesh, run with 0.10)"
TASKS: tuple[str, ...] = ("pretrain", "sft", "lora")

Dim = tuple[str, int, str]
"""A tensor's dim: its name, its size, and the role that splits it (empty: whole)."""

DTYPES = {"fp32": "float32", "fp16": "float16"}


def emit(plan: Mapping[str, object]) -> dict[str, str]:
    """Return the mesh file of a training plan, by path; a function's plan has a file of its own."""
    if jax_function.is_function(plan):
        return jax_function.emit(plan, TARGET)
    view = read(plan)
    header = _header(view)
    axes = mesh_axes(view.mesh, header)
    parameters = _parameters(view.model, view.mesh.pp)
    sharded = {name: _spec(name, dims, axes, header) for name, dims in parameters.items()}
    compute = {
        name: _spec(name, [(d, n, "" if r.endswith("fsdp") else r) for d, n, r in dims], axes)
        for name, dims in parameters.items()
    }
    _unsaid(view, header)
    values: dict[str, object] = {
        "axes": dict(axes.sizes) or {"dp": 1},
        "roles": dict(axes.roles),
        "compute": compute,
        "sharded": sharded,
        "activations": _activations(view, axes),
        "parameters": Source("SHARDED_SPECS" if view.mesh.zero == 3 else "COMPUTE_SPECS"),
        "gradients": Source("SHARDED_SPECS" if view.mesh.zero >= 2 else "COMPUTE_SPECS"),
        "states": Source("SHARDED_SPECS" if view.mesh.zero >= 1 else "COMPUTE_SPECS"),
        "shapes": {name: tuple(n for _, n, _ in dims) for name, dims in parameters.items()},
        "dtype": DTYPES.get(view.precision, "bfloat16"),
        "recompute": "projections" if view.mesh.recompute_modules else view.mesh.recompute,
        "microbatches": view.mesh.microbatches,
    }
    text = render("jax_mesh.py.j2", header=Source("\n".join(header.lines())), **values)
    return {"mesh.py": text}


def _header(view: PlanView) -> Header:
    mesh = view.mesh
    header = Header(
        f"{TARGET}: mesh and shardings of a plan by Sixfold",
        [
            f"Job {one_line(view.job.name)}: {one_line(view.model.name)} on {mesh.devices} devices"
            f" of {one_line(view.system or 'a system that the plan leaves open')}.",
            f"tp {mesh.tp}, cp {mesh.cp}, pp {mesh.pp} (vpp {mesh.vpp}), dp {mesh.dp},"
            f" ep {mesh.ep}, etp {mesh.etp}, zero {mesh.zero} over {mesh.zero_group} ranks,"
            f" {mesh.microbatches} microbatches of {mesh.micro_batch}.",
        ],
    )
    note_pools(view, header)
    return header


def _parameters(model: ModelConfig, pp: int) -> dict[str, list[Dim]]:
    """Kinds of parameters and their dims; `layers` is all of them, padded to whole stages."""
    hidden: Dim = ("hidden", model.hidden, "fsdp")
    layers: Dim = ("layers", -(-model.layers // pp) * pp, "pp")
    wide: Dim = ("ffn", model.ffn_hidden, "tp")
    kinds: dict[str, list[Dim]] = {
        "embedding": [("vocab", model.vocab, "tp"), hidden],
        "head": [hidden, ("vocab", model.vocab, "tp")],
        "final_norm": [("hidden", model.hidden, "")],
        "norm": [layers, ("hidden", model.hidden, "")],
        **_attention(model, layers, hidden),
    }
    if model.gated_mlp:
        kinds["gate"] = [layers, hidden, wide]
    kinds |= {"up": [layers, hidden, wide], "down": [layers, wide, hidden]}
    if model.moe is not None:
        many: Dim = ("experts", model.moe.experts, "ep")
        inner: Dim = ("expert_ffn", model.moe.ffn_hidden, "etp")
        across: Dim = ("hidden", model.hidden, "efsdp")
        kinds["router"] = [layers, hidden, ("experts", model.moe.experts, "")]
        if model.gated_mlp:
            kinds["expert_gate"] = [layers, many, across, inner]
        kinds["expert_up"] = [layers, many, across, inner]
        kinds["expert_down"] = [layers, many, inner, across]
    return kinds


def _attention(model: ModelConfig, layers: Dim, hidden: Dim) -> dict[str, list[Dim]]:
    attention, heads = model.attention, ("heads", model.heads, "tp")
    if attention.kind == "gqa":
        size: Dim = ("head_dim", model.head_dim_or_even, "")
        groups: Dim = ("kv_heads", model.kv_heads_or_all, "tp")
        return {
            "query": [layers, hidden, heads, size],
            "key": [layers, hidden, groups, size],
            "value": [layers, hidden, groups, size],
            "output": [layers, heads, size, hidden],
        }
    nope, rope = attention.qk_nope_head_dim or 0, attention.qk_rope_head_dim or 0
    value, kv_rank = attention.v_head_dim or 0, attention.kv_lora_rank or 0
    kinds: dict[str, list[Dim]] = {}
    if attention.q_lora_rank:
        kinds["query_down"] = [layers, hidden, ("q_rank", attention.q_lora_rank, "")]
        source: Dim = ("q_rank", attention.q_lora_rank, "fsdp")
    else:
        source = hidden
    kinds["query"] = [layers, source, heads, ("qk_dim", nope + rope, "")]
    kinds["kv_down"] = [layers, hidden, ("kv_rank", kv_rank + rope, "")]
    kinds["kv_up"] = [layers, ("kv_rank", kv_rank, "fsdp"), heads, ("kv_dim", nope + value, "")]
    kinds["output"] = [layers, heads, ("v_dim", value, ""), hidden]
    return kinds


def _spec(name: str, dims: Sequence[Dim], axes: MeshAxes, header: Header | None = None) -> Source:
    """Arguments of a PartitionSpec, as source; a dim that does not divide is split less."""
    return _entries([_fitting(name, dim, axes, header) for dim in dims])


def _fitting(name: str, dim: Dim, axes: MeshAxes, header: Header | None) -> tuple[str, ...]:
    label, size, role = dim
    if not role:
        return ()
    kept: list[str] = []
    for axis in reversed(axes.roles[role]):
        if size % axes.sizes[axis] == 0:
            kept.insert(0, axis)
            size //= axes.sizes[axis]
    if header is not None and len(kept) < len(axes.roles[role]):
        ways = dim[1] // size
        header.not_expressible(
            f"{name}: {label} of {dim[1]} over {axes.degree(role)} {role} ranks",
            f"split {ways} ways" if ways > 1 else "whole on each",
        )
    return tuple(kept)


def _entries(dims: Sequence[tuple[str, ...]]) -> Source:
    """Source of a spec's entries: None for a whole dim, a name, or a tuple of names."""
    return Source(", ".join(literal(n[0] if len(n) == 1 else n or None) for n in dims))


def _activations(view: PlanView, axes: MeshAxes) -> dict[str, Source]:
    """Specs of a microbatch's tensors, by name; their dims are in the emitted comments."""
    mesh, roles = view.mesh, axes.roles
    data, context, tensor = roles["dp"], roles["cp"], roles["tp"]
    spread = (data, (), (*context, *tensor), ())
    whole = (data, (), tensor, ())
    exchanged = mesh.cp_comm.startswith("a2a") and bool(context)
    table: dict[str, tuple[tuple[str, ...], ...]] = {
        "tokens": (data, context),
        "residual": (data, (*context, *tensor) if mesh.sp else context, ()),
        "mlp": (data, context, tensor),
        "logits": (data, context, tensor),
        "queries": spread if exchanged else (data, context, tensor, ()),
        "keys_values": spread if exchanged else whole,
        "slots": ((), data, (), ()),
        "experts": (roles["ep"], tuple(a for a in data if a not in roles["ep"]), (), ()),
    }
    return {name: _entries(dims) for name, dims in table.items()}


def _unsaid(view: PlanView, header: Header) -> None:
    """Note what shardings alone do not say."""
    mesh, workload = view.mesh, view.workload
    if view.model.vision is not None:
        header.not_expressible("a vision tower", "the language model alone")
    if mesh.pp > 1:
        if not mesh.even:
            header.not_expressible("stages of unequal layers", "equal ones, with layers padded")
        if mesh.vpp > 1 or mesh.schedule != "gpipe":
            header.not_expressible(
                f"schedule {mesh.schedule} (vpp {mesh.vpp})",
                "all microbatches forward, then backward, as differentiation orders them",
            )
    if mesh.cp > 1 and mesh.cp_comm in ("p2p", "a2a+p2p"):
        nearest = "all-gather" if mesh.cp_comm == "p2p" else "a2a"
        header.not_expressible(f"context exchange by {mesh.cp_comm}", nearest)
    if mesh.recompute_modules:
        said = ", ".join(mesh.recompute_modules)
        header.not_expressible(f"recomputation of single modules ({said})", "projections")
    if mesh.recompute_layers is not None:
        header.not_expressible(f"recomputation of {mesh.recompute_layers} layers a stage", "of all")
    if mesh.offload:
        header.not_expressible(f"offload of {', '.join(mesh.offload)}", "kept on the device")
    if view.precision not in DTYPES:
        header.not_expressible(f"precision {workload.precision}", "bf16")
    if workload.adapters is not None:
        header.not_expressible("low-rank adapters (task lora)", "specs as if all weights learnt")
    if workload.optimizer not in ("adam", "adamw"):
        header.not_expressible(f"optimizer {workload.optimizer}", "adam in the dry run")
    if mesh.stages or mesh.sharding:
        header.not_expressible("choices by stage or by operator", "the same choice everywhere")
    if mesh.consistency != "synchronous":
        header.not_expressible(f"consistency {one_line(mesh.consistency)}", "synchronous")
