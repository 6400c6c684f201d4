"""A step time that no staging of a mesh can beat, for columns of meshes.

    t_max >= work of all stages / p, with nothing recomputed
    t_max >= the least T at which the stages can take all layers: stage s takes at most
             max sum_r n_r, sum_r n_r t_r <= T - end_s, sum_r n_r b_rs <= memory - fixed_s
    step  >= ((m - scale) t_max + scale sum_s t_s + the least of the rest) (1 + stragglers)

The second line is a linear program of two constraints, solved in closed form at its corners (one
recompute mode alone, or two), its answer rounded down: layers are whole. Layers of other kinds
than the commonest are left out of it. The rest (sharing, optimizer) is priced for an average
stage, with the most compute to hide under. Relaxes; never above the price of a staging.

Parts: `average_bound_s`, `staging_bound_s`, `StagingBound`, `Units`, `units_of`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import in_flight_chunks
from costmodels.units import Column
from planner.dims import ParallelDims
from planner.fold import fold
from planner.workloads.training import footprint
from planner.workloads.training.context import Context
from planner.workloads.training.cost import least_rest_s, straggler_share
from planner.workloads.training.pace import BLOCK_COLUMNS
from planner.workloads.training.stage_prices import Runs, price_runs
from planner.workloads.training.staging import StageChoice

__all__ = ["StagingBound", "Units", "average_bound_s", "staging_bound_s", "units_of"]

PACE_COLUMNS = (*BLOCK_COLUMNS, "devices", "vpp", "schedule", "microbatches")
HALVINGS = 30
WHOLE = 1e-6
"""Layers by which a count may fall short of a whole number and still be it."""

Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Units:
    """What pipelines are made of, (..., rows): sums of these are prices of stages, or below.

    Parameters
    ----------
    layer_s         : (kinds, modes) seconds of a layer; `empty_s` of a stage without layers
    first_s, last_s : what stands at the ends
    scale           : least idle seconds over the other stages' seconds
    spare           : most of a stage's seconds that communication may hide under: forward,
                      backward
    fixed           : bytes of a stage without layers: first, inner, last
    layer_bytes     : (kinds, modes) of a layer's states; `kept` of its activations, by microbatch
    """

    layer_s: Figures
    empty_s: Figures
    first_s: Figures
    last_s: Figures
    scale: Figures
    spare: tuple[Figures, Figures]
    fixed: tuple[Figures, Figures, Figures]
    layer_bytes: Figures
    kept: Figures


@dataclass(frozen=True, slots=True)
class StagingBound:
    """Bounds of rows.

    Parameters
    ----------
    step_s    : no staging of a row has a shorter step
    slowest_s : with a step below the one asked about, no stage is slower than this; inf: unknown
    least_s   : the slowest stage takes no less
    rest_s    : what is done once a step takes no less
    longest   : no inner stage holds more layers within `slowest_s`
    """

    step_s: Column
    slowest_s: Column
    least_s: Column
    rest_s: Column
    longest: Column


def units_of(context: Context, dims: ParallelDims, modes: Sequence[StageChoice]) -> Units:
    """Price stages without layers and with one, and take differences.

    Sends that outlast the compute of a stage are no sum over its layers: they count as hidden.
    """
    kinds, many = len(context.layer_blocks), len(modes)
    places = 3 + kinds  # first, inner, last without layers; inner with one layer of each kind
    counts = np.zeros((kinds, places, many))
    for kind in range(kinds):
        counts[kind, 3 + kind] = 1.0
    inner = np.where(dims.pp > 2, dims.pp - 2.0, 0.5)  # of two stages none is inner
    position = np.stack([np.zeros_like(inner), inner, dims.pp - 1.0, *[inner] * kinds])
    runs = Runs(counts.reshape(kinds, -1), tuple(modes) * places, np.repeat(position, many, axis=0))
    price = price_runs(context, dims, runs)
    shape = (places, many, len(dims))
    busy = price.seconds - price.late
    seconds, held, kept = (p.reshape(shape) for p in (busy, price.bytes, price.kept))
    layer_s = seconds[3:] - seconds[1]
    ends = (seconds[0] - seconds[1]).min(axis=0), (seconds[2] - seconds[1]).min(axis=0)
    on_host = footprint.offloaded(dims.offload, "activations")
    loose = 1.0 + context.stack.family.fragmentation.value
    chunks = in_flight_chunks(dims.schedule, dims.pp, inner, dims.vpp, dims.microbatches)
    flight = np.where(on_host, 2.0, chunks / dims.vpp)
    states = held[3:] - held[1] - kept[3:] * loose * flight
    return Units(
        layer_s, seconds[1].min(axis=0), *ends, _least_scale(price.scale, seconds),
        _most_spare(price.forward_spare.reshape(shape), price.backward_spare.reshape(shape),
                    seconds),
        (held[0].min(axis=0), held[1].min(axis=0), held[2].min(axis=0)),
        states, np.where(on_host, 0.0, kept[3:] * loose),
    )  # fmt: skip


def _least_scale(scale: Figures, seconds: Figures) -> Figures:
    """Least of any stage: 1 - 2 W / (F + B) of a sum is no less than that of its least part.

    An inner stage without layers only sends: it has no such share, and is never the slowest.
    """
    parts = scale.reshape(seconds.shape)
    return np.asarray(np.delete(parts, 1, axis=0).min(axis=(0, 1)))


def _most_spare(forward: Figures, backward: Figures, seconds: Figures) -> tuple[Figures, Figures]:
    """Share of a stage's seconds free to hide under: no more than that of any of its parts."""

    def most(spare: Figures) -> Figures:
        parts = np.concatenate([spare[[0, 2]], spare[3:] - spare[1]])
        busy = np.concatenate([seconds[[0, 2]], seconds[3:] - seconds[1]])
        share = np.where(busy > 0.0, parts / np.where(busy > 0.0, busy, 1.0), 0.0)
        return np.asarray(np.clip(share.max(axis=(0, 1)), 0.0, 1.0))

    return most(forward), most(backward)


