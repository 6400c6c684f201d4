"""A job small enough for this machine, with the structure of a plan.

Degrees shrink to the devices at hand, factor by factor from the innermost axis out, so that as
many axes as can be stay alive. Layers, widths, heads, experts, vocabulary, sequence and batch
shrink with them to the largest that meet a budget of arithmetic and memory, every dim a multiple
of what cuts it. What already fits is left as it is. Pure data: knows no JAX.

Parts: `Budget`, `Reduced`, `reduce`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from planner.check.layout import layout_of
from planner.check.plain import plain_mesh, plain_model, unsaid
from planner.emit.view import Mesh, PlanView, read
from planner.errors import SpecError
from planner.models.config import ModelConfig, MoE
from planner.models.count import count
from planner.workloads.training.graph import flop_per_token

__all__ = ["Budget", "Reduced", "reduce"]

WIDTHS = (8192, 4096, 2048, 1024, 512, 256, 128)
"""Hidden sizes that are tried, where a model must shrink."""
STATE_BYTES = 16.0
"""Of a parameter, its gradient and Adam's moments, in float32."""
LAYER_ELEMENTS = 24.0
"""Activations that a token keeps in a layer, in hidden sizes: a generous count for the budget."""
AS_IT_IS = 50.0
"""Arithmetic over the budget up to which a job that has the devices' number is run as it is."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a step may take.

    Parameters
    ----------
    devices      : at hand
    memory_bytes : of all of them together
    flop         : of all of them together in one step
    """

    devices: int
    memory_bytes: float
    flop: float


@dataclass(frozen=True, slots=True)
class Reduced:
    """A job with its strategy pinned, as plain values, and what was changed on the way."""

    job: Mapping[str, object]
    changes: tuple[str, ...]


def reduce(view: PlanView, budget: Budget, system: str) -> Reduced:
    """Shrink a plan's job to a budget; `system`: the profile that prices it.

    Raises
    ------
    SpecError : nothing of its structure fits the budget
    """
    changes: list[str] = []

    def note(what: str, instead: str) -> None:
        changes.append(f"{what}: {instead}")

    unsaid(view, note)
    model = plain_model(view.model, note)
    mesh = _shrunk(plain_mesh(view.mesh, model.moe is not None, note), budget.devices, changes)
    same = mesh.devices == view.mesh.devices
    for index, (small, fitted, sequence) in enumerate(
        _sizes(model, view.workload.sequence_length, mesh)
    ):
        most = budget.flop * (AS_IT_IS if same and index == 0 else 1.0)
        if not _within(small, fitted, sequence, budget.memory_bytes, most):
            continue
        job = _job(view, small, fitted, sequence, system)
        if _buildable(job):
            return Reduced(job, (*changes, *_said(view, small, fitted, sequence)))
    raise SpecError(
        f"no model with this structure fits {budget.memory_bytes / 1e9:.3g} GB and"
        f" {budget.flop:.3g} FLOP a step on {budget.devices} devices",
        key="workload.model",
    )


def _primes(number: int) -> list[int]:
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return found


