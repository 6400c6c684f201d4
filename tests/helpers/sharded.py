"""Sharding problems of small transformers, and Megatron's way to shard them picked by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rows import GPT, context_of, job_of

from planner.operator_graph import Operator
from planner.sharding.mesh import mesh_of
from planner.sharding.price import figures_of
from planner.sharding.problem import ShardingProblem, build
from planner.sharding.transformer import operator_graph
from planner.workloads import training

__all__ = ["DENSE", "MOE", "labels", "of_region", "settled", "sharding_problem", "template"]

DENSE: Mapping[str, Any] = {**GPT, "position": "rope", "kv_heads": 8, "gated_mlp": True}
MOE: Mapping[str, Any] = {
    **DENSE, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024, "shared_experts": 1,
                     "first_dense_layers": 1},
}  # fmt: skip
QUIET = {"overlap_tp": False, "overlap_ep": False, "overlap_grad_reduce": False}


def sharding_problem(
    degrees: Mapping[str, int],
    sequences: int,
    *,
    limit_bytes: float | None = None,
    passes: int = 1,
    **job: Any,
) -> tuple[training.Context, ShardingProblem]:
    """Build the problem of a job on as many devices as the mesh has, nothing overlapped."""
    devices = int(np.prod(list(degrees.values())))
    context = context_of(job_of(**{"devices": devices, "software": QUIET, "model": DENSE, **job}))
    made = build(
        operator_graph(context, sequences),
        mesh_of(context.cluster, degrees),
        figures_of(context),
        memory_limit_bytes=limit_bytes,
        passes=passes,
    )
    return context, made


def labels(made: ShardingProblem, picks: Sequence[int], operator: str) -> dict[str, str]:
    """Return the label that each axis splits of an operator."""
    index = made.index("operator", operator)
    words = made.nodes[index].options[picks[index]].partition(";")[0]
    return dict(word.split(":") for word in words.split() if word != "none")


def template(made: ShardingProblem, *, sp: bool, ep: bool = False) -> tuple[int, ...]:
    """Megatron's sharding: tp splits heads, widths and words, dp sequences; the rest settled."""
    fixed = {}
    for op in made.graph.operators:
        split = _template_labels(op, sp, ep)
        words = " ".join(f"{a.name}:{split[a.name]}" for a in made.mesh if a.name in split)
        node = made.nodes[made.index("operator", op.name)]
        pieces = f"{words}; kept in pieces"
        fixed[op.name] = pieces if sp and pieces in node.options else words
    return settled(made, fixed)


def _template_labels(op: Operator, sp: bool, ep: bool) -> dict[str, str]:
    part = op.name.rpartition("/")[2]
    tokens = "t" if op.kind == "exchange" or {"e", "t"} <= set(op.sizes) else "s"
    split = {"tp": tokens} if sp and part != "mean" else {}
    if part not in ("router", "permute", "unpermute"):
        for wide in {"n", "f", "fs", "v"} & set(op.sizes):
            split["tp"] = wide
    split["dp"] = "b"
    if ep and op.kind != "exchange" and {"e", "t"} <= set(op.sizes):
        split = {"tp": "e", "dp": "e"}
    return split


def settled(made: ShardingProblem, operators: Mapping[str, str]) -> tuple[int, ...]:
    """Pick the operators as told; weights and shared tensors by descent from their first option."""
    picks = [
        node.options.index(operators[node.name]) if node.kind == "operator" else 0
        for node in made.nodes
    ]
    for _ in range(3):
        for i, node in enumerate(made.nodes):
            if node.kind != "operator":
                picks[i] = int(np.argmin(_conditional(made, i, picks)))
    return tuple(picks)


def _conditional(made: ShardingProblem, index: int, picks: Sequence[int]) -> np.ndarray:
    total = made.problem.decisions[index].time_s
    for c in made.problem.couplings:
        shape = tuple(len(made.nodes[i].options) for i in (c.first, c.second))
        table = np.broadcast_to(c.cost.total_s, shape)
        if c.first == index:
            total = total + table[:, picks[c.second]]
        if c.second == index:
            total = total + table[picks[c.first], :]
    return total


def of_region(made: ShardingProblem, picks: Sequence[int], region: str) -> dict[str, float]:
    """Sum seconds and bytes, by name, of one copy of a region's decisions."""
    found: dict[str, float] = {}
    for node, decision, pick in zip(made.nodes, made.problem.decisions, picks, strict=True):
        if node.region == region:
            one = decision.cost.at(pick)
            for name, amount in [
                *((t.name, t.time_s) for t in one.terms), *((m.name, m.bytes) for m in one.memory)
            ]:  # fmt: skip
                found[name] = found.get(name, 0.0) + float(amount) / node.repeats
    return found
