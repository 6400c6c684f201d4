"""One mesh's pipeline as tables: runs of layers for every stage, priced, and how they follow.

Keys are the counts of layers by kind that a stage may hold; a row is a key with a choice of
recomputation; every row has its seconds and whether it fits on every stage. States say which
layers are dealt so far. Without virtual stages a run is contiguous and a state is where it ends.
With them a stage holds chunks from all over the model: a state is the count of layers dealt by
kind, in any order, which is exact for one kind of layer and a relaxation for several.

Refuses to search: a solver walks the tables, and `staging_of_rows` reads its walk.

Parts: `StageTables`, `stage_tables`, `staging_of_rows`, `MOST_STATES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.dims import ParallelDims
from planner.strategy import Strategy
from planner.workloads.training.context import Context
from planner.workloads.training.stage_prices import Runs, price_runs, stage_choices
from planner.workloads.training.staging import StageChoice, Staging

__all__ = ["MOST_STATES", "StageTables", "stage_tables", "staging_of_rows"]

Figures = NDArray[np.float64]
Index = NDArray[np.intp]
Key = tuple[int, ...]

MOST_STATES = 20_000
"""States above which a mesh is not dealt: many kinds of layers on virtual stages."""


@dataclass(frozen=True, slots=True)
class StageTables:
    """Tables of one mesh; the names are those of a search over runs.

    Parameters
    ----------
    start       : first row of every key; keys : counts by kind; choice : of every row
    cost, load  : (rows, stages) idle seconds that a stage causes, its seconds; cost inf: no fit
    before, key : (states, arcs) as in a search over runs; -1: no arc
    weight      : of the slowest stage's seconds
    """

    start: Index
    keys: Sequence[Key]
    choice: Sequence[StageChoice]
    cost: Figures
    load: Figures
    before: Index
    key: Index
    weight: float


def stage_tables(
    context: Context,
    dims: ParallelDims,
    strategy: Strategy,
    limit_bytes: float,
    slowest_s: Column,
    longest: int,
) -> list[StageTables] | None:
    """Price the runs of meshes that have the same stages and virtual stages.

    Parameters
    ----------
    dims      : meshes; their recomputation, `lean` and `staging` do not matter
    slowest_s : no stage is to be slower, by mesh
    longest   : most layers of a stage that are tried
    Returns None where there are more than `MOST_STATES`.
    """
    pp, vpp = int(dims.pp[0]), int(dims.vpp[0])
    kinds = tuple(context.kinds)
    fewest = len(kinds) - (pp - 1) * longest  # the other stages hold no more
    walked = _contiguous(kinds, longest) if vpp == 1 else _anywhere(kinds, longest, vpp, fewest)
    if walked is None:
        return None
    keys, before, arcs = walked
    start, which, choice = _rows(context, strategy, keys)
    counts = np.array(keys, float).T[:, which]
    runs = Runs(
        np.repeat(counts, pp, axis=1),
        choice,
        np.tile(np.arange(pp, dtype=float), len(choice)),
        pp,
    )
    price = price_runs(context, dims, runs)
    shape = (len(choice), pp, len(dims))
    load, held = price.seconds.reshape(shape), price.bytes.reshape(shape)
    fits = (held <= limit_bytes) & (load <= slowest_s)
    layers = counts.sum(axis=0)
    fits[:, 1:-1] &= (layers >= vpp)[:, None, None]
    fits[:, [0, -1]] &= (layers >= vpp - 1)[:, None, None]
    scale = np.where(layers[:, None, None] > 0, price.scale.reshape(shape), np.inf).min(axis=(0, 1))
    cost = np.where(fits, scale * load, np.inf)
    weight = dims.microbatches - scale
    return [
        StageTables(
            start, keys, choice, np.ascontiguousarray(cost[:, :, i]),
            np.ascontiguousarray(load[:, :, i]), before, arcs, float(weight[i]),
        )
        for i in range(len(dims))
    ]  # fmt: skip


def _rows(
    context: Context, strategy: Strategy, keys: Sequence[Key]
) -> tuple[Index, Index, list[StageChoice]]:
    """Give every key its choices: first row of each key, the key of each row, its choice."""
    start: list[int] = []
    which: list[int] = []
    choice: list[StageChoice] = []
    by_layers: dict[int, tuple[StageChoice, ...]] = {}
    for number, key in enumerate(keys):
        start.append(len(choice))
        layers = sum(key)
        if layers not in by_layers:
            by_layers[layers] = stage_choices(context, strategy, layers)
        made = by_layers[layers]
        choice += made
        which += [number] * len(made)
    return np.array(start), np.array(which), choice


Walk = tuple[list[Key], Index, Index]


def _dealt(kinds: Sequence[int]) -> Index:
    """Layers of each kind before every layer, and after the last: (layers + 1, kinds)."""
    one = np.eye(max(kinds) + 1, dtype=int)[list(kinds)]
    return np.concatenate([one[:1] * 0, np.cumsum(one, axis=0)])


def _lengths(kinds: Sequence[int], longest: int) -> list[Key]:
    """List the counts by kind of all contiguous runs that are not empty, each once."""
    steps = _dealt(kinds)
    runs = [steps[many:] - steps[:-many] for many in range(1, min(longest, len(kinds)) + 1)]
    return [tuple(map(int, run)) for run in np.unique(np.concatenate(runs), axis=0)] if runs else []


def _contiguous(kinds: Sequence[int], longest: int) -> Walk:
    """Keys of all contiguous runs; states are ends, arcs lengths."""
    layers, steps = len(kinds), _dealt(kinds)
    ids: dict[Key, int] = {}
    arcs = np.full((layers + 1, longest + 1), -1, np.intp)
    for end in range(layers + 1):
        for length in range(min(longest, end) + 1):
            key = tuple(int(n) for n in steps[end] - steps[end - length])
            arcs[end, length] = ids.setdefault(key, len(ids))
    before = np.maximum(np.arange(layers + 1)[:, None] - np.arange(longest + 1), 0)
    return list(ids), before, arcs


def _anywhere(kinds: Sequence[int], longest: int, chunks: int, fewest: int = 0) -> Walk | None:
    """Keys of all counts by kind that so many chunks may hold; states are the counts dealt.

    `fewest`, `longest`: layers of a stage.
    """
    totals = [kinds.count(kind) for kind in range(max(kinds) + 1)]
    size = int(np.prod([total + 1.0 for total in totals]))
    if size > MOST_STATES:
        return None
    keys = [key for key in _of_chunks(kinds, longest, chunks) if sum(key) >= fewest]
    if not keys:
        return None
    shape = [total + 1 for total in totals]
    states, dealt = np.indices(shape).reshape(len(shape), size), np.array(keys).T
    possible = np.ones((size, len(keys)), bool)
    for state, count in zip(states, dealt, strict=True):
        possible &= state[:, None] >= count
    number = np.ravel_multi_index(tuple(dealt), shape)
    before = np.arange(size)[:, None] - number  # counts that nowhere exceed: nothing is borrowed
    arcs = np.where(possible, np.arange(len(keys)), -1)
    return keys, np.where(possible, before, 0), arcs


def _of_chunks(kinds: Sequence[int], longest: int, chunks: int) -> list[Key]:
    """List counts by kind that `chunks` runs of layers hold together, each contiguous or empty.

    Where kinds alternate, a run of n layers holds about as many of each: a stage cannot have all
    of its layers of one kind. Runs may overlap here, so that some counts are not to be had.
    """
    single = _lengths(kinds, longest)
    size = tuple(min(kinds.count(kind), longest) + 1 for kind in range(max(kinds) + 1))
    held = np.zeros(size, bool)
    held[(0,) * len(size)] = True
    for _ in range(chunks):
        more = held.copy()
        for run in single:
            into = tuple(slice(n, None) for n in run)
            from_ = tuple(slice(0, max(0, s - n)) for n, s in zip(run, size, strict=True))
            more[into] |= held[from_]
        if np.array_equal(more, held):
            break
        held = more
    return [tuple(int(n) for n in key) for key in np.argwhere(held) if key.sum() <= longest]


def staging_of_rows(tables: StageTables, rows: Sequence[int], vpp: int) -> Staging:
    """Read a walk, a row for every stage, as a staging; chunks of a stage are as even as can be.

    Where a stage has fewer layers than chunks, the empty one is the pipeline's first or last.
    """
    which = np.searchsorted(tables.start, np.array(rows), side="right") - 1
    totals = [sum(tables.keys[key]) for key in which]
    chunks = np.zeros((vpp, len(rows)), int)
    for stage, total in enumerate(totals):
        each, more = divmod(total, vpp)
        chunks[:, stage] = each
        late = stage < len(rows) - 1  # the last stage's last chunk has the head
        if late:
            chunks[vpp - more :, stage] += 1
        else:
            chunks[:more, stage] += 1
    layers = tuple(int(n) for n in chunks.reshape(-1))
    return Staging(layers, tuple(tables.choice[row] for row in rows))
