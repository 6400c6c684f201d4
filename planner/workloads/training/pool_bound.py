"""What no pipeline over pools of unlike devices is faster than, whatever its layers are dealt.

A stage is priced at a value for each of its seconds: one over the seconds in which it would do all
layers alone. At the pace T all stages together are worth T times the sum of their values, and
each layer costs at least its least value on any pool:

    T >= sum over layers of min over pools of (seconds of the layer / seconds of all layers)
         / sum over stages of (1 / seconds of all layers)

With layers of one kind the numerator is 1, and what memory has room for counts too. A step is that
for each microbatch but one, and once all layers where each is fastest. Knows seconds of layers; no
exchange but those inside them.

Parts: `Work`, `combined_s`, `left_out_s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.dims import ParallelDims
from planner.workloads.training.context import Context
from planner.workloads.training.dealing import paces
from planner.workloads.training.stage_lines import StageLines

__all__ = ["Work", "combined_s", "left_out_s"]

Rows = NDArray[np.intp]
MARGIN = 1.0 - 1e-9
"""Sums are made in another order than the price's."""


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of layers on the stages of one pool's meshes.

    Parameters
    ----------
    many    : layers of each kind
    layer_s : (kinds, rows) seconds of a microbatch through one layer; model_s: through all
    stages  : of every row
    """

    many: Column
    layer_s: NDArray[np.float64]
    model_s: Column
    stages: Column

    @classmethod
    def of(cls, context: Context, lines: StageLines, dims: ParallelDims) -> "Work":
        """Read the work of a pool's meshes off their lines."""
        kinds = context.kinds
        many = np.array([float(kinds.count(kind)) for kind in range(max(kinds) + 1)])
        return cls(many, lines.layer_s, np.asarray(many @ lines.layer_s), dims.pp)


def combined_s(
    work: Sequence[Work],
    combined: Rows,
    microbatches: Column,
    room: NDArray[np.float64],
    layer_s: NDArray[np.float64],
) -> Column:
    """Bound the step of combinations of one row of each pool.

    Parameters
    ----------
    combined : (combinations, pools) rows
    room, layer_s : (stages, combinations) layers that a stage has room for, and seconds of one
    """
    many = work[0].many
    rows = list(zip(work, combined.T, strict=True))
    value = sum(w.stages[own] / w.model_s[own] for w, own in rows)
    shares = np.min([w.layer_s[:, own] / w.model_s[own] for w, own in rows], axis=0)
    pace_s = (many @ shares) / value
    if len(many) == 1:
        pace_s = np.maximum(pace_s, paces(np.zeros_like(layer_s), layer_s, room, float(many[0])))
    whole_s = many @ np.min([w.layer_s[:, own] for w, own in rows], axis=0)
    return np.asarray(MARGIN * ((microbatches - 1.0) * pace_s + np.maximum(pace_s, whole_s)))


def left_out_s(work: Sequence[Work], every: Sequence[Rows], most: int) -> float:
    """Bound a microbatch's pace where some pool runs none of its first `most` rows.

    Parameters
    ----------
    every : rows of each pool that agree in their common choices
    """
    least = []
    for place in range(len(work)):
        if len(every[place]) <= most:
            continue
        rows = [own if at != place else own[most:] for at, own in enumerate(every)]
        pairs = list(zip(work, rows, strict=True))
        value = sum(float((w.stages[own] / w.model_s[own]).max()) for w, own in pairs)
        shares = [(w.layer_s[:, own] / w.model_s[own]).min(axis=1) for w, own in pairs]
        least.append(MARGIN * float(work[0].many @ np.min(shares, axis=0)) / value)
    return min(least, default=np.inf)
