"""Pools side by side: how many sequences of a batch each pool takes, and with which plan.

With m microbatches a pool's step takes base + m slope seconds (from the second microbatch on), so
each plan of a pool is a line, priced from three columns of `cost`. The least over a pool's plans,
for every number of sequences, is its envelope; the best shares are those whose slowest pool is
the fastest. All plans and all shares are covered: nothing is sampled. What only one pool may
choose (tensor and pipeline degrees, micro-batch, recomputation) is its own; the rest holds for all
pools of a plan, so envelopes are made for each such choice.

Parts: `side_by_side`.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import INTERLEAVED, ONE_F_ONE_B
from costmodels.units import Column
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training.candidates import MAX_MICRO_BATCH, candidates
from planner.workloads.training.context import Context, Part, make
from planner.workloads.training.cost import times_of
from planner.workloads.training.pools import PoolPlan, beside, over
from planner.workloads.training.savings import with_savings
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.stages import staging_at

__all__ = ["Shares", "side_by_side"]

COMMON = ("cp", "cp_comm", "ep", "etp", "zero", "sp", "schedule", "order")
"""Choices that hold for all pools of a plan."""
ANY, PLAIN = -1.0, 0.0
"""A choice that makes no difference to a pool: sp without tensor ranks, a schedule of one stage;
and what is written where it makes none to any pool."""
MOST_LEAN = 4
"""Layers that the last stage gives up at most, because it has the head."""
POWERS = tuple(2**i for i in range(MAX_MICRO_BATCH.bit_length()))
FEW = 2000
"""Plans of a pool up to which micro-batches that are no power of two are tried as well."""
MANY = 66.0
"""Microbatches of the second point of a line; the first is two."""
KEPT = 6
Rows = NDArray[np.intp]
Key = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """What the search of shares found.

    Parameters
    ----------
    plans : best of each common choice, best first
    tried : plans of a pool that were priced; `over_memory`: those that do not fit
    least_s : no share of the batch has a shorter step; inf: none fits
    """

    plans: tuple[PoolPlan, ...]
    tried: int
    over_memory: int
    least_s: float


@dataclass(frozen=True)
class _Lines:
    """The plans of one pool that fit, as lines over the microbatches.

    `quantum`: sequences of one microbatch on all replicas; `first_s` with one microbatch.
    """

    context: Context
    dims: ParallelDims
    keys: NDArray[np.float64]
    quantum: Column
    first_s: Column
    base_s: Column
    slope_s: Column
    microbatches: int | None
    tried: int


@dataclass(frozen=True, slots=True)
class _Envelope:
    """Least seconds of a pool for 0, 1, 2 ... sequences, and the row that reaches them."""

    seconds: Column
    row: Rows


def side_by_side(
    jobs: Sequence[Job[TrainingSpec]],
    cluster: Cluster,
    batch: int,
    *,
    microbatches: Sequence[int | None],
    limit_memory: bool = True,
) -> Shares:
    """Search the shares and the plans of pools that each hold whole copies of the model.

    Parameters
    ----------
    jobs         : the job as each pool sees it, with what is pinned there
    batch        : sequences of a step
    microbatches : of each pool, where they are pinned
    """
    lines = [
        _lines(job, replace(make(job, pool), beside=beside(cluster, pool)), pinned, limit_memory)
        for job, pool, pinned in zip(jobs, cluster.pools, microbatches, strict=True)
    ]
    found: list[tuple[float, Key, list[int]]] = []
    for key in _keys(lines):
        each = [_envelope(line, key, batch) for line in lines]
        seconds, shares = _split([e.seconds for e in each], batch)
        if np.isfinite(seconds):
            found.append((seconds, key, shares))
    found.sort(key=lambda f: (f[0], f[1]))
    plans = []
    for _, key, shares in found[:KEPT]:
        each = [_envelope(line, key, batch) for line in lines]
        rows = [int(e.row[share]) for e, share in zip(each, shares, strict=True)]
        plans.append(_plan(cluster, lines, key, rows, shares))
    tried = sum(line.tried for line in lines)
    least_s = min([found[0][0] if found else np.inf, *(plan.step_s for plan in plans)])
    return Shares(tuple(plans), tried, tried - sum(len(line.dims) for line in lines), least_s)


def _lines(
    job: Job[TrainingSpec], context: Context, microbatches: int | None, limit_memory: bool
) -> _Lines:
    """Price a pool's plans at one, two and many microbatches, those that fit in memory."""
    dims, tried = _plans(job, context)
    limit = context.memory_limit_bytes if limit_memory else np.inf
    used = np.zeros(0)
    if len(dims):
        dims, used = with_savings(
            context, dims, limit, offload=job.strategy.offload is None,
            partial=job.strategy.recompute is None and job.strategy.stages is None,
        )  # fmt: skip
    dims = dims.take(np.flatnonzero(used <= limit))

    def seconds(m: float) -> Column:
        if not len(dims):
            return np.zeros(0)
        return np.asarray(times_of(context, _with(dims, m)).total_s)

    first, second, last = seconds(1.0), seconds(2.0), seconds(MANY)
    slope = (last - second) / (MANY - 2.0)
    return _Lines(
        context, dims, _key_columns(dims), dims.dp * dims.micro_batch, first,
        second - 2.0 * slope, slope, microbatches, tried,
    )  # fmt: skip


