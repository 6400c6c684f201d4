"""What ranks exchange: bytes and seconds by mesh axis.

Inside a block: tensor-parallel gathers and scatters, context-parallel keys and values, experts'
tokens. Between stages: activations. Once a step or once a microbatch: gradients and parameters.
Which links carry an axis follows from the cluster and the order of the mesh axes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from costmodels import collectives
from costmodels.hops import Span
from costmodels.occupancy import distinct_share
from costmodels.units import Num
from planner.dims import CP_COMM, ParallelDims
from planner.graph import Block, Op
from planner.workloads.training.context import Context
from planner.workloads.training.groups import segments

__all__ = [
    "Traffic",
    "Spans",
    "axis_span",
    "expert_traffic",
    "inside_block_s",
    "pool_boundary_s",
    "row_outputs",
    "stage_boundary_s",
    "tensor_calls",
    "tensor_message_bytes",
    "tensor_traffic",
]

P2P, ALL_GATHER, A2A, A2A_P2P = range(len(CP_COMM))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one rank sends on an axis, and the seconds that they take alone."""

    sent_bytes: Num
    seconds: Num


def axis_span(context: Context, dims: ParallelDims, axis: str) -> Span:
    """Hops of the network that a group of an axis crosses."""
    return context.cluster.span(*segments(dims, axis))


class Spans:
    """Hops that the groups of some plans cross, by axis, found once however many blocks ask."""

    def __init__(self, context: Context, dims: ParallelDims) -> None:
        self._context, self._dims = context, dims
        self._found: dict[str, Span] = {}

    def __getitem__(self, axis: str) -> Span:
        """Return `axis_span` of an axis."""
        if axis not in self._found:
            self._found[axis] = axis_span(self._context, self._dims, axis)
        return self._found[axis]


def inside_block_s(
    context: Context, block: Block, dims: ParallelDims, spans: Spans | None = None
) -> dict[str, dict[str, Num]]:
    """Seconds of communication inside one block for one microbatch, alone, by phase and axis.

    `spans`: those of the plans, where several blocks share them.
    """
    traffic = _by_phase(context, block, dims, spans or Spans(context, dims))
    return {phase: {axis: t.seconds for axis, t in each.items()} for phase, each in traffic.items()}


def inside_block(
    context: Context, block: Block, dims: ParallelDims, phase: str
) -> dict[str, Traffic]:
    """Traffic inside one block for one microbatch, by axis: tp, cp, ep."""
    return _by_phase(context, block, dims, Spans(context, dims))[phase]


def _by_phase(
    context: Context, block: Block, dims: ParallelDims, spans: Spans
) -> dict[str, dict[str, Traffic]]:
    """Price both phases; what tensor and expert ranks exchange is the same in both."""
    zero = np.zeros_like(dims.tp)
    nothing = dict.fromkeys(("tp", "cp", "ep"), Traffic(zero, zero))
    tensor = tensor_traffic(context, block, dims, spans)
    expert = expert_traffic(context, block, dims, spans)
    return {
        phase: {"tp": tensor, "cp": _context(context, block, dims, phase, spans), "ep": expert}
        if block.phase(phase)
        else nothing  # frozen, and nothing before it learns
        for phase in ("forward", "backward")
    }


def _local_tokens(context: Context, dims: ParallelDims) -> Num:
    return dims.micro_batch * context.tokens / dims.cp


def tensor_traffic(context: Context, block: Block, dims: ParallelDims, spans: Spans) -> Traffic:
    """Tensor parallelism: a gather and a scatter around each pair of split products.

    With sequence parallelism an all-gather before and a reduce-scatter after, else an all-reduce
    after; the backward pass mirrors them. Source: Korthikanti et al. 2022, section 4.2.
    """
    span = spans["tp"]
    message = tensor_message_bytes(context, block, dims)
    algorithm = context.algorithm("tp")
    gather = collectives.all_gather_s(message, span)
    reduce = collectives.all_reduce_s(message, span, algorithm)
    scatter = collectives.reduce_scatter_s(message, span)
    pair = np.where(dims.sp > 0, gather + scatter, reduce)
    count = _pairs(block)
    ring = (dims.tp - 1.0) / dims.tp
    return Traffic(count * 2.0 * ring * message, count * pair)


