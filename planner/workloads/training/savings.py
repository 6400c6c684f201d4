"""Memory savings that are worth trying only where a plan does not fit without them.

Recomputing fewer layers, or fewer modules of them, is never slower, and so is keeping optimizer
states on the device: of each, the least that makes a plan fit is its best. So these choices are not
crossed with all others; they are added, after the footprints are known, where they close the gap to
the limit.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from costmodels.units import Column
from planner.dims import ALL_LAYERS, OFFLOAD, RECOMPUTE, ParallelDims
from planner.workloads.training.context import Context
from planner.workloads.training.footprint import OUTER_STATES
from planner.workloads.training.modules import worth_trying
from planner.workloads.training.pools import memory_of

__all__ = ["with_savings"]

CHUNK = 16384
NONE, FULL = RECOMPUTE.index("none"), RECOMPUTE.index("full")


def with_savings(
    context: Context,
    dims: ParallelDims,
    limit_bytes: float,
    *,
    offload: bool,
    partial: bool,
) -> tuple[ParallelDims, Column]:
    """Add plans that fit by recomputing some layers or modules, or with states on the host.

    Parameters
    ----------
    limit_bytes : what a plan may use
    offload     : the job leaves `offload` free
    partial     : the job leaves `recompute` free

    Returns
    -------
    dims, used_bytes : the rows given, then the ones added, with their footprints
    """
    supports = context.stack.supports
    used = _used_bytes(context, dims)
    added: list[tuple[ParallelDims, Column]] = []
    if partial and (supports.partial_recompute or supports.recompute_modules):
        tight = _Tight.of(context, dims, limit_bytes, used)
        if supports.partial_recompute:
            added.append(_partly_recomputed(context, tight, limit_bytes))
        added += _modules_recomputed(context, tight, limit_bytes)
    if offload and "optimizer" in supports.offload:
        added.append(_offloaded(context, dims, limit_bytes, used))
    for more, bytes_of_more in added:
        dims = dims.joined(more)
        used = np.concatenate([used, bytes_of_more], axis=1)
    return dims, used.sum(axis=0)


def _used_bytes(context: Context, dims: ParallelDims) -> Column:
    """Footprint of every row: (optimizer states, all the rest)."""
    parts = [np.zeros((2, 0))]
    for start in range(0, len(dims), CHUNK):
        held = memory_of(context, dims.part(start, start + CHUNK))
        on_host = ("optimizer states", OUTER_STATES)
        optimizer = sum(np.asarray(m.bytes) for m in held.memory if m.name in on_host)
        parts.append(np.stack([np.asarray(optimizer), held.total_bytes - optimizer]))
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True)
class _Tight:
    """Plans that fit with all layers recomputed, and not with none.

    `least`, `most`: bytes with all, with none.
    """

    full: ParallelDims
    least: Column
    most: Column

    @classmethod
    def of(cls, context: Context, dims: ParallelDims, limit_bytes: float, used: Column) -> "_Tight":
        """Find them among plans that use so much."""
        whole = (dims.recompute == FULL) & (dims.recompute_layers >= ALL_LAYERS)
        rows = np.flatnonzero(whole & (used.sum(axis=0) <= limit_bytes))
        full = dims.take(rows)
        none = dataclasses.replace(full, recompute=np.full(len(rows), float(NONE)))
        most, least = _used_bytes(context, none).sum(axis=0), used.sum(axis=0)[rows]
        over = np.flatnonzero(most > limit_bytes)
        return cls(full.take(over), least[over], most[over])


def _modules_recomputed(
    context: Context, tight: _Tight, limit_bytes: float
) -> list[tuple[ParallelDims, Column]]:
    """Recompute single modules of all layers: the lightest set of them that fits."""
    left, made = tight.full, []
    for code in worth_trying(context):
        tried = dataclasses.replace(left, recompute=np.full(len(left), float(code)))
        bytes_of_tried = _used_bytes(context, tried)
        fits = bytes_of_tried.sum(axis=0) <= limit_bytes
        made.append((tried.take(fits), bytes_of_tried[:, fits]))
        left = left.take(~fits)
    return made


def _partly_recomputed(
    context: Context, tight: _Tight, limit_bytes: float
) -> tuple[ParallelDims, Column]:
    """Recompute the fewest layers of a stage that fit, where none is too few and all fit.

    A footprint is linear in the recomputed layers of the fullest stage; the count is rounded up,
    and one more is tried where another stage is then the fullest.
    """
    full, most, least = tight.full, tight.most, tight.least
    layers = np.ceil(context.spec.model.layers / full.pp)
    share = (most - limit_bytes) / np.maximum(most - least, 1.0)
    fewest = np.ceil(share * layers)
    open_rows = np.flatnonzero(fewest < layers)
    tried, fewest, layers = full.take(open_rows), fewest[open_rows], layers[open_rows]
    found, kept = tried.part(0, 0), np.zeros((2, 0))
    for more in (0.0, 1.0):
        count = np.maximum(np.minimum(fewest + more, layers - 1.0), 1.0)
        made = dataclasses.replace(tried, recompute_layers=count)
        bytes_of_made = _used_bytes(context, made)
        fits = bytes_of_made.sum(axis=0) <= limit_bytes
        found = found.joined(made.take(np.flatnonzero(fits)))
        kept = np.concatenate([kept, bytes_of_made[:, fits]], axis=1)
        tried, fewest, layers = tried.take(np.flatnonzero(~fits)), fewest[~fits], layers[~fits]
    return found, kept


def _offloaded(
    context: Context, dims: ParallelDims, limit_bytes: float, used: Column
) -> tuple[ParallelDims, Column]:
    """Keep optimizer states in the host's memory where a plan fits only so."""
    rows = np.flatnonzero((used.sum(axis=0) > limit_bytes) & (used[1] <= limit_bytes))
    bit = float(1 << OFFLOAD.index("optimizer"))
    more = dataclasses.replace(dims.take(rows), offload=np.full(len(rows), bit))
    return more, _used_bytes(context, more)
