"""Which layers stand on which pipeline stage, and how many stages look alike.

A layout deals the decoder layers to pp * vpp chunks in forward order; chunk c runs on stage
c mod pp. Stages with the same layers cost the same, so a plan is priced by its distinct stages:
the slots. Knows counts of layers by kind; no seconds, no bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.dims import ParallelDims
from planner.fold import Folding

__all__ = ["Slots", "even_layout", "every_stage", "lean_layout", "slots_of"]


@dataclass(frozen=True, slots=True)
class Slots:
    """Distinct stages of each plan, as (slots, rows) arrays; unused slots have multiplicity 0.

    `counts[k]` layers of kind k; `position` of the first such stage; `last_position` of the last;
    `first`, `last`: 1 where the stage holds the embedding, the head.
    """

    counts: NDArray[np.float64]  # (kinds, slots, rows)
    multiplicity: NDArray[np.float64]
    position: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]

    @property
    def layers(self) -> NDArray[np.float64]:
        """Layers of a stage."""
        return np.asarray(self.counts.sum(axis=0))

    def spread(self, folded: Folding) -> "Slots":
        """Return the slots of all rows, from those of the distinct ones."""
        parts = (self.counts, self.multiplicity, self.position, self.first, self.last)
        return Slots(*(np.asarray(folded.spread(part)) for part in parts))


def even_layout(layers: int, chunks: int) -> tuple[int, ...]:
    """Layers of each chunk, as even as can be.

    The chunks that hold one more are the last ones but the very last, which has the head; then
    the first; then the last: late stages hold fewer activations.

    >>> even_layout(126, 8)
    (15, 15, 16, 16, 16, 16, 16, 16)
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


def lean_layout(layers: int, chunks: int, lean: int) -> tuple[int, ...]:
    """Layers of each chunk when the last one holds `lean` fewer than even.

    >>> lean_layout(61, 16, 2)
    (4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1)
    """
    if lean == 0 or chunks == 1:
        return even_layout(layers, chunks)
    last = layers // chunks - lean
    return (*even_layout(layers - last, chunks - 1), last)


Pattern = tuple[tuple[tuple[int, ...], int, int, int, int], ...]
"""Distinct stages: (counts by kind, multiplicity, first position, is first, is last)."""


@lru_cache(maxsize=4096)
def _pattern(kinds: tuple[int, ...], pp: int, vpp: int, layout: tuple[int, ...]) -> Pattern:
    width = max(kinds) + 1
    stages = np.zeros((pp, width), int)
    start = 0
    for chunk, size in enumerate(layout):
        for kind in kinds[start : start + size]:
            stages[chunk % pp, kind] += 1
        start += size
    distinct: dict[tuple[tuple[int, ...], int, int], list[int]] = {}
    for stage in range(pp):
        key = (tuple(int(c) for c in stages[stage]), int(stage == 0), int(stage == pp - 1))
        distinct.setdefault(key, []).append(stage)
    return tuple(
        (counts, len(where), where[0], first, last)
        for (counts, first, last), where in distinct.items()
    )


def slots_of(
    kinds: Sequence[int], dims: ParallelDims, pinned: Sequence[int] | None = None
) -> Slots:
    """Slots of every plan.

    Parameters
    ----------
    kinds  : index of the kind of each decoder layer
    pinned : `layers_per_stage` of the job, pp * vpp entries; None: as even as can be
    """
    kinds = tuple(kinds)
    keys = (dims.pp * 1e5 + dims.vpp) * 1e3 + dims.lean
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    patterns: list[Pattern] = []
    for one in first:
        pp, vpp, lean = int(dims.pp[one]), int(dims.vpp[one]), int(dims.lean[one])
        layout = tuple(pinned) if pinned else lean_layout(len(kinds), pp * vpp, lean)
        patterns.append(_pattern(kinds, pp, vpp, layout))
    width = max(kinds) + 1
    deep = max(len(pattern) for pattern in patterns)
    table = np.zeros((width + 4, deep, len(patterns)))
    for column, pattern in enumerate(patterns):
        for slot, (counts, many, position, is_first, is_last) in enumerate(pattern):
            table[:, slot, column] = (*counts, many, position, is_first, is_last)
    rows = table[:, :, inverse]
    return Slots(rows[:width], rows[width], rows[width + 1], rows[width + 2], rows[width + 3])


def every_stage(kinds: Sequence[int], pp: int, vpp: int, layout: Sequence[int]) -> Slots:
    """Return one plan's stages, each a slot of its own, first to last."""
    counts = np.zeros((max(kinds) + 1, pp, 1))
    start = 0
    for chunk, size in enumerate(layout):
        for kind in kinds[start : start + size]:
            counts[kind, chunk % pp, 0] += 1.0
        start += size
    stage = np.arange(pp, dtype=float)[:, None]
    first, last = (stage == 0).astype(float), (stage == pp - 1).astype(float)
    return Slots(counts, np.ones_like(stage), stage, first, last)