def tensor_calls(block: Block, dims: ParallelDims) -> Num:
    """Count the collectives of tensor parallelism in one pass, each launched by the host.

    A gather and a scatter for every pair where sequence parallelism runs, else one all-reduce.
    """
    return _pairs(block) * np.where(dims.tp > 1, np.where(dims.sp > 0, 2.0, 1.0), 0.0)


def _pairs(block: Block) -> float:
    """Count the pairs of split products of a pass; an embedding and a head are half a pair each."""
    vocab = sum(1.0 for op in block.phase("forward") if op.split == "vocab" and op.output)
    embeds = 1.0 if block.name == "embedding" else 0.0
    return len(row_outputs(block.phase("forward"))) + 0.5 * vocab + 0.5 * embeds


def row_outputs(ops: Iterable[Op]) -> list[float]:
    """Elements per token that the products split by their inner dim leave as partial sums."""
    return [
        op.output
        for op in ops
        if op.kind == "matmul" and op.split and op.inner.name == op.split
        and not op.name.endswith("adapter down")
    ]  # fmt: skip


def tensor_message_bytes(context: Context, block: Block, dims: ParallelDims) -> Num:
    """Bytes that tensor-parallel ranks reduce, or gather, at a time in a block."""
    outputs = row_outputs(block.phase("forward"))
    width = outputs[0] if outputs else context.spec.model.hidden
    return _local_tokens(context, dims) * width * context.activation_bytes


def _context(
    context: Context, block: Block, dims: ParallelDims, phase: str, spans: Spans
) -> Traffic:
    """Context parallelism: keys and values round a ring, gathered, or heads for tokens.

    By kind of exchange:

        p2p         (cp - 1) sends of K and V; backward twice (K, V and their gradients)
        all-gather  K and V gathered; backward gathered again and reduce-scattered
        a2a         Q, K, V and the output exchanged, forward and backward
        a2a+p2p     a2a inside the node, a ring across
    """
    op = next((o for o in block.phase("forward") if o.kind == "attention"), None)
    zero = np.zeros_like(dims.tp)
    if op is None or op.on_patches or not np.any(dims.cp > 1):
        return Traffic(zero, zero)
    queries = op.output
    keys_values = op.saved - _query_width(context)
    tokens = _local_tokens(context, dims)
    kv_bytes = tokens * keys_values / dims.tp * context.activation_bytes
    all_bytes = tokens * (op.saved + queries) / dims.tp * context.activation_bytes
    ((degree, stride),) = segments(dims, "cp")
    turns = 1.0 if phase == "forward" else 2.0
    ring_s, ring_bytes = _ring(context, kv_bytes, degree, stride, turns)
    span = spans["cp"]
    gather_s = turns * collectives.all_gather_s(kv_bytes * degree, span)
    a2a_s = collectives.all_to_all_s(all_bytes, span)
    inner = np.clip(context.cluster.node_devices / stride, 1.0, degree)
    inner_s = collectives.all_to_all_s(all_bytes, context.cluster.span((inner, stride)))
    outer_s, outer_bytes = _ring(context, kv_bytes, degree / inner, stride * inner, turns)
    swap = (degree - 1.0) / degree * all_bytes
    kind = dims.cp_comm
    seconds = np.where(kind == P2P, ring_s, gather_s)
    seconds = np.where(kind == A2A, a2a_s, seconds)
    seconds = np.where(kind == A2A_P2P, inner_s + outer_s, seconds)
    sent = np.where(kind == P2P, ring_bytes, turns * (degree - 1.0) * kv_bytes)
    sent = np.where(kind == A2A, swap, sent)
    sent = np.where(kind == A2A_P2P, (inner - 1.0) / inner * all_bytes + outer_bytes, sent)
    return Traffic(np.where(degree > 1, sent, 0.0), np.where(degree > 1, seconds, 0.0))