def _mean_s(context: Context, dims: ParallelDims, units: Units) -> Column:
    """Seconds of a microbatch on a stage, averaged, with nothing recomputed."""
    total = dims.pp * units.empty_s + units.first_s + units.last_s
    for kind, block in enumerate(context.layer_blocks):
        total = total + len(block.layers) * units.layer_s[kind].min(axis=0)
    return np.asarray(total / dims.pp)


def average_bound_s(context: Context, dims: ParallelDims, modes: Sequence[StageChoice]) -> Column:
    """Bound by the average stage alone; rows that agree in its columns are priced once."""
    folded = fold(dims, PACE_COLUMNS)
    few = folded.few
    units = units_of(context, few, modes)
    mean = _mean_s(context, few, units)
    pace = mean * (few.microbatches - units.scale + units.scale * few.pp)
    return np.asarray(folded.spread(pace * (1.0 + straggler_share(context, few))))


def staging_bound_s(
    context: Context,
    dims: ParallelDims,
    modes: Sequence[StageChoice],
    limit_bytes: float,
    enough_s: float,
) -> StagingBound:
    """Bound by memory and whole layers too.

    Parameters
    ----------
    enough_s : bounds above this step time are of no interest and come back as inf
    """
    units = units_of(context, dims, modes)
    mean = _mean_s(context, dims, units)
    weight = dims.microbatches - units.scale
    others = units.scale * dims.pp * mean
    within = enough_s / (1.0 + straggler_share(context, dims))
    safe = np.where(weight > 0.0, weight, 1.0)
    slowest = np.where(weight > 0.0, (within - others) / safe, np.inf)
    rest = _rest_s(context, dims, units, slowest, mean)
    slowest = np.where(weight > 0.0, (within - others - rest) / safe, np.inf)
    least = _least_slowest(context, dims, units, limit_bytes, mean, slowest)
    share = straggler_share(context, dims)
    step = (np.maximum(0.0, weight) * least + others + rest) * (1.0 + share)
    lightest = units.layer_s.min(axis=(0, 1))
    longest = (slowest - units.empty_s) / np.where(lightest > 0.0, lightest, np.inf)
    layers = float(context.spec.model.layers)
    longest = np.floor(np.clip(np.where(np.isfinite(slowest), longest, layers), 0.0, layers))
    return StagingBound(step, slowest, least, rest, np.minimum(longest + 1.0, layers))


def _rest_s(
    context: Context, dims: ParallelDims, units: Units, slowest: Column, mean: Column
) -> Column:
    """Bound what a step adds to its pace, given how slow the slowest stage may be."""
    most = np.where(np.isfinite(slowest), np.maximum(slowest, mean), mean * dims.pp * 4.0)
    forward, backward = (share * most for share in units.spare)
    return least_rest_s(context, dims, forward, backward)


