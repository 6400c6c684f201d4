"""What one stage takes by its layers: seconds and bytes as lines, for many meshes at once.

Read off the cost functions at one and two layers, for each kind of layer, so that a dealer of
layers need not price every layout: a stage's microbatch takes `fixed_s` and `layer_s` for each
layer, its memory a fixed part and a part for each layer, both growing with the microbatches in
flight. Sends that outlast the compute beside them are no line, and are left out. Knows lines;
deals nothing.

Parts: `StageLines`, `stage_lines`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.dims import ParallelDims
from planner.workloads.training.beside import Stretch
from planner.workloads.training.context import Context
from planner.workloads.training.cost import memory_of, stages_s
from planner.workloads.training.staging import Staging

__all__ = ["StageLines", "stage_lines"]

FULL_PIPE = 64.0
"""Microbatches at which lines are read: enough to fill the pipelines that they are read in."""


@dataclass(frozen=True, slots=True)
class StageLines:
    """Lines of every row.

    Parameters
    ----------
    layer_s   : seconds of one layer, (kinds, rows); fixed_s: of a stage without any
    first_s, last_s : what the ends hold beside layers
    fixed_bytes, layer_bytes : with one microbatch in flight; `..._more` for each further one
    first_bytes, last_bytes  : what the ends hold beside layers
    """

    layer_s: NDArray[np.float64]
    fixed_s: Column
    first_s: Column
    last_s: Column
    fixed_bytes: Column
    fixed_more: Column
    layer_bytes: Column
    layer_more: Column
    first_bytes: Column
    last_bytes: Column

    def seconds(self, row: int, first: bool, last: bool) -> tuple[float, list[float]]:
        """Return the fixed seconds of a stage and those of a layer of each kind."""
        fixed = self.fixed_s[row] + first * self.first_s[row] + last * self.last_s[row]
        return float(fixed), [float(each) for each in self.layer_s[:, row]]

    def rooms(
        self, context: Context, rows: NDArray[np.intp], place: Column, stages: Column
    ) -> Column:
        """Return how many layers fit in the memory of the stage at `place` of so many."""
        more = stages - place - 1.0
        fixed = self.fixed_bytes[rows] + more * self.fixed_more[rows]
        fixed = fixed + np.where(place == 0, self.first_bytes[rows], 0.0)
        fixed = fixed + np.where(more == 0, self.last_bytes[rows], 0.0)
        layer = self.layer_bytes[rows] + more * self.layer_more[rows]
        return np.maximum(0.0, np.floor((context.memory_limit_bytes - fixed) / layer))


def stage_lines(context: Context, dims: ParallelDims) -> StageLines:
    """Read the lines of every row of a pool's meshes."""
    kinds = replace(context, stretch=None).kinds
    usual = max(set(kinds), key=lambda kind: (kinds.count(kind), kind))
    at = next((i for i in range(len(kinds) - 1) if kinds[i] == kinds[i + 1] == usual), 0)
    row = replace(
        dims,
        microbatches=np.full(len(dims), FULL_PIPE),
        staging=np.ones(len(dims)),
        lean=np.zeros(len(dims)),
    )

    def seen(layers: int, before: int, total: int, start: int) -> tuple[Context, ParallelDims]:
        stretch = Stretch(before, 1, total, start)
        staged = replace(context, stretch=stretch, stagings=(Staging((layers,)),))
        return staged, replace(row, pp=np.full(len(dims), float(total)))

    def seconds(layers: int, before: int, total: int, start: int = at) -> Column:
        return stages_s(*seen(layers, before, total, start), late=False)

    def held(layers: int, before: int, total: int) -> Column:
        return np.asarray(memory_of(*seen(layers, before, total, at)).total_bytes)

    one_s, two_s = seconds(1, 1, 3), seconds(2, 1, 3)
    fixed_s = 2.0 * one_s - two_s
    starts = [kinds.index(kind) for kind in range(max(kinds) + 1)]
    layer_s = np.stack([seconds(1, 1, 3, start) - fixed_s for start in starts])
    two, two_layers = held(1, 1, 3), held(2, 1, 3)  # of two microbatches in flight
    four, four_layers = held(1, 1, 5), held(2, 1, 5)
    layer_two, layer_more = two_layers - two, 0.5 * ((four_layers - four) - (two_layers - two))
    fixed_two, fixed_four = two - layer_two, four - (four_layers - four)
    fixed_more = 0.5 * (fixed_four - fixed_two)
    fixed, layer = fixed_two - fixed_more, layer_two - layer_more
    return StageLines(
        layer_s, fixed_s, seconds(1, 0, 2) - one_s, seconds(1, 2, 3) - one_s, fixed, fixed_more,
        layer, layer_more, held(1, 0, 2) - two, held(1, 2, 3) - (fixed + layer),
    )  # fmt: skip
