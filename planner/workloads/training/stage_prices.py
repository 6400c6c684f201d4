"""Prices of single pipeline stages: seconds of a microbatch and bytes, of any runs of layers.

A run is a count of layers by kind, with a choice (recomputation, offload), at a position. It is
priced as a slot, by the very functions that price a plan. Knows runs; which of them make a
pipeline is decided elsewhere.

Parts: `Runs`, `StagePrices`, `price_runs`, `stage_choices`, `whole_modes`, `OPEN`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import bubble_s
from planner.dims import ALL_LAYERS, RECOMPUTE, ParallelDims
from planner.strategy import Strategy
from planner.workloads.training import footprint, states
from planner.workloads.training.context import Context
from planner.workloads.training.pace import stage_seconds
from planner.workloads.training.stages import Slots
from planner.workloads.training.staging import StageChoice, mode_read

__all__ = ["OPEN", "Runs", "StagePrices", "price_runs", "stage_choices", "whole_modes"]

Figures = NDArray[np.float64]

OPEN = ("recompute", "recompute_layers", "lean", "staging")
"""Columns that stages decide for themselves."""
FULL = RECOMPUTE.index("full")


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of layers, each on one kind of stage.

    Parameters
    ----------
    counts   : (kinds, runs) layers of each kind
    choice   : what the runs choose, one for `places` runs in a row
    position : (runs,) stage, or (runs, rows) where pipelines differ in length
    places   : runs in a row that choose alike
    """

    counts: Figures
    choice: Sequence[StageChoice]
    position: Figures
    places: int = 1

    def slots(self, dims: ParallelDims) -> Slots:
        """Return the runs as slots of the plans `dims`."""
        shape = (len(self.choice) * self.places, len(dims))
        at = np.broadcast_to(self.position if self.position.ndim == 2 else self.position[:, None],
                             shape)  # fmt: skip
        each = self.choice
        modes = np.repeat([float(c.recompute or 0) for c in each], self.places)[:, None]
        layers = np.repeat([c.recompute_layers for c in each], self.places)[:, None]
        return Slots(
            np.broadcast_to(self.counts[:, :, None], (len(self.counts), *shape)),
            np.ones(shape),
            at,
            np.where(at == 0.0, 1.0, 0.0),
            np.where(at == dims.pp - 1.0, 1.0, 0.0),
            np.broadcast_to(modes, shape),
            np.broadcast_to(layers, shape),
            np.broadcast_to(dims.offload, shape),
        )


@dataclass(frozen=True, slots=True)
class StagePrices:
    """What runs cost, each (runs, rows).

    Parameters
    ----------
    seconds : busy with one microbatch, `late` of them with sends that outlast the compute;
              `forward_spare`, `backward_spare` of them are free to hide communication
    scale   : idle seconds of the pipeline over the seconds of all other stages, were this stage
              the slowest
    bytes   : footprint; `kept` of it a microbatch's activations, before any is in flight
    """

    seconds: Figures
    late: Figures
    forward_spare: Figures
    backward_spare: Figures
    scale: Figures
    bytes: Figures
    kept: Figures


def price_runs(context: Context, dims: ParallelDims, runs: Runs) -> StagePrices:
    """Price runs as stages of each plan of `dims`."""
    slots = runs.slots(dims)
    parameters = states.parameters_of(context, dims, slots)
    time = stage_seconds(context, dims, slots, parameters)
    scale = bubble_s(
        dims.schedule, dims.pp, dims.vpp, 1.0, time.forward, time.backward, time.weight
    )
    held = states.state_bytes(context, dims, parameters)
    working = footprint.activations_of(context, dims, slots)
    total = footprint.footprint(context, dims, slots, held, working).total()
    parts = (
        time.total, time.late, time.forward_spare, time.backward_spare, scale, total,
        working.one_layer,
    )  # fmt: skip
    return StagePrices(*(np.broadcast_to(np.asarray(p), slots.position.shape) for p in parts))


def stage_choices(context: Context, strategy: Strategy, layers: int) -> tuple[StageChoice, ...]:
    """Return what a stage of so many layers may choose: whole modes, then full of some layers.

    What the job pins is all there is. Partial recomputation only where the stack has it.
    """
    supports, allowed = context.stack.supports, strategy.allowed("recompute")
    if allowed is not None:
        return tuple(StageChoice(*mode_read(mode)) for mode in allowed)
    names = [
        name
        for name in supports.recompute
        # with fused attention nothing of its core is kept: recomputing it buys no memory
        if name != "selective" or not context.switches.flash_attention
    ]
    made = [StageChoice(RECOMPUTE.index(name)) for name in names]
    if supports.partial_recompute and "full" in names:
        made += [StageChoice(FULL, float(some)) for some in range(1, layers)]
    return tuple(made)


def whole_modes(choices: Sequence[StageChoice]) -> tuple[StageChoice, ...]:
    """Return the choices that treat all layers alike, and what a partial one is made of."""
    none = StageChoice(RECOMPUTE.index("none"))
    made: dict[StageChoice, None] = {}
    for choice in choices:
        if choice.recompute_layers < ALL_LAYERS:
            made[none] = made[StageChoice(FULL)] = None
        else:
            made[choice] = None
    return tuple(made)
