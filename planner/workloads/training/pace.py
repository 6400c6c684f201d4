"""The pace of the pipeline: what one microbatch takes on the slowest stage, and what the rest adds.

Blocks are priced once per distinct mesh and dealt to stages; the slowest stage sets the pace, and
the time that it waits for the others to fill and drain is the bubble. Knows nothing of how
states are sharded: that is priced once a step, in `sharing` and `cost`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Term
from costmodels.overlap import hidden_s
from costmodels.pipeline import bubble_s
from costmodels.roofline import smooth_max
from costmodels.units import Column, Num
from planner.dims import RECOMPUTE, ParallelDims
from planner.fold import Folding, fold
from planner.graph import Block
from planner.workloads.training import exchange, states
from planner.workloads.training.context import Context
from planner.workloads.training.layer import OperatorTimes, block_time
from planner.workloads.training.modules import sets_in
from planner.workloads.training.pass_terms import comm_terms, compute_terms, tower_term
from planner.workloads.training.passes import BlockTime, Pass, combine, recomputed
from planner.workloads.training.stages import Slots
from planner.workloads.training.stretch import crossings
from planner.workloads.training.units import by_units, copied_bytes

__all__ = [
    "BLOCK_COLUMNS",
    "STAGE_COLUMNS",
    "Pace",
    "StageSeconds",
    "fold_stages",
    "pace_of",
    "stage_seconds",
    "stage_totals_s",
]

BLOCK_COLUMNS = ("tp", "sp", "cp", "cp_comm", "pp", "dp", "ep", "etp", "micro_batch", "sites",
                 "order")  # fmt: skip
"""What decides a block's time, but for `sharding` where a stack shards by units."""
STAGE_COLUMNS = (*BLOCK_COLUMNS, "devices", "vpp", "schedule", "microbatches", "recompute",
                 "recompute_layers", "offload", "lean", "staging")  # fmt: skip
"""What decides the slots and the pace: all columns but how states are sharded."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Terms of all microbatches, and the compute that a step's communication can run beside.

    `forward_s`, `backward_s`: seconds of one microbatch on the slowest stage under which nothing
    hides yet; `layers` on it.
    """

    terms: tuple[Term, ...]
    forward_s: Num
    backward_s: Num
    layers: Num


@dataclass(frozen=True, slots=True)
class _Timed:
    """A block's time; the seconds that each recompute mode runs again, and those of compute."""

    time: BlockTime
    again_s: Column
    again_spare_s: Column


@dataclass(frozen=True, slots=True)
class _Placed:
    """A block on the stage slots: how often, its time, and what is run again of it.

    `share` of the copies is recomputed, 0 for what is no transformer layer.

    `part` is where it belongs: layers | tower | ends.
    """

    part: str
    count: Num
    share: Num
    time: BlockTime
    again_s: Num = 0.0
    again_spare_s: Num = 0.0


def pace_of(
    context: Context,
    dims: ParallelDims,
    slots: Slots,
    parameters: states.Parameters,
    elsewhere_s: Num = 0.0,
) -> Pace:
    """Price the microbatches of a step on the slowest stage, and the bubble.

    Parameters
    ----------
    elsewhere_s : seconds of one microbatch on stages that other pools hold
    """
    placed = _placed(context, dims, slots)
    each = _stage_seconds(context, dims, placed, slots, parameters)
    total = np.where(slots.multiplicity > 0, each.total, 0.0)
    critical = np.argmax(total, axis=0)[None, :]

    def at(values: Num) -> Column:
        spread = np.broadcast_to(np.asarray(values, np.float64), total.shape)
        return np.asarray(np.take_along_axis(spread, critical, axis=0)[0])

    m = dims.microbatches
    others = (total * slots.multiplicity).sum(axis=0) - at(total) + elsewhere_s
    idle_s = bubble_s(
        dims.schedule, dims.pp, dims.vpp, others, at(each.forward), at(each.backward),
        at(each.weight),
    )  # fmt: skip
    terms = _stage_terms(placed, m, at(slots.recompute), at)
    terms += [
        Term("gradient accumulation", "hbm", m * at(each.accumulate), "states; memory bandwidth"),
        Term(
            "stage boundary sends", "pp", m * at(each.sends),
            "collectives.point_to_point_s", m * at(each.sends_hidden),
        ),
        Term("pipeline bubble", "bubble", idle_s, "pipeline.bubble_s"),
    ]  # fmt: skip
    return Pace(
        tuple(terms), at(each.forward_spare), at(each.backward_spare),
        np.maximum(1.0, at(slots.layers)),
    )  # fmt: skip