def _with(dims: ParallelDims, microbatches: float) -> ParallelDims:
    return replace(dims, microbatches=np.full(len(dims), microbatches))


def _plans(job: Job[TrainingSpec], context: Context) -> tuple[ParallelDims, int]:
    """List a pool's plans for a batch that every replica and micro-batch divides.

    Microbatches are as many as fill any pipeline, so that memory is that of a full one. Where
    there are few plans, micro-batches that are no power of two are tried as well.
    """
    dims = _listed(job, context, POWERS)
    if len(dims) <= FEW:
        dims = _listed(job, context, range(1, MAX_MICRO_BATCH + 1))
    plain = (dims.consistency == 0) & (dims.vpp == 1) & (dims.schedule != INTERLEAVED)
    dims = dims.take(plain & (dims.zero_group == dims.replicas))
    dims = replace(dims, microbatches=np.maximum(dims.microbatches, dims.pp))
    if job.strategy.layers_per_stage is None and len(dims):
        layers = context.spec.model.layers
        for lean in range(1, MOST_LEAN + 1):
            may = (dims.pp > 1) & (np.floor(layers / dims.pp) > lean) & (dims.lean == 0)
            more = dims.take(may)
            dims = dims.joined(replace(more, lean=np.full(len(more), float(lean))))
    return dims, len(dims)


def _listed(job: Job[TrainingSpec], context: Context, sizes: Sequence[int]) -> ParallelDims:
    """List candidates with micro-batches of the given sizes, or of those that the job pins."""
    pinned = job.strategy.allowed("micro_batch")
    sizes = tuple(sizes) if pinned is None else tuple(int(str(v)) for v in pinned)
    batch = context.cluster.devices * math.lcm(*sizes)
    spec = context.spec.model_copy(update={"global_batch": batch})
    strategy = job.strategy.model_copy(update={"micro_batch": sizes})
    tried = job.model_copy(update={"workload": spec, "strategy": strategy})
    return candidates(tried, replace(context, spec=spec))[0]


def _key_columns(dims: ParallelDims) -> NDArray[np.float64]:
    """Return the common choices of every row, ANY where a choice makes no difference to it."""
    columns = {name: getattr(dims, name) for name in COMMON}
    columns["sp"] = np.where(dims.tp > 1, dims.sp, ANY)
    columns["schedule"] = np.where(dims.pp > 1, dims.schedule, ANY)
    columns["zero"] = np.where(dims.replicas > 1, dims.zero, ANY)
    return np.stack([columns[name] for name in COMMON], axis=1)


def _keys(lines: Sequence[_Lines]) -> Iterator[Key]:
    """Give every combination of common choices that some pool asks for, in order."""
    every = np.concatenate([line.keys for line in lines])
    values = []
    for column in every.T:
        asked = np.unique(column[column != ANY])
        values.append(asked.tolist() or [ANY])
    for key in itertools.product(*values):
        if all(_matching(line, key).any() for line in lines):
            yield key


