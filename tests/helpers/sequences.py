"""Problems over one sequence: random small ones, and pipelines of layers on stages."""

from collections.abc import Sequence as Ordered

import numpy as np
from problems import column

from costmodels.breakdown import Breakdown, Memory, Term
from planner.problem import Bottleneck, Decision, Limit, Problem, Sequence

__all__ = ["pipeline", "random_sequence"]

MODES = ((1.0, 10.0), (1.13, 4.0), (1.33, 1.0), (1.2, 3.0), (1.25, 2.0))
"""Seconds and kept activations of a layer by recompute mode."""
KINDS = ((1.0, 1.0), (1.37, 1.6))
"""Seconds, and states, of a layer of each kind, over those of the first; activations too."""


def random_sequence(seed: int, most: int = 6) -> Problem:
    """Draw a problem over one sequence: alike items, ties, infinities, any magnitude, limits."""
    rng = np.random.default_rng(seed)
    items, groups = int(rng.integers(1, most + 1)), int(rng.integers(1, 4))
    unit, ties = float(10.0 ** rng.integers(-6, 7)), bool(rng.random() < 0.3)
    kinds = [_kind(rng, groups, unit, ties) for _ in range(int(rng.integers(1, items + 1)))]
    of = [int(rng.integers(len(kinds))) for _ in range(items)]
    if rng.random() < 0.5:
        of.sort()
    limits = tuple(
        Limit(f"limit {g}", f"of {g}", tuple(i for i in range(items) if rng.random() < 0.9),
              float(rng.integers(-1 if rng.random() < 0.02 else 0, 16)))
        for g in range(groups) if rng.random() < 0.7
    )  # fmt: skip
    bottlenecks: tuple[Bottleneck, ...] = ()
    if rng.random() < 0.8:
        base = tuple(float(b) for b in unit * rng.random(groups) * 3) if rng.random() < 0.5 else ()
        loads = tuple({i: kinds[k][2][g] for i, k in enumerate(of)} for g in range(groups))
        weight = float(rng.choice([0.0, 0.5, 1.0, 7.0]))
        bottlenecks = (Bottleneck("slowest", weight, loads, base),)
    return Problem(
        tuple(kinds[k][0] for k in of),
        (),
        limits,
        bottlenecks,
        (Sequence(tuple(range(items)), groups, tuple(kinds[k][1] for k in of),
                  bool(rng.random() < 0.5)),),
        column(unit * float(rng.integers(-2, 3))),
    )  # fmt: skip


def _kind(
    rng: np.random.Generator, groups: int, unit: float, ties: bool
) -> tuple[Decision, np.ndarray, list[np.ndarray]]:
    """Draw what items may be alike in: options with their groups, costs, usages and loads."""
    count = int(rng.integers(1, 7))
    group = rng.integers(0, groups, count).astype(np.intp)
    drawn = rng.integers(0, 3, count).astype(float) if ties else rng.normal(2.0, 3.0, count)
    seconds = np.where(rng.random(count) < 0.05, np.inf, unit * drawn)
    usage: dict[str, object] = {}
    loads = []
    for g in range(groups):
        whole = rng.random() < 0.7
        used = rng.integers(0, 6, count).astype(float) if whole else rng.random(count) * 6.0
        usage[f"of {g}"] = np.where(group == g, used, 0.0)
        load = rng.integers(0, 4, count) if ties else rng.random(count) * 5.0
        loads.append(np.where(group == g, unit * load, 0.0))
    return Decision("d", tuple(map(str, range(count))), column(seconds, usage)), group, loads


def pipeline(
    kinds: Ordered[int], stages: int, modes: int, microbatches: int, room: float
) -> Problem:
    """Layers of two kinds on stages: recompute modes, activations in flight by position.

    Parameters
    ----------
    kinds : 0 or 1 for every layer
    room  : capacity over what an even share of the layers holds midway with half recomputed
    """
    options = [_layer(scale, act, stages, modes, microbatches) for scale, act in KINDS]
    names = tuple(f"stage {s}, mode {m}" for s in range(stages) for m in range(modes))
    decisions = tuple(Decision(f"layer {i}", names, options[k][0]) for i, k in enumerate(kinds))
    layers = tuple(range(len(kinds)))
    loads = tuple({i: options[k][1][s] for i, k in enumerate(kinds)} for s in range(stages))
    ends = [0.0] * stages
    ends[0], ends[-1] = ends[0] + 0.1, ends[-1] + 2.3
    capacity = room * len(kinds) / stages * (2.5 + 0.5 * min(microbatches, stages / 2))
    limits = tuple(Limit(f"stage {s}", f"stage {s}", layers, capacity) for s in range(stages))
    slowest = Bottleneck("slowest", microbatches - 1.0, loads, tuple(ends))
    group_of = np.repeat(np.arange(stages), modes)
    sequence = Sequence(layers, stages, (group_of,) * len(kinds), empty=True)
    return Problem(decisions, (), limits, (slowest,), (sequence,))


def _layer(
    scale: float, act: float, stages: int, modes: int, microbatches: int
) -> tuple[Breakdown, list[np.ndarray]]:
    seconds = np.tile([scale * s for s, _ in MODES[:modes]], stages)
    stage = np.repeat(np.arange(stages), modes)
    flight = np.minimum(microbatches, stages - stage)
    held = 2.0 * scale + 0.1 * flight * np.tile([act * kept for _, kept in MODES[:modes]], stages)
    memory = tuple(
        Memory("held", f"stage {s}", np.where(stage == s, held, 0.0), "test") for s in range(stages)
    )
    cost = Breakdown((Term("fill and drain", "compute", seconds, "test"),), memory)
    return cost, [np.where(stage == s, seconds, 0.0) for s in range(stages)]