def fold_stages(context: Context, dims: ParallelDims) -> Folding:
    """Fold plans that agree in what decides their slots and their pace."""
    return fold(dims, _columns(context, STAGE_COLUMNS))


def _columns(context: Context, names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, "sharding") if context.stack.sharded_units else names


def stage_totals_s(
    context: Context,
    dims: ParallelDims,
    slots: Slots,
    parameters: states.Parameters,
    *,
    late: bool = True,
) -> NDArray[np.float64]:
    """Seconds of one microbatch on every slot, times the stages that are like it.

    `late`: with sends that outlast the compute beside them.
    """
    each = stage_seconds(context, dims, slots, parameters)
    total = each.total if late else each.total - each.late
    return np.asarray(total * slots.multiplicity)


def _sends_s(context: Context, dims: ParallelDims, slots: Slots) -> Num:
    """Seconds of a microbatch's two sends between stages; between pools by the link there."""
    inside_s = exchange.stage_boundary_s(context, dims).seconds
    if context.stretch is None:
        return 2.0 * dims.vpp * inside_s
    leave = crossings(context, slots)
    return leave * exchange.pool_boundary_s(context, dims) + (2.0 - leave) * inside_s


def _block_times(context: Context, dims: ParallelDims, slots: Slots) -> dict[str, _Timed]:
    """Time of every block for one microbatch, priced on distinct rows; again_s for every slot."""
    folded = fold(dims, _columns(context, BLOCK_COLUMNS))
    sets = sets_in(slots.recompute)
    codes = [*range(len(RECOMPUTE)), *sets]
    chosen = slots.recompute.astype(int)
    where = (np.searchsorted(codes, chosen) if sets else chosen, folded.inverse[None])
    few = np.ones(len(folded.few))
    made: dict[str, _Timed] = {}
    exchanges = partial(exchange.inside_block_s, spans=exchange.Spans(context, folded.few))
    times = OperatorTimes(context, folded.few)
    for block in context.graph.blocks:
        time = block_time(context, block, folded.few, exchanges, times, sets)
        again = [recomputed(time, code) for code in codes]
        again_s = np.array([one.total_s * few for one in again])
        again_spare_s = np.array([one.spare_s * few for one in again])
        made[block.name] = _Timed(_spread(time, folded), again_s[where], again_spare_s[where])
    return made


def _spread(time: BlockTime, folded: Folding) -> BlockTime:
    def passes(p: Pass) -> Pass:
        return Pass(
            {c: folded.spread(v) for c, v in p.exposed.items()},
            {c: folded.spread(v) for c, v in p.hidden.items()},
        )

    return BlockTime(
        passes(time.forward), passes(time.backward), folded.spread(time.weight_s),
        {code: passes(again) for code, again in time.modules.items()},
    )  # fmt: skip


