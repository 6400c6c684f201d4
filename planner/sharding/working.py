"""Bytes at work: what a device holds for a moment beyond what it keeps.

While an operator's backward pass runs, its tensors stand there in the layout in which it reads
them, with their gradients, and weights that are stored in pieces are gathered, with their
gradient. The largest such moment is what a device must leave room for beside weights, states and
kept activations. What is kept anyway is counted again, so this is never too low; buffers of
libraries are not known here. Knows options and picks; no seconds.
"""

from collections.abc import Sequence

import numpy as np

from costmodels.units import Column
from planner.operator_graph import Operand
from planner.sharding.layouts import Layouts, local_elements
from planner.sharding.problem import ShardingProblem

__all__ = ["gathers", "working_bytes", "works_on"]


def works_on(made: ShardingProblem) -> dict[int, Column]:
    """Return the activations that every option of every operator works on, by decision."""
    found: dict[int, Column] = {}
    operators = {op.name: op for op in made.graph.operators}
    for index, node in enumerate(made.nodes):
        if node.kind != "operator":
            continue
        op = operators[node.name]
        held = _bytes(made, op.result, node.source.layout)
        for place, operand in enumerate(op.operands):
            if not made.graph.tensors[operand.tensor].parameter:
                held = held + _bytes(made, operand, node.sinks[place].layout)
        found[index] = held
    return found


def gathers(made: ShardingProblem) -> list[tuple[int, int, Column]]:
    """Return what is gathered of a weight, by decisions: how it is stored, who reads it.

    Each table is over the options of both: bytes of the weight and its gradient as the reader
    needs them, 0 where they are kept so.
    """
    found = []
    for edge in made.edges:
        if edge.stored is not None and made.nodes[edge.second].kind == "operator":
            weight = Operand(edge.tensor.name, ())
            kept = _bytes(made, weight, edge.source.layout)[:, None]
            read = _bytes(made, weight, edge.sink.layout)[None, :]
            found.append((edge.first, edge.second, np.where(read > kept, read, 0.0)))
    return found


def working_bytes(made: ShardingProblem, picks: Sequence[int]) -> float:
    """Return the most that one operator works on, gathered weights included."""
    held = {d: float(column[picks[d]]) for d, column in works_on(made).items()}
    for first, second, table in gathers(made):
        held[second] += float(table[picks[first], picks[second]])
    return max(held.values(), default=0.0)


def _bytes(made: ShardingProblem, operand: Operand, layouts: Layouts) -> Column:
    """Local bytes of a tensor and, where one flows, of its gradient."""
    tensor = made.graph.tensors[operand.tensor]
    gradient = 0.0 if tensor.given else tensor.element_bytes
    if tensor.parameter and not tensor.given:
        gradient = made.figures.gradient_bytes
    elements = local_elements(tensor, made.mesh, layouts)
    return np.asarray(elements * (tensor.element_bytes + gradient))