def _shrunk(mesh: Mesh, devices: int, changes: list[str]) -> Mesh:
    """Shrink the degrees to what the devices hold: one prime factor of each axis at a time."""
    left = {axis: _primes(getattr(mesh, axis)) for axis in mesh.order}
    small = dict.fromkeys(mesh.order, 1)
    grown = True
    while grown:
        grown = False
        for axis in mesh.order:
            total = math.prod(small.values())
            if left[axis] and total * left[axis][0] <= devices:
                small[axis] *= left[axis].pop(0)
                grown = True
    replicas, ranks = small["dp"] * small["cp"], small["dp"] * small["cp"] * small["tp"]
    hybrid = mesh.zero > 0 and mesh.zero_group < mesh.dp * mesh.cp
    most = replicas // 2 if hybrid and replicas > 2 else replicas
    group = _divisor(replicas, min(most, mesh.zero_group))
    ep = _divisor(ranks // (2 if mesh.etp > 1 and ranks % 2 == 0 else 1), mesh.ep)
    etp = _divisor(ranks // ep, mesh.etp)
    count = mesh.microbatches
    many = min(count, 2 * small["pp"] if mesh.pp > 1 else 2)
    made = replace(
        mesh, tp=small["tp"], cp=small["cp"], dp=small["dp"], pp=small["pp"],
        sp=mesh.sp and small["tp"] > 1, zero_group=group, ep=ep, etp=etp,
        micro_batch=mesh.micro_batch, microbatches=many if small != _degrees(mesh) else count,
    )  # fmt: skip
    for axis in (*mesh.order, "zero_group", "ep", "etp", "microbatches"):
        before, after = getattr(mesh, axis), getattr(made, axis)
        if before != after and not (axis == "zero_group" and mesh.zero == 0):
            changes.append(f"{axis} {before}: {after}")
    return made


def _degrees(mesh: Mesh) -> dict[str, int]:
    return {axis: getattr(mesh, axis) for axis in mesh.order}


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is at most `most`."""
    return max(d for d in range(1, number + 1) if number % d == 0 and d <= most)


Sizes = tuple[ModelConfig, Mesh, int]


def _sizes(model: ModelConfig, sequence: int, mesh: Mesh) -> Iterator[Sizes]:
    """Yield sizes to try: the model's own, then smaller and smaller ones."""
    yield model, mesh, sequence
    for width in WIDTHS:
        if width < model.hidden or width == WIDTHS[-1]:
            yield from _narrower(model, sequence, mesh, width)


def _narrower(model: ModelConfig, sequence: int, mesh: Mesh, width: int) -> Iterator[Sizes]:
    """Yield a model of about a width, with more and fewer layers and tokens."""
    unit = math.lcm(mesh.tp * mesh.cp * mesh.dp, 2)
    d = min(model.head_dim_or_even, 64)
    cut = math.lcm(mesh.tp, mesh.tp * mesh.cp if mesh.cp_comm == "a2a" else 1)
    share = model.heads // model.kv_heads_or_all
    share = share if share * cut * d <= width else 1
    groups = _multiple(width // (d * share), cut)
    heads = groups * share
    d = _multiple(max(d, 8), 2 * unit // math.gcd(2 * unit, heads))
    ratio = model.ffn_hidden / model.hidden
    small = model.model_copy(
        update={
            "hidden": _multiple(width, unit),
            "heads": heads,
            "kv_heads": groups,
            "head_dim": d,
            "ffn_hidden": _multiple(round(width * ratio), unit * mesh.tp),
            "vocab": _multiple(min(model.vocab, 8 * width), unit * mesh.tp),
            "moe": None if model.moe is None else _fewer(model.moe, model, width, mesh),
        }
    )
    experts = 1 if small.moe is None else small.moe.experts
    step = 2 * mesh.cp * mesh.tp * experts
    for layers in sorted({min(model.layers, n * mesh.pp) for n in (8, 4, 2, 1)}, reverse=True):
        if layers % mesh.pp:
            continue
        few = replace(mesh, layout=(layers // mesh.pp,) * mesh.pp)
        tokens = _multiple(min(sequence, 2 * width), step)
        for batch in sorted({min(few.micro_batch, 4), 1}, reverse=True):
            yield (
                small.model_copy(update={"layers": layers}),
                replace(few, micro_batch=batch),
                tokens,
            )


def _fewer(moe: MoE, model: ModelConfig, width: int, mesh: Mesh) -> MoE:
    """Shrink experts: fewer, as wide beside the model as they are, as many of them at once."""
    experts = _multiple(min(moe.experts, max(8, 2 * mesh.ep)), mesh.ep)
    shards = mesh.tp * mesh.cp * mesh.dp
    return moe.model_copy(
        update={
            "experts": experts,
            "top_k": min(moe.top_k, max(1, experts // 2)),
            "ffn_hidden": _multiple(
                round(width * moe.ffn_hidden / model.hidden), shards * mesh.etp
            ),
            "shared_experts": 0 if moe.shared_ffn_hidden else min(moe.shared_experts, 1),
            "shared_ffn_hidden": None
            if moe.shared_ffn_hidden is None
            else _multiple(round(width * moe.shared_ffn_hidden / model.hidden), shards * mesh.tp),
        }
    )


def _multiple(size: int, of: int) -> int:
    """Return the multiple of `of` that is nearest below a size, at least one."""
    return max(1, size // of) * of


def _job(
    view: PlanView, model: ModelConfig, mesh: Mesh, sequence: int, system: str
) -> dict[str, object]:
    """Write the job, its strategy pinned."""
    layout = (model.layers // mesh.pp,) * mesh.pp
    return {
        "name": view.job.name,
        "workload": {
            "kind": "training",
            "model": model.model_dump(mode="json", exclude_none=True),
            "sequence_length": sequence,
            "global_batch": mesh.dp * mesh.micro_batch * mesh.microbatches,
            "precision": "fp32",
            "optimizer": "adam",
        },
        "hardware": {"system": system, "devices": mesh.devices},
        "software": {"preset": "jax-explicit"},
        "strategy": {
            "tp": mesh.tp, "sp": mesh.sp, "cp": mesh.cp, "pp": mesh.pp, "vpp": 1, "dp": mesh.dp,
            "ep": mesh.ep, "etp": mesh.etp, "zero": mesh.zero, "zero_group": mesh.zero_group,
            "micro_batch": mesh.micro_batch, "schedule": "gpipe", "cp_comm": mesh.cp_comm,
            "recompute": mesh.recompute, "offload": [], "layers_per_stage": list(layout),
            "mesh_order": list(mesh.order), "consistency": "synchronous",
        },
    }  # fmt: skip


def _within(
    model: ModelConfig, mesh: Mesh, sequence: int, memory_bytes: float, flop: float
) -> bool:
    """Tell whether a step stays within a budget, generously counted."""
    if model.layers % mesh.pp:
        return False
    tokens = mesh.dp * mesh.micro_batch * mesh.microbatches * sequence
    held = count(model).total * STATE_BYTES / (mesh.tp * mesh.pp) * mesh.devices
    held /= 1.0 if mesh.zero < 3 else mesh.zero_group
    kept = model.layers * model.hidden * LAYER_ELEMENTS + model.vocab * 3.0
    at_once = tokens if mesh.pp > 1 else tokens / mesh.microbatches
    spent = flop_per_token(model, sequence, causal=False) * tokens
    return held + kept * at_once * 4.0 <= memory_bytes and spent <= flop


def _buildable(job: Mapping[str, object]) -> bool:
    """Tell whether every dim divides."""
    try:
        layout_of(read({"job": job, "strategy": job["strategy"]}))
    except SpecError:
        return False
    return True


def _said(view: PlanView, model: ModelConfig, mesh: Mesh, sequence: int) -> list[str]:
    """Say the sizes that differ from the plan's."""
    before, workload = view.model, view.workload
    pairs = [
        (key, getattr(before, key), getattr(model, key))
        for key in ("layers", "hidden", "heads", "ffn_hidden", "vocab")
    ]
    pairs.append(("kv_heads", before.kv_heads_or_all, model.kv_heads_or_all))
    pairs.append(("head_dim", before.head_dim_or_even, model.head_dim_or_even))
    if before.moe is not None and model.moe is not None:
        keys = ("experts", "top_k", "ffn_hidden")
        pairs += [(f"moe {k}", getattr(before.moe, k), getattr(model.moe, k)) for k in keys]
    batch = mesh.dp * mesh.micro_batch * mesh.microbatches
    pairs += [
        ("sequence_length", workload.sequence_length, sequence),
        ("micro_batch", view.mesh.micro_batch, mesh.micro_batch),
        ("global_batch", workload.global_batch, batch),
    ]
    return [f"{key} {old}: {new}" for key, old, new in pairs if old != new]