def _placed(context: Context, dims: ParallelDims, slots: Slots) -> list[_Placed]:
    """Deal the blocks to the slots: layers first, then what stands at the ends."""
    times = _block_times(context, dims, slots)
    layers = np.maximum(slots.layers, 1.0)
    share = np.minimum(slots.recompute_layers, layers) / layers

    def made(part: str, block: Block, count: Num) -> _Placed:
        timed = times[block.name]
        if not block.recomputed:
            return _Placed(part, count, 0.0, timed.time)
        return _Placed(part, count, share, timed.time, timed.again_s, timed.again_spare_s)

    kinds = enumerate(context.layer_blocks)
    placed = [made("layers", block, slots.counts[kind]) for kind, block in kinds]
    for block in context.graph.blocks:
        if not block.layers:
            part = "tower" if block.on_patches else "ends"
            placed.append(made(part, block, block.count * slots.end(block.at)))
    return placed


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Seconds of one microbatch on every slot; backward includes recomputation.

    `sends`: to the neighbours, exposed, `late` of them because they outlast the compute that they
    may run beside, and `sends_hidden`; `accumulate`: of gradients; `total`: how long the slot is
    busy.
    """

    forward: Num
    backward: Num
    weight: Num
    forward_spare: Num
    backward_spare: Num
    sends: Num
    late: Num
    sends_hidden: Num
    accumulate: Num

    @property
    def total(self) -> Column:
        """Seconds that a microbatch keeps a slot busy."""
        return np.asarray(self.forward + self.backward + self.sends + self.accumulate)


def stage_seconds(
    context: Context, dims: ParallelDims, slots: Slots, parameters: states.Parameters
) -> StageSeconds:
    """Price one microbatch on every stage slot."""
    return _stage_seconds(context, dims, _placed(context, dims, slots), slots, parameters)


def _stage_seconds(
    context: Context,
    dims: ParallelDims,
    placed: list[_Placed],
    slots: Slots,
    parameters: states.Parameters,
) -> StageSeconds:
    zero = np.zeros_like(slots.multiplicity)
    forward = backward = weight = forward_spare = backward_spare = zero
    for block in placed:
        count, share, time = block.count, block.share, block.time
        forward = forward + count * time.forward.total_s
        again = share * block.again_s
        backward = backward + count * (time.backward.total_s + again)
        weight = weight + count * time.weight_s
        forward_spare = forward_spare + count * time.forward.spare_s
        spare = time.backward.spare_s + share * block.again_spare_s
        backward_spare = backward_spare + count * spare
    frac = context.overlap_frac("pp")
    sends_s = _sends_s(context, dims, slots)
    beside_s = hidden_s(sends_s, forward_spare + backward_spare, frac)
    return StageSeconds(
        forward, backward, weight, forward_spare, backward_spare, sends_s - beside_s,
        frac * sends_s - beside_s, beside_s, _accumulate_s(context, dims, parameters, weight),
    )  # fmt: skip


def _accumulate_s(
    context: Context, dims: ParallelDims, parameters: states.Parameters, weight_s: Num
) -> Num:
    """Read and write of the accumulated gradients, where there is more than one microbatch.

    Where the products of weight gradients do it themselves, only what their time does not cover:
    smooth_max(weight, traffic) - weight. Under sharding by units, every microbatch copies its
    gradients to where they are reduced. Where layers are stacked, every microbatch reads and
    writes parameters to cut them out, in both passes, and clears, reads and writes gradients to
    put them in.
    """
    traffic = 2.0 * context.gradient_bytes * parameters.trainable
    seconds: Num = traffic / context.rates.memory_bytes_per_s
    if context.stack.fused_accumulation:
        seconds = smooth_max(weight_s, seconds) - weight_s
    seconds = np.where(dims.microbatches > 1, seconds, 0.0)
    copied_s = copied_bytes(context) * parameters.trainable / context.rates.memory_bytes_per_s
    seconds = np.where(by_units(context, dims), copied_s, seconds)
    if context.stack.stacked_layers:
        each = 4.0 * context.activation_bytes + 3.0 * context.gradient_bytes
        seconds = seconds + each * parameters.trainable / context.rates.memory_bytes_per_s
    return seconds


def _stage_terms(
    placed: list[_Placed], microbatches: Num, mode: Column, at: Callable[[Num], Column]
) -> list[Term]:
    """Terms of the slowest stage, for all microbatches; `mode` is what it recomputes."""
    here = [(p.part, at(p.count) * microbatches, at(p.share), p.time) for p in placed]
    forward = combine(t.forward.scaled(c) for part, c, _, t in here if part == "layers")
    backward = combine(t.backward.scaled(c) for part, c, _, t in here if part == "layers")
    again = combine(recomputed(t, mode).scaled(c * s) for _, c, s, t in here)

    def both(*parts: str) -> Pass:
        return combine(
            p.scaled(c) for part, c, _, t in here if part in parts for p in (t.forward, t.backward)
        )

    rest = both("tower", "ends")
    terms = compute_terms(forward, backward, again, both("ends"), rest)
    if any(p.part == "tower" for p in placed):
        terms.append(tower_term(both("tower")))
    return [*terms, *comm_terms(forward, backward, rest)]
