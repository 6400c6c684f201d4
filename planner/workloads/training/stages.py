"""Which layers stand on which pipeline stage, and how many stages look alike.

A layout deals the decoder layers to pp * vpp chunks in forward order; chunk c runs on stage
c mod pp. Stages with the same layers and choices cost the same, so a plan is priced by its distinct
stages: the slots. Knows counts of layers by kind and choices; no seconds, no bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.dims import ParallelDims
from planner.fold import Folding, fold
from planner.workloads.training.staging import StageChoice, Staging

__all__ = [
    "ENDS",
    "Slots",
    "even_layout",
    "every_stage",
    "last_layout",
    "lean_layout",
    "short_layout",
    "slots_of",
    "staging_at",
]

ENDS = 2
"""Virtual stages that need no layer: the first may hold the embedding alone, the last the head."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Distinct stages of each plan, as (slots, rows) arrays; unused slots have multiplicity 0.

    `counts[k]` layers of kind k; `position` of the first such stage; `first`, `last`: 1 where the
    stage holds the embedding, the head. `recompute`, `recompute_layers`, `offload`: what each
    stage chooses, as in `ParallelDims`; (1, rows) where all stages of each plan choose alike.
    """

    counts: NDArray[np.float64]  # (kinds, slots, rows)
    multiplicity: NDArray[np.float64]
    position: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    recompute: NDArray[np.float64]
    recompute_layers: NDArray[np.float64]
    offload: NDArray[np.float64]

    @property
    def layers(self) -> NDArray[np.float64]:
        """Layers of a stage."""
        return np.asarray(self.counts.sum(axis=0))

    def end(self, at: str) -> NDArray[np.float64]:
        """Return 1 where a stage is the "first", or the "last"."""
        return self.first if at == "first" else self.last

    def spread(self, folded: Folding) -> "Slots":
        """Return the slots of all rows, from those of the distinct ones."""
        parts = (getattr(self, field.name) for field in fields(self))
        return Slots(*(np.asarray(folded.spread(part)) for part in parts))


def even_layout(layers: int, chunks: int) -> tuple[int, ...]:
    """Layers of each chunk, as even as can be.

    The chunks that hold one more are the last ones but the very last, which has the head; then
    the first; then the last: late stages hold fewer activations.

    >>> even_layout(126, 8)
    (15, 16, 16, 16, 16, 16, 16, 15)
    >>> even_layout(6, 8)
    (0, 1, 1, 1, 1, 1, 1, 0)
    """
    base, extra = divmod(layers, chunks)
    order = [*range(chunks - 2, 0, -1), 0, chunks - 1] if chunks > 1 else [0]
    order = list(dict.fromkeys(order))
    given = [base] * chunks
    if chunks > 1 and extra == chunks - 1:
        order = [*range(chunks - 1, -1, -1)]
    for chunk in order[:extra]:
        given[chunk] += 1
    return tuple(given)


def last_layout(layers: int, chunks: int) -> tuple[int, ...]:
    """Layers of each chunk, as even as can be, one more on the last ones.

    >>> last_layout(32, 5)
    (6, 6, 6, 7, 7)
    """
    base, extra = divmod(layers, chunks)
    return (base,) * (chunks - extra) + (base + 1,) * extra


def short_layout(layers: int, chunks: int, virtual: bool) -> tuple[int, ...]:
    """Layers of each chunk when all hold as many but the last, which has what is left.

    Its head, and modules that predict further tokens, stand for the layers that it lacks; a
    `virtual` stage may hold these alone. As even as can be where the embedding and the head count
    as a layer each: so Megatron divides them by itself, and recipes give it the former layouts.

    >>> short_layout(61, 8, virtual=False), short_layout(126, 8, virtual=False)
    ((8, 8, 8, 8, 8, 8, 8, 5), (15, 16, 16, 16, 16, 16, 16, 15))
    """
    if chunks == 1 or (layers + ENDS) % chunks == 0:
        return even_layout(layers, chunks)
    most = -(-layers // chunks)
    last = max(0 if virtual else 1, layers - most * (chunks - 1))
    return (*even_layout(layers - last, chunks - 1), last)


def lean_layout(layers: int, chunks: int, lean: int) -> tuple[int, ...]:
    """Layers of each chunk when the last one holds `lean` fewer than even.

    >>> lean_layout(61, 16, 2)
    (4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1)
    """
    if lean == 0 or chunks == 1:
        return even_layout(layers, chunks)
    last = layers // chunks - lean
    return (*even_layout(layers - last, chunks - 1), last)


@dataclass(frozen=True, slots=True)
class _Alike:
    """Stages that are alike: counts by kind, how many, the first of them, ends, their choice."""

    counts: tuple[int, ...]
    multiplicity: int
    position: int
    first: int
    last: int
    choice: StageChoice

    def column(self) -> tuple[float, ...]:
        """Return the figures that `Slots` holds, own choices last, NaN where there is none."""
        c = self.choice
        mode = np.nan if c.recompute is None else float(c.recompute)
        layers = np.nan if c.recompute is None else c.recompute_layers
        offload = np.nan if c.offload is None else float(c.offload)
        ends = (float(self.first), float(self.last))
        return (*self.counts, self.multiplicity, self.position, *ends, mode, layers, offload)


def _dealt(kinds: Sequence[int], pp: int, layout: Sequence[int]) -> NDArray[np.intp]:
    """Layers of each kind on every stage, (stages, kinds)."""
    counts = np.zeros((pp, max(kinds) + 1), int)
    start = 0
    for chunk, size in enumerate(layout):
        for kind in kinds[start : start + size]:
            counts[chunk % pp, kind] += 1
        start += size
    return counts


@lru_cache(maxsize=4096)
def _alike(kinds: tuple[int, ...], pp: int, staging: Staging) -> tuple[_Alike, ...]:
    dealt = _dealt(kinds, pp, staging.layers)
    choices = staging.stages or (StageChoice(),) * pp
    distinct: dict[tuple[tuple[int, ...], int, int, StageChoice], list[int]] = {}
    for stage in range(pp):
        ends = (int(stage == 0), int(stage == pp - 1))
        key = (tuple(int(c) for c in dealt[stage]), *ends, choices[stage])
        distinct.setdefault(key, []).append(stage)
    return tuple(
        _Alike(counts, len(where), where[0], first, last, choice)
        for (counts, first, last, choice), where in distinct.items()
    )


def staging_at(layers: int, stagings: Sequence[Staging], dims: ParallelDims, index: int) -> Staging:
    """Return the staging of one plan: its own, or as even as can be but for `lean`."""
    code = int(dims.staging[index])
    if code:
        return stagings[code - 1]
    chunks = int(dims.pp[index] * dims.vpp[index])
    return Staging(lean_layout(layers, chunks, int(dims.lean[index])))


def slots_of(kinds: Sequence[int], dims: ParallelDims, stagings: Sequence[Staging] = ()) -> Slots:
    """Slots of every plan.

    Parameters
    ----------
    kinds    : index of the kind of each decoder layer
    stagings : what the column `staging` counts into
    """
    kinds = tuple(kinds)
    folded = fold(dims, ("pp", "vpp", "lean", "staging"))
    patterns = [
        _alike(kinds, int(pp), staging_at(len(kinds), stagings, folded.few, one))
        for one, pp in enumerate(folded.few.pp)
    ]
    width = max(kinds) + 1
    deep = max(len(pattern) for pattern in patterns)
    table = np.zeros((width + 7, deep, len(patterns)))
    for column, pattern in enumerate(patterns):
        for slot, stage in enumerate(pattern):
            table[:, slot, column] = stage.column()
    own = any(s.choice != StageChoice() for pattern in patterns for s in pattern)
    if not own:
        table = table[:-3]
    return _chosen(table[:, :, folded.inverse], width, dims)


def _chosen(rows: NDArray[np.float64], width: int, dims: ParallelDims) -> Slots:
    """Make slots of `_Alike.column`s; own choices of stages, where there are, replace the plans'.

    Parameters
    ----------
    width : kinds of layers
    """
    own = rows[width + 4 :]
    modes, layers, offload = (
        np.where(np.isnan(own[i]), plan, own[i]) if len(own) else plan
        for i, plan in enumerate(
            (dims.recompute[None], dims.recompute_layers[None], dims.offload[None])
        )
    )
    many, position, first, last = rows[width : width + 4]
    return Slots(rows[:width], many, position, first, last, modes, layers, offload)


def every_stage(kinds: Sequence[int], dims: ParallelDims, staging: Staging) -> Slots:
    """Return one plan's stages, each a slot of its own, first to last."""
    pp = int(dims.pp[0])
    dealt = _dealt(kinds, pp, staging.layers)
    choices = staging.stages or (StageChoice(),) * pp
    columns = [
        _Alike(
            tuple(int(c) for c in dealt[s]), 1, s, int(s == 0), int(s == pp - 1), choices[s]
        ).column()
        for s in range(pp)
    ]
    return _chosen(np.array(columns).T[:, :, None], max(kinds) + 1, dims)
