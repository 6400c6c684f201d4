"""Degrees of a mesh: what each axis may be, and which combinations can be built.

Knows the model and the cluster, nothing of batches, schedules or states.

Parts: `choose_degrees`, `choose_experts`, `divisors`, `powers`, `whole`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.dims import CODES
from planner.job import Job
from planner.table import Table
from planner.workloads.training.context import Context
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.wants import Wants

__all__ = ["choose_degrees", "choose_experts", "divisors", "powers", "whole"]

MAX_TENSOR = 64.0
SHORT_SEQUENCE = 8192
"""The longest sequence that one rank keeps on a coarse grid."""
TOKENS_PER_CHUNK, FEW_TOKENS = 512.0, 64.0
"""Least tokens of a context-parallel chunk worth a kernel (each rank holds two), and the least for
ranks that the batch cannot feed otherwise."""


def powers(limit: float) -> list[float]:
    """List the powers of two up to a limit."""
    return [2.0**i for i in range(int(math.log2(max(1.0, limit))) + 1)]


def divisors(number: int, limit: int) -> list[float]:
    """List the divisors of a number up to a limit."""
    return [float(d) for d in range(1, min(number, limit) + 1) if number % d == 0]


def whole(value: Column) -> NDArray[np.bool_]:
    """Tell which values are whole numbers."""
    return np.asarray(value == np.floor(value))


def choose_degrees(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    """Cross tensor, context and pipeline degrees; what is left is data-parallel."""
    model, spec = context.spec.model, context.spec
    devices = context.cluster.devices
    node = float(min(context.cluster.node_devices, MAX_TENSOR))
    table.cross("tp", wants.values("tp", powers(min(node, model.heads))))
    table.require("tp divides heads", whole(model.heads / table["tp"]))
    table.require("tp divides the MLP's width", whole(_narrowest(context) / table["tp"]))
    if wants.free("tp"):
        groups = model.kv_heads_or_all
        mla = model.attention.kind == "mla"
        table.require("tp divides key-value heads", mla | whole(groups / table["tp"]))
    table.cross("cp", wants.values("cp", powers(min(_most_context(context, wants), devices))))
    table.require(
        "2 cp divides the sequence",
        (table["cp"] == 1) | whole(spec.sequence_length / (2.0 * table["cp"])),
    )
    limit = model.layers
    table.cross("pp", wants.values("pp", divisors(devices, limit)))
    table.require("pp at most the layers", table["pp"] <= model.layers)
    if not context.stack.supports.pipeline and wants.free("pp"):
        table.require("the stack has no pipelines", table["pp"] == 1)
    table.derive("dp", devices / (table["tp"] * table["cp"] * table["pp"]))
    table.require("tp cp pp divides devices", whole(table["dp"]))
    if not wants.free("dp"):
        table.require("dp as pinned", np.isin(table["dp"], wants.values("dp", ())))
    _sequence(table, context, wants)
    _context_exchange(table, context, wants)


def _most_context(context: Context, wants: Wants) -> float:
    """Context-parallel ranks worth trying: chunks of some length, or what dp leaves without work.

    Of p devices, no more than gcd(p, global batch) can be replicas.
    """
    spec, devices = context.spec, context.cluster.devices
    chunks = spec.sequence_length / TOKENS_PER_CHUNK / 2.0
    if wants.coarse and spec.sequence_length <= SHORT_SEQUENCE:
        chunks = 1.0
    unfed = devices // math.gcd(devices, spec.global_batch)
    return max(1.0, chunks, min(spec.sequence_length / FEW_TOKENS / 2.0, unfed))


def _narrowest(context: Context) -> float:
    model = context.spec.model
    if model.moe is None:
        return float(model.ffn_hidden)
    return float(model.ffn_hidden) if model.moe.first_dense_layers else 0.0


def _sequence(table: Table, context: Context, wants: Wants) -> None:
    """Shard the sequence over tp too where its tokens divide by tp and cp; else tp goes alone."""
    if wants.values("sp", [0.0]) == [1.0] and wants.free("tp"):
        table.require("sp is over tp above 1", table["tp"] > 1)
    policy = context.stack.supports.sequence_parallel
    several = table["tp"] > 1
    shards = several & whole(context.spec.sequence_length / (table["tp"] * table["cp"]))
    options = [(0.0, ~several)]
    if not wants.free("sp"):
        for value in wants.values("sp", ()):
            options.append((value, shards if value else several))
    elif policy == "free":
        options += [(0.0, several), (1.0, shards)]
    else:
        always = policy == "always"
        options += [(1.0, shards & always), (0.0, several & ~(shards & always))]
    table.choose("sp", options)


def _context_exchange(table: Table, context: Context, wants: Wants) -> None:
    model = context.spec.model
    codes = wants.codes("cp_comm", context.stack.supports.cp_comm)
    heads = model.heads if model.attention.kind == "mla" else model.kv_heads_or_all
    if codes == [float(CODES["cp_comm"].index("a2a"))]:
        shared = whole(heads / (table["tp"] * table["cp"]))
        table.require("tp cp divides key-value heads, for a2a", shared | (table["cp"] == 1))
    several = table["cp"] > 1
    options = [(codes[0], ~several)]
    for code in codes:
        allowed = several
        if CODES["cp_comm"][int(code)] == "a2a":
            allowed = several & whole(heads / (table["tp"] * table["cp"]))
        if CODES["cp_comm"][int(code)] == "a2a+p2p" and wants.free("cp_comm"):
            inside = context.cluster.node_devices / table["tp"]
            allowed = several & (table["cp"] > inside) & (inside > 1)
        options.append((code, allowed))
    table.choose("cp_comm", options)


def choose_experts(table: Table, job: Job[TrainingSpec], context: Context, wants: Wants) -> None:
    """Cross expert degrees with those of a mesh."""
    moe = context.spec.model.moe
    if moe is None:
        table.require(
            "ep, etp need experts",
            np.array(wants.values("ep", [1.0]) == [1.0] and wants.values("etp", [1.0]) == [1.0]),
        )
        table.derive("ep", 1.0)
        table.derive("etp", 1.0)
        return
    table.cross("ep", wants.values("ep", divisors(moe.experts, moe.experts)))
    table.require("ep divides the experts", whole(moe.experts / table["ep"]))
    pinned = not wants.free("etp")
    if pinned:
        table.cross("etp", wants.values("etp", ()))
    else:
        split = (table["tp"] > 1) & (not wants.coarse)
        table.choose("etp", [(1.0, table["tp"] > 0), (table["tp"], split)])
    ranks = table["tp"] * table["cp"] * table["dp"] / table["sites"]
    table.require("ep etp divides a stage's ranks", whole(ranks / (table["ep"] * table["etp"])))
    table.require("etp divides the experts' width", whole(moe.ffn_hidden / table["etp"]))
    if wants.free("ep") and not pinned:
        table.require(
            "experts split before they are copied",
            (table["etp"] == 1) | (table["ep"] * table["etp"] <= moe.experts * table["tp"]),
        )
