"""Bytes at work: what a device holds for a moment beyond what it keeps.

While an operator's backward pass runs, its tensors stand there in the layout in which it reads
them, with their gradients, and weights that are stored in pieces are gathered with their
gradient. The largest such moment is what a device must leave room for beside weights, states and
kept activations. What is kept anyway is counted again, so this is never too low; buffers of
libraries are not known here. Knows picks; no seconds.
"""

from collections.abc import Sequence

from planner.operator_graph import Operand, OperatorGraph
from planner.sharding.layouts import Layouts, local_elements
from planner.sharding.problem import ShardingProblem

__all__ = ["working_bytes"]


def working_bytes(made: ShardingProblem, picks: Sequence[int]) -> float:
    """Return the most that one operator works on, in bytes of one device."""
    stored = {
        node.name: (node, pick)
        for node, pick in zip(made.nodes, picks, strict=True)
        if node.kind == "parameter"
    }
    most = 0.0
    for node, pick in zip(made.nodes, picks, strict=True):
        if node.kind != "operator":
            continue
        op = next(o for o in made.graph.operators if o.name == node.name)
        held = _bytes(made, op.result, node.source.layout[pick : pick + 1])
        for place, operand in enumerate(op.operands):
            read = _bytes(made, operand, node.sinks[place].layout[pick : pick + 1])
            if operand.tensor in stored:
                weight, how = stored[operand.tensor]
                kept = _bytes(made, operand, weight.source.layout[how : how + 1])
                read = read if read > kept else 0.0
            held += read
        most = max(most, held)
    return most


def _bytes(made: ShardingProblem, operand: Operand, layout: Layouts) -> float:
    """Local bytes of a tensor and, where one flows, of its gradient."""
    graph: OperatorGraph = made.graph
    tensor = graph.tensors[operand.tensor]
    elements = float(local_elements(tensor, made.mesh, layout)[0])
    gradient = 0.0 if tensor.given else tensor.element_bytes
    if tensor.parameter and not tensor.given:
        gradient = made.figures.gradient_bytes
    return elements * (tensor.element_bytes + gradient)
