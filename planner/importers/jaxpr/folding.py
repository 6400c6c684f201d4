"""Unrolled layers -> repeated regions: a run of operators that comes again and again stands once.

Two operators are alike where their labels, sizes and prices are, and what they read stands at the
same distance before them (or is a parameter of the same shape, or the same tensor from far away).
The longest run that repeats is folded first, then the next, outside loops only.

Parts: `folded`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planner.importers.jaxpr.operators import Parameter
from planner.operator_graph import Operand, Operator, OperatorGraph

__all__ = ["folded"]

Key = tuple[object, ...]
Run = tuple[int, int, int]
"""First operator, operators of one period, periods."""


def folded(
    graph: OperatorGraph, parameters: Mapping[str, Parameter]
) -> tuple[OperatorGraph, dict[str, Parameter]]:
    """Fold repeated runs of a graph; parameters of the same place become one tensor."""
    known = dict(parameters)
    ops = graph.operators
    runs = _runs(ops, known)
    renamed: dict[str, str] = {}
    repeated = dict(graph.repeated)
    kept: list[Operator] = []
    at = 0
    for number, (start, period, times) in enumerate(runs, 1):
        kept += ops[at:start]
        name = "layers" if len(runs) == 1 else f"layers.{number}"
        first, last = ops[start : start + period], ops[start + (times - 1) * period :][:period]
        pairs = _carried(first, ops[start + period : start + 2 * period])
        repeated[name] = (times, pairs)
        kept += [dataclasses.replace(op, repeats=times, region=name) for op in first]
        for op, same in zip(last, first, strict=True):
            renamed[op.result.tensor] = same.result.tensor
        _join_parameters(ops, (start, period, times), known)
        at = start + period * times
    kept += ops[at:]
    made = tuple(_renamed(op, renamed) for op in kept)
    repeated = {
        name: (times, tuple((end, renamed.get(start, start)) for end, start in pairs))
        for name, (times, pairs) in repeated.items()
    }
    used = {o.tensor for op in made for o in (*op.operands, op.result, *op.inner)}
    used |= {tensor for _, pairs in repeated.values() for pair in pairs for tensor in pair}
    own = {name for name in known if known[name] is not parameters[name]}  # one in every pass
    tensors = {
        name: dataclasses.replace(tensor, shared=tensor.shared and name not in own)
        for name, tensor in graph.tensors.items()
        if name in used
    }
    known = {name: parameter for name, parameter in known.items() if name in used}
    return dataclasses.replace(graph, operators=made, tensors=tensors, repeated=repeated), known


def _runs(ops: Sequence[Operator], parameters: Mapping[str, Parameter]) -> list[Run]:
    """List the runs to fold, in order, none over another."""
    ids: dict[Key, int] = {}
    keys = np.array([ids.setdefault(key, len(ids)) for key in _keys(ops, parameters)], np.int64)
    free = np.array([not op.region for op in ops], bool)
    last = np.arange(len(ops))  # the last operator that reads each result
    maker = {op.result.tensor: index for index, op in enumerate(ops)}
    for index, op in enumerate(ops):
        for operand in op.operands:
            if operand.tensor in maker:
                last[maker[operand.tensor]] = index
    runs: list[Run] = []
    while (best := _longest(keys, free, last)) is not None:
        runs.append(best)
        free[best[0] : best[0] + best[1] * best[2]] = False
    return sorted(runs)


def _longest(
    keys: NDArray[np.int64], free: NDArray[np.bool_], last: NDArray[np.int64]
) -> Run | None:
    """Return the run that saves the most operators; of two, the one of the shorter period.

    What a period makes is read by itself and the next alone, but for the last period.
    """
    best: Run | None = None
    saved = 0
    for period in range(1, len(keys) // 2 + 1):
        alike = (keys[:-period] == keys[period:]) & free[:-period] & free[period:]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], alike.astype(np.int8), [0]])))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            periods = int(stop - start) // period
            own = np.arange(int(start), int(start) + periods * period)
            end = int(start) + ((own - int(start)) // period + 2) * period
            if periods * period > saved and np.all(last[own] < end):
                saved, best = periods * period, (int(start), period, periods + 1)
    return best


def _keys(ops: Sequence[Operator], parameters: Mapping[str, Parameter]) -> list[Key]:
    maker = {op.result.tensor: index for index, op in enumerate(ops)}
    readers: dict[str, list[int]] = {}
    for index, op in enumerate(ops):
        for operand in op.operands:
            readers.setdefault(operand.tensor, []).append(index)
    far = {
        tensor for tensor, at in readers.items()
        if len(at) > 2 and at[-1] - at[0] > len(ops) // 3 and tensor not in parameters
    }  # fmt: skip
    shared = {tensor for tensor, at in readers.items() if len(at) > 1 and tensor in parameters}

    def read(index: int, operand: Operand) -> Key:
        name = operand.tensor
        if name in parameters and name not in shared:
            return ("parameter", operand.labels, operand.saved)
        if name in far or name not in maker:
            return (name, operand.labels, operand.saved)
        return (index - maker[name], operand.labels, operand.saved)

    return [
        (
            (op.kind, op.flop, op.traffic_bytes, op.backward, tuple(sorted(op.whole))),
            (tuple(op.sizes.items()), op.result.labels, op.result.saved),
            tuple(inner.labels for inner in op.inner),
            tuple(read(index, operand) for operand in op.operands),
        )
        for index, op in enumerate(ops)
    ]


def _carried(first: Sequence[Operator], second: Sequence[Operator]) -> tuple[tuple[str, str], ...]:
    """Return what one pass makes and the next reads, with what the first pass read instead."""
    made = {op.result.tensor for op in first}
    pairs: dict[tuple[str, str], None] = {}
    for one, next_ in zip(first, second, strict=True):
        for before, after in zip(one.operands, next_.operands, strict=True):
            if after.tensor in made and before.tensor not in made:
                pairs[after.tensor, before.tensor] = None
    return tuple(pairs)


def _join_parameters(ops: Sequence[Operator], run: Run, known: dict[str, Parameter]) -> None:
    start, period, times = run
    for place in range(period):
        for slot, operand in enumerate(ops[start + place].operands):
            if operand.tensor not in known:
                continue
            others = [ops[start + place + n * period].operands[slot].tensor for n in range(times)]
            if len(set(others)) == 1:
                continue
            paths = tuple(dict.fromkeys(p for name in others for p in known[name].paths))
            known[operand.tensor] = dataclasses.replace(known[operand.tensor], paths=paths)


def _renamed(op: Operator, renamed: Mapping[str, str]) -> Operator:
    operands = tuple(
        dataclasses.replace(o, tensor=renamed.get(o.tensor, o.tensor)) for o in op.operands
    )
    return dataclasses.replace(op, operands=operands)