def _query_width(context: Context) -> float:
    model = context.spec.model
    a = model.attention
    if a.kind == "mla":
        return float(model.heads * ((a.qk_nope_head_dim or 0) + (a.qk_rope_head_dim or 0)))
    return float(model.heads * model.head_dim_or_even)


def _ring(
    context: Context, message: Num, degree: Num, stride: Num, turns: float
) -> tuple[Num, Num]:
    alpha_s, bytes_per_s = context.cluster.neighbour((degree, stride))
    hops = turns * np.maximum(0.0, degree - 1.0)
    return hops * collectives.point_to_point_s(message, alpha_s, bytes_per_s), hops * message


def expert_traffic(context: Context, block: Block, dims: ParallelDims, spans: Spans) -> Traffic:
    """Expert parallelism: tokens to their experts and back, and over the expert-tensor ranks."""
    moe = context.spec.model.moe
    trips = sum(1.0 for op in block.phase("forward") if op.kind == "dispatch")
    if moe is None or not trips:
        zero = np.zeros_like(dims.tp)
        return Traffic(zero, zero)
    tokens = _local_tokens(context, dims) / dims.tp
    message = tokens * moe.top_k * context.spec.model.hidden * context.activation_bytes
    load = 1.0 if not moe.dropless else context.imbalance
    a2a_s = load * collectives.all_to_all_s(
        message, spans["ep"], float(moe.top_k), once_a_rank=float(context.switches.fused_dispatch)
    )
    gathered = message * dims.etp
    etp_s = collectives.all_gather_s(gathered, spans["etp"])
    once = distinct_share(dims.ep, moe.top_k) if context.switches.fused_dispatch else 1.0
    sent = once * (dims.ep - 1.0) / dims.ep * message + (dims.etp - 1.0) * message
    return Traffic(trips * sent, trips * (a2a_s + etp_s))


def stage_boundary_s(context: Context, dims: ParallelDims) -> Traffic:
    """One send of a microbatch's activations to the next stage, gathered there where scattered."""
    message = _boundary_bytes(context, dims)
    ((degree, stride),) = segments(dims, "pp")
    alpha_s, bytes_per_s = context.cluster.neighbour((degree, stride))
    send_s = collectives.point_to_point_s(message, alpha_s, bytes_per_s)
    if context.stack.scatters_boundaries:
        whole = np.where(dims.sp > 0, 0.0, message * dims.tp)
        gather_s = collectives.all_gather_s(whole, axis_span(context, dims, "tp"))
        send_s = send_s + np.where(dims.sp > 0, 0.0, gather_s)
    many = dims.pp > 1
    return Traffic(np.where(many, message, 0.0), np.where(many, send_s, 0.0))


def pool_boundary_s(context: Context, dims: ParallelDims) -> Num:
    """Seconds of one send of a microbatch's activations to a stage on another pool.

    Stages on both sides cut the activations by their own tensor degree; the send is priced as
    this one's ranks make it, all at once, at the rate of the narrowest device out of its pool.
    """
    beside = context.beside
    assert beside is not None
    message = _boundary_bytes(context, dims)
    return collectives.point_to_point_s(message, beside.latency_s, beside.device_bytes_per_s)


def _boundary_bytes(context: Context, dims: ParallelDims) -> Num:
    """Bytes of a microbatch's activations that one rank of a stage sends."""
    tokens = _local_tokens(context, dims)
    scattered = (dims.sp > 0) | context.stack.scatters_boundaries
    split = np.where(scattered, dims.tp, 1.0)
    return tokens * context.spec.model.hidden * context.activation_bytes / split
