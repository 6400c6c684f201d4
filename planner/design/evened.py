"""What a pipeline would cost if all its stages were alike, and what a plan changed on them.

The same mesh with layers as even as can be and one recomputation everywhere, the best that fits,
priced by the plan's own cost; and the plan's stages in words. Knows one plan; asks no search.

Parts: `Evened`, `evened`, `moved`.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from planner.design.one_plan import OnePlan
from planner.dims import ParallelDims
from planner.workloads import training
from planner.workloads.training.stages import even_layout
from planner.workloads.training.staging import (
    Mode,
    StageChoice,
    Staging,
    mode_said,
    mode_written,
)

__all__ = ["Evened", "evened", "moved"]


@dataclass(frozen=True, slots=True)
class Evened:
    """The plan's mesh with stages alike.

    Parameters
    ----------
    layers    : of every chunk; recompute: of every stage, as a strategy says it
    step_s    : its step; memory_bytes: its fullest stage
    fits      : in the memory limit; where nothing fits, this is the plan of least bytes
    slowest   : its slowest stage; slowest_s: seconds of one microbatch on it
    plan_slowest, plan_slowest_s : those of the plan itself
    """

    layers: tuple[int, ...]
    recompute: Mode
    step_s: float
    memory_bytes: float
    fits: bool
    slowest: int
    slowest_s: float
    plan_slowest: int
    plan_slowest_s: float


def evened(plan: OnePlan) -> Evened | None:
    """Price the plan's mesh with stages alike; None where the plan's are as even as can be."""
    even = even_layout(sum(plan.layout), len(plan.layout))
    if plan.context.parts or plan.degree("pp") == 1 or plan.staging == Staging(even):
        return None
    choices = training.stage_choices(plan.context, plan.job.strategy, max(even) + 1)
    context, code = plan.context.staged(Staging(even))
    row = plan.dims(staging=code, lean=0.0).row(0)
    dims = ParallelDims.from_columns(
        row
        | {
            "recompute": np.array([float(c.recompute or 0) for c in choices]),
            "recompute_layers": np.array([c.recompute_layers for c in choices]),
        }
    )
    price = training.cost(context, dims)
    step_s, used = np.asarray(price.total_s), np.asarray(price.total_bytes)
    fits = used <= context.memory_limit_bytes
    at = int(np.argmin(np.where(fits, step_s, np.inf) if fits.any() else used))
    seconds = training.stage_seconds(context, dims.part(at, at + 1))
    own = training.stage_seconds(plan.context, plan.dims())
    choice = choices[at]
    return Evened(
        even, mode_written(choice.recompute or 0, choice.recompute_layers), float(step_s[at]),
        float(used[at]), bool(fits[at]), int(np.argmax(seconds)), max(seconds),
        int(np.argmax(own)), max(own),
    )  # fmt: skip


def moved(plan: OnePlan) -> str:
    """Say what the plan's stages hold: `4 layers on stages 0-14, 1 on stage 15; full ...`."""
    pp, staging = plan.degree("pp"), plan.staging
    layers = [staging.of_stage(stage, pp) for stage in range(pp)]
    said = _ranges([f"{count} layers" for count in layers])
    if staging.stages:
        said += "; recompute " + _ranges([_mode(choice) for choice in staging.stages])
    return said


def _mode(choice: StageChoice) -> str:
    mode = mode_written(choice.recompute or 0, choice.recompute_layers)
    return mode_said(mode).replace(" layers in full", " in full")


def _ranges(words: list[str]) -> str:
    """Join equal neighbours: `8 layers on stages 0-14, 6 layers on stage 15`."""
    said, start = [], 0
    for word, run in groupby(words):
        stop = start + len(list(run)) - 1
        where = f"stage {start}" if start == stop else f"stages {start}-{stop}"
        said.append(f"{word} on {where}")
        start = stop + 1
    return ", ".join(said)