def _least_slowest(
    context: Context, dims: ParallelDims, units: Units, limit_bytes: float, mean: Column,
    slowest: Column,
) -> Column:  # fmt: skip
    """Halve between the mean and `slowest` for the least T that takes all layers; inf: none."""
    made = np.full(len(dims), np.inf)
    for pp in np.unique(dims.pp):
        for rows in np.array_split(np.flatnonzero(dims.pp == pp), 1 + len(dims) // 4096):
            if len(rows):
                made[rows] = _halved(
                    context, dims.take(rows), _Room.of(context, dims, units, limit_bytes, rows),
                    mean[rows], slowest[rows],
                )  # fmt: skip
    return made


@dataclass(frozen=True, slots=True)
class _Room:
    """Stages of pipelines of one length: (stages, rows) end seconds and free bytes, and layers.

    `seconds`, `held` : (modes, rows), (modes, stages, rows) of a layer of the commonest kind
    """

    ends: Figures
    free: Figures
    seconds: Figures
    held: Figures
    layers: int

    @classmethod
    def of(
        cls, context: Context, dims: ParallelDims, units: Units, limit_bytes: float,
        rows: NDArray[np.intp],
    ) -> "_Room":  # fmt: skip
        """Lay units out over the stages."""
        few = dims.take(rows)
        pp = int(few.pp[0])
        stage = np.arange(pp, dtype=float)[:, None]
        flight = in_flight_chunks(few.schedule, few.pp, stage, few.vpp, few.microbatches) / few.vpp
        first, last = stage == 0, stage == pp - 1
        ends = units.empty_s[rows] + first * units.first_s[rows] + last * units.last_s[rows]
        fixed = np.where(first, units.fixed[0][rows], units.fixed[1][rows])
        fixed = np.where(last, units.fixed[2][rows], fixed)
        away = footprint.offloaded(few.offload, "parameters")  # not a sum over layers
        kind = int(np.argmax([len(block.layers) for block in context.layer_blocks]))
        held = units.layer_bytes[kind][:, None, rows] + units.kept[kind][:, None, rows] * flight
        return cls(
            ends, np.where(away, np.inf, limit_bytes - fixed), units.layer_s[kind][:, rows],
            np.maximum(held, 0.0), len(context.layer_blocks[kind].layers),
        )  # fmt: skip

    def takes(self, slowest: Column) -> Figures:
        """Layers that all stages together take at most within `slowest` seconds each."""
        left = slowest - self.ends
        modes = range(len(self.seconds))
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.full(left.shape, -np.inf)
            for a in modes:
                most = np.maximum(most, np.minimum(left / self.seconds[a], self._by_memory(a)))
                for b in range(a):
                    most = np.maximum(most, self._both(a, b, left))
        most = np.where((left < 0.0) | (self.free < 0.0), -np.inf, most)
        return np.asarray(np.floor(most + WHOLE).sum(axis=0))

    def _by_memory(self, mode: int) -> Figures:
        return np.where(self.held[mode] > 0.0, self.free / self.held[mode], np.inf)

    def _both(self, a: int, b: int, left: Figures) -> Figures:
        """Layers of two modes that fill both the seconds and the bytes of a stage."""
        det = self.seconds[a] * self.held[b] - self.seconds[b] * self.held[a]
        of_a = (left * self.held[b] - self.seconds[b] * self.free) / det
        of_b = (self.seconds[a] * self.free - left * self.held[a]) / det
        both = (of_a >= 0.0) & (of_b >= 0.0) & np.isfinite(of_a) & np.isfinite(of_b)
        return np.where(both, of_a + of_b, -np.inf)


def _halved(
    context: Context, dims: ParallelDims, room: _Room, mean: Column, slowest: Column
) -> Column:
    """Return the least T between the mean and `slowest`, rounded down; inf where none will do."""
    high = np.where(np.isfinite(slowest), slowest, mean * dims.pp * 4.0)
    low = np.minimum(mean, high)
    open_rows = np.isinf(slowest)
    never = (room.takes(high) < room.layers) & ~open_rows
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        enough = room.takes(middle) >= room.layers
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return np.where(never | (mean > slowest), np.inf, np.maximum(low, np.minimum(mean, high)))