def _matching(line: _Lines, key: Key) -> NDArray[np.bool_]:
    return np.asarray(((line.keys == np.array(key)) | (line.keys == ANY)).all(axis=1))


def _envelope(line: _Lines, key: Key, batch: int) -> _Envelope:
    """Least seconds of a pool's plans of one common choice, for every number of sequences."""
    seconds, best = np.full(batch + 1, np.inf), np.full(batch + 1, -1, np.intp)
    rows = np.flatnonzero(_matching(line, key))
    for quantum in np.unique(line.quantum[rows]):
        own = rows[line.quantum[rows] == quantum]
        own = own[_undominated(line.first_s[own], line.base_s[own], line.slope_s[own])]
        m = np.arange(1.0, batch // quantum + 1)
        if line.microbatches is not None:
            m = m[m == line.microbatches]
        if not len(m):
            continue
        table = line.base_s[own, None] + line.slope_s[own, None] * m
        table[:, m == 1.0] = line.first_s[own, None]
        least = np.argmin(table, axis=0)
        at = (quantum * m).astype(np.intp)
        value = table[least, np.arange(len(m))]
        better = value < seconds[at]
        seconds[at[better]], best[at[better]] = value[better], own[least[better]]
    return _Envelope(seconds, best)


def _undominated(first_s: Column, base_s: Column, slope_s: Column) -> Rows:
    """Rows that no other beats at one, two and every larger number of microbatches."""
    order = np.lexsort((slope_s, base_s + 2.0 * slope_s))
    slopes, firsts = slope_s[order], first_s[order]
    least_slope = np.concatenate([[np.inf], np.minimum.accumulate(slopes)[:-1]])
    least_first = np.concatenate([[np.inf], np.minimum.accumulate(firsts)[:-1]])
    return np.asarray(order[(slopes < least_slope) | (firsts < least_first)])


def _split(each: Sequence[Column], batch: int) -> tuple[float, list[int]]:
    """Share a batch so that the slowest pool is the fastest: seconds, and sequences of each.

    best_j[b] = min over x of max(best_{j-1}[b - x], pool_j[x])
    """
    best, taken = each[0], list[Rows]()
    for index, pool in enumerate(each[1:], 2):
        whole = np.arange(batch, batch + 1) if index == len(each) else np.arange(batch + 1)
        made, took = np.full(batch + 1, np.inf), np.zeros(batch + 1, np.intp)
        shares = np.flatnonzero(np.isfinite(pool))
        for b in whole:
            x = shares[shares <= b]
            if len(x):
                both = np.maximum(best[b - x], pool[x])
                least = int(np.argmin(both))
                made[b], took[b] = both[least], x[least]
        best, taken = made, [*taken, took]
    left, shares_of = batch, []
    for took in reversed(taken):
        shares_of.append(int(took[left]))
        left -= int(took[left])
    return float(best[batch]), [left, *reversed(shares_of)]


def _plan(
    cluster: Cluster, lines: Sequence[_Lines], key: Key, rows: Sequence[int], shares: Sequence[int]
) -> PoolPlan:
    """Make the plan of one row and one share of every pool."""
    asked = dict(zip(COMMON, key, strict=True))
    common = {name: PLAIN if value == ANY else value for name, value in asked.items()}
    common["schedule"] = float(ONE_F_ONE_B) if asked["schedule"] == ANY else asked["schedule"]
    common["vpp"] = 1.0
    parts = []
    for line, row, share in zip(lines, rows, shares, strict=True):
        one = line.dims.take(np.array([row]))
        staging = staging_at(line.context.spec.model.layers, line.context.stagings, one, 0)
        own = {name: value for name, value in one.row(0).items() if name not in common}
        own |= {"lean": 0.0, "staging": 1.0, "microbatches": share / float(line.quantum[row])}
        if own["tp"] == 1.0:
            own["sp"] = 0.0
        if own["pp"] == 1.0:
            own["schedule"] = float(ONE_F_ONE_B)
        parts.append(Part(replace(line.context, stagings=(staging,)), own))
    return over(cluster, parts, common)
