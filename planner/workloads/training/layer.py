"""Time of one block for one microbatch on one rank: forward, backward, modules run again.

Every op of the block's graph is priced by its kind: products and attention by their roofline,
normalisation and its kin by memory traffic. Communication inside the block (tensor, context and
expert parallelism) is priced beside it, exposed and hidden. What the host needs to launch the
ops joins the device's time. Reads a `Context` and columns of `ParallelDims`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodels import products, roofline
from costmodels.overlap import exposed_s, hidden_s
from costmodels.units import Num
from planner.dims import ParallelDims
from planner.graph import Block, Dim, Op
from planner.workloads.training import exchange, experts
from planner.workloads.training.context import Context
from planner.workloads.training.modules import exchanged, run_again
from planner.workloads.training.passes import CATEGORIES, BlockTime, Pass
from planner.workloads.training.scores import softmax_launches, unfused_attention_s
from planner.workloads.training.units import unit_launches

__all__ = ["OperatorTimes", "Rows", "block_time"]

UNFUSED_TRAFFIC = 2.2
"""Traffic of memory-bound work without fused kernels over with them (assumed)."""
FUSED_LOSS_TRAFFIC, UNFUSED_LOSS_TRAFFIC = 0.5, 1.4
"""Of 20 bytes a logit in both passes: 10 where one kernel reads 16-bit logits, twice forward and
once backward, and writes their gradient; 28 where fp32 copies are made of logits, softmax and
gradients (assumed from the operations)."""
_LOSS = ("/loss", "/loss.backward")
UNFUSED_LOSS_LAUNCHES = 3.0
"""Launches of the loss over those of a fused one: some 18 in each pass (counted in Megatron-LM's
vocabulary-parallel cross-entropy: maximum, mask, exponent, sums, each with copies)."""
UNFUSED_LAUNCHES = 4.0
"""Launches of memory-bound work without fused kernels over with them (assumed)."""
UNFUSED_ATTENTION_LAUNCHES = 5.0
"""Launches of attention that is not fused over those that is: two products, softmax, dropout and a
copy (counted in Megatron-LM's core attention), as many for each of two backward."""

Exchanges = Callable[[Context, Block, ParallelDims], Mapping[str, Mapping[str, Num]]]
"""Seconds of communication inside a block, alone, by phase and axis."""


class OperatorTimes:
    """Category and seconds of the ops of some plans, found once however many blocks hold one."""

    def __init__(self, context: Context, dims: ParallelDims) -> None:
        self._context, self._dims = context, dims
        self._rows = Rows.of(context, dims)
        self._found: dict[str, tuple[str, Num]] = {}

    def __getitem__(self, op: Op) -> tuple[str, Num]:
        """Return category and seconds of an op for one microbatch on one rank."""
        first = self._context.graph.alike[op.name]
        if first.name not in self._found:
            self._found[first.name] = _op_s(self._context, first, self._rows, self._dims)
        return self._found[first.name]


def block_time(
    context: Context,
    block: Block,
    dims: ParallelDims,
    exchanges: Exchanges = exchange.inside_block_s,
    times: OperatorTimes | None = None,
    modules: Sequence[int] = (),
) -> BlockTime:
    """Price one copy of `block` for one microbatch (see the module).

    Parameters
    ----------
    times   : those of the ops of the plans, where several blocks share them
    modules : sets of modules, by code, whose time run again is wanted too
    """
    alone = exchanges(context, block, dims)
    times = times or OperatorTimes(context, dims)
    calls = exchange.tensor_calls(block, dims)
    ops, back = block.phase("forward"), block.phase("backward")
    on, home = (calls + unit_launches(context, block, dims, p) for p in ("forward", "backward"))
    forward, _ = _pass(context, ops, dims, alone["forward"], on, times)
    backward, weight_s = _pass(context, back, dims, alone["backward"], home, times)
    again: dict[int, Pass] = {}
    for code in modules if block.recomputed else ():
        share = {axis: exchanged(block, code, axis) for axis in alone["forward"]}
        comm = {axis: share[axis] * seconds for axis, seconds in alone["forward"].items()}
        ops = run_again(block, code)
        again[code], _ = _pass(context, ops, dims, comm, share["tp"] * calls, times)
    return BlockTime(forward, backward, weight_s, again)


def _pass(
    context: Context,
    ops: Sequence[Op],
    dims: ParallelDims,
    comm: Mapping[str, Num],
    calls: Num,
    seconds_of: OperatorTimes,
) -> tuple[Pass, Num]:
    """Price operators that run one after the other; `calls`: launches of collectives."""
    times: dict[str, Num] = dict.fromkeys(CATEGORIES, 0.0)
    launches: Num = 0.0
    weight_s: Num = 0.0
    for op in ops:
        launches = launches + op.launches * _launch_factor(context, op, dims)
        launches = launches + experts.loops(context, op, dims)
        if op.kind == "dispatch":
            continue
        category, seconds = seconds_of[op]
        times[category] = times[category] + seconds
        if op.weight_gradient:
            weight_s = weight_s + seconds
    device_s = times["matmul"] + times["experts"] + times["attention"] + times["memory"]
    hidden: dict[str, Num] = dict.fromkeys(CATEGORIES, 0.0)
    left_s = device_s  # what hides under compute, hides once
    for axis in ("cp", "tp", "ep"):
        under_s = np.minimum(left_s, times["attention"]) if axis == "cp" else left_s
        overlap = context.overlap_frac(axis)
        times[axis] = exposed_s(comm[axis], under_s, overlap)
        hidden[axis] = hidden_s(comm[axis], under_s, overlap)
        left_s = left_s - hidden[axis]
    busy_s = device_s + times["tp"] + times["ep"] + times["cp"]
    if ops:
        launches = launches + calls
    host_s = launches * (0.0 if context.switches.cuda_graphs else _launch_s(context, dims))
    power = context.stack.family.launch_power.value
    times["launch"] = roofline.smooth_max(busy_s, host_s, power) - busy_s
    return Pass(times, hidden), weight_s


def _launch_s(context: Context, dims: ParallelDims) -> Num:
    """Host time of one launch; slower where more ranks of a node launch the same work."""
    family = context.stack.family
    figure = family.launch_s_compiled if context.switches.compile else family.launch_s
    return figure.value * (1.0 + family.launch_tp_growth.value * np.log2(dims.tp))


def _fused(context: Context) -> bool:
    return context.switches.fused_kernels or context.switches.compile


def _fused_loss(context: Context) -> bool:
    return context.switches.fused_loss or context.switches.compile


def _launch_factor(context: Context, op: Op, dims: ParallelDims) -> Num:
    if op.name.endswith(_LOSS):
        return 1.0 if _fused_loss(context) else UNFUSED_LOSS_LAUNCHES
    if op.kind == "memory" and not _fused(context):
        return UNFUSED_LAUNCHES
    if op.kind == "attention" and not context.switches.flash_attention:
        return UNFUSED_ATTENTION_LAUNCHES + softmax_launches(context, op, dims) / op.launches
    return 1.0


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens of one microbatch that one rank sees, by where an op stands.

    Parameters
    ----------
    whole    : micro_batch * sequence / cp, for what tensor parallelism splits by heads or widths
    sequence : over tp as well where sequence parallelism runs, for what it splits by tokens
    expert   : each tensor rank's share, times etp: expert-tensor ranks see each other's tokens
    """

    whole: Num
    sequence: Num
    expert: Num

    @classmethod
    def of(cls, context: Context, dims: ParallelDims) -> "Rows":
        """Count them."""
        tokens = dims.micro_batch * context.tokens / dims.cp
        split = np.where(dims.sp > 0, dims.tp, 1.0)
        return cls(tokens, tokens / split, tokens / dims.tp * dims.etp)

    def at(self, op: Op) -> Num:
        """Return the rows that an op sees."""
        if op.kind == "grouped" or op.split == "expert ffn":
            return self.expert
        return self.sequence if op.split in ("", "sequence") else self.whole


def _size(dim: Dim, op: Op, rows: Num, dims: ParallelDims) -> Num:
    size: Num = dim.size * rows if dim.per_token else dim.size
    if dim.name == op.split and op.split:
        size = op.part(size, dims.etp if op.split.startswith("expert") else dims.tp)
    return size


def _op_s(context: Context, op: Op, tokens: Rows, dims: ParallelDims) -> tuple[str, Num]:
    rows = tokens.at(op)
    if op.kind == "matmul":
        return "matmul", _matmul_s(context, op, rows, dims)
    if op.kind == "grouped":
        return "experts", _grouped_s(context, op, rows, dims)
    if op.kind == "attention":
        return "attention", _attention_s(context, op, dims)
    width = dims.etp if op.split == "expert ffn" else dims.tp
    inner = np.where(op.split == "sequence", 1.0, width)
    moved = experts.passes(context, op, dims)
    traffic = op.part(moved * rows, inner) * context.activation_bytes
    traffic = traffic * _traffic_factor(context, op)
    rates = context.rates
    fixed_s = rates.memory_fixed_s * op.launches
    return "memory", roofline.memory_bound_s(traffic, rates.memory_bytes_per_s, fixed_s)


def _traffic_factor(context: Context, op: Op) -> float:
    """Traffic over that of 16-bit values that each fused kernel reads and writes once."""
    if op.name.endswith(_LOSS):
        return FUSED_LOSS_TRAFFIC if _fused_loss(context) else UNFUSED_LOSS_TRAFFIC
    return 1.0 if _fused(context) else UNFUSED_TRAFFIC


def _low_precision(op: Op) -> bool:
    """Layer products run at the job's precision; logits, router and adapters in 16 bits."""
    return not any(part in op.name for part in ("logits", "router", "adapter"))


def _matmul_s(context: Context, op: Op, rows: Num, dims: ParallelDims) -> Num:
    low = _low_precision(op)
    product = context.product(low_precision=low)
    if op.weight_gradient:  # both of its operands were cast for the other products
        product = replace(product, cast_bytes=0.0)
    element = context.product_bytes if low else context.activation_bytes
    m, n, k = (_size(d, op, rows, dims) for d in (op.rows, op.cols, op.inner))
    seconds = products.matmul_s(m, n, k, product, element, context.activation_bytes)
    one, two = (_size(d, op, rows, dims) for d in (op.rows, op.cols, op.inner) if not d.per_token)
    return seconds + _unpack_s(context, op, one * two) if low else seconds


def _grouped_s(context: Context, op: Op, rows: Num, dims: ParallelDims) -> Num:
    one, two = (_size(d, op, rows, dims) for d in (op.rows, op.cols, op.inner) if not d.per_token)
    moe = context.spec.model.moe
    assert moe is not None
    unpacked_s = _unpack_s(context, op, moe.experts / dims.ep * one * two)
    return experts.grouped_s(context, op, rows, one, two, dims) + unpacked_s


def _unpack_s(context: Context, op: Op, weights: Num) -> Num:
    """Time to write frozen weights out in the bytes that a product reads, kept in fewer (QLoRA).

        t = weights * (bytes kept + bytes read) / bandwidth of elementwise kernels

    for every product, since nothing unpacked is kept. Source: Dettmers et al., arXiv:2305.14314,
    section 3; the rate is assumed.
    """
    kept, read = context.frozen_bytes, context.product_bytes
    if op.trainable or context.spec.adapters is None or kept >= read:
        return 0.0
    return weights * (kept + read) / context.rates.memory_bytes_per_s


def _attention_s(context: Context, op: Op, dims: ParallelDims) -> Num:
    rates = context.rates
    tokens = op.part(dims.micro_batch * context.tokens / dims.cp, dims.tp)
    traffic = op.traffic * tokens * context.activation_bytes
    flop = op.flop * tokens
    if context.switches.flash_attention:
        reached = rates.attention_forward if op.phase == "forward" else rates.attention_backward
        steps = 1.0 if op.on_patches else np.where(dims.cp > 1, dims.cp, 1.0)
        return reached.seconds(flop, traffic, op.row_flop, op.head_dim, steps)
    return unfused_attention_s(context, op, dims)
