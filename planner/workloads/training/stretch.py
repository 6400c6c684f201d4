"""The stages that a plan's devices hold: all of the pipeline, or a pool's stretch of it.

In a pipeline that crosses pools each pool holds stages that follow each other. Its plans count all
stages of the pipeline as `pp`; its slots are those of the stretch alone, in their places. Knows
places and layers; no seconds, no bytes.

Parts: `slots_at`, `every_slot`, `crossings`.
"""

from dataclasses import replace

import numpy as np

from costmodels.units import Num
from planner.dims import ParallelDims
from planner.workloads.training.context import Context
from planner.workloads.training.stages import Slots, every_stage, slots_of, staging_at

__all__ = ["crossings", "every_slot", "slots_at"]


def slots_at(context: Context, dims: ParallelDims) -> Slots:
    """Slots of every plan, of the context's stretch where it has one."""
    if context.stretch is None:
        return slots_of(context.kinds, dims, context.stagings)
    return _in_place(context, slots_of(context.kinds, _own(context, dims), context.stagings))


def every_slot(context: Context, dims: ParallelDims) -> Slots:
    """Return one plan's stages, each a slot of its own, first to last."""
    kinds = context.kinds
    staging = staging_at(len(kinds), context.stagings, dims, 0)
    if context.stretch is None:
        return every_stage(kinds, dims, staging)
    return _in_place(context, every_stage(kinds, _own(context, dims), staging))


def crossings(context: Context, slots: Slots) -> Num:
    """Count the sends of a microbatch that leave the pool, of every slot: both at a border, else 0.

    A stage counts two sends, on in the forward pass and back in the backward pass, wherever it is.
    """
    stretch = context.stretch
    if stretch is None:
        return 0.0
    last = stretch.before + stretch.stages - 1
    back = 1.0 * (slots.position == stretch.before) * (stretch.before > 0)
    on = 1.0 * (slots.position == last) * (last < stretch.total - 1)
    return np.asarray(2.0 * np.maximum(back, on))


def _own(context: Context, dims: ParallelDims) -> ParallelDims:
    assert context.stretch is not None
    return replace(dims, pp=np.full(len(dims), float(context.stretch.stages)))


def _in_place(context: Context, slots: Slots) -> Slots:
    """Put a stretch's slots where they stand in the pipeline; only its ends hold what ends do."""
    stretch = context.stretch
    assert stretch is not None
    missing = len(context.layer_blocks) - len(slots.counts)
    counts = np.concatenate([slots.counts, np.zeros((missing, *slots.counts.shape[1:]))])
    ends = stretch.before + stretch.stages == stretch.total
    return replace(
        slots,
        counts=counts,
        position=slots.position + stretch.before,
        first=slots.first * (stretch.before == 0),
        last=slots.last * ends,
    )
