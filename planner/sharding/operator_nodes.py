"""The decision of one operator: which label each axis splits, and what is kept how.

Knows one operator; what joins it to others is in `edges`.
"""

from dataclasses import replace

import numpy as np

from costmodels.breakdown import Memory, Term
from costmodels.overlap import exposed_s
from costmodels.units import Column
from planner.operator_graph import Operand, Operator, OperatorGraph, Tensor
from planner.sharding.layouts import OperatorOptions, local_elements, options_of
from planner.sharding.mesh import Mesh
from planner.sharding.nodes import (
    RESOURCE,
    Node,
    Port,
    in_pieces,
    kept_element_bytes,
    regather_s,
    with_pieces,
)
from planner.sharding.price import Figures, operator_time

__all__ = ["operator_node"]


def operator_node(
    graph: OperatorGraph,
    operator: Operator,
    mesh: Mesh,
    figures: Figures,
    single: frozenset[int],
    passes: int,
    pieces: bool,
) -> Node:
    """Make the decision of one operator.

    Parameters
    ----------
    single : operands (by place) whose tensor nobody else reads: what they keep is counted here
    passes : times that the graph runs in a step
    pieces : offer to keep operands in pieces where they are whole, and to gather them again
    """
    options = options_of(operator, mesh)
    time = operator_time(graph, options, figures)
    times = passes * operator.repeats
    source = "roofline; chip's kernel constants"
    terms = [
        Term(f"{time.name}, forward", time.kind, times * time.forward_s, source),
        Term(f"{time.name}, backward", time.kind, times * time.backward_s, source),
    ]
    share = 1.0 / (1.0 + sum(_flows(graph, o) for o in operator.operands))
    under = (share * time.forward_s, share * time.backward_s)
    sinks = {
        i: Port(
            options.operand(o.labels),
            options.gradient(o.labels),
            *(under if _flows(graph, o) else (time.forward_s, time.backward_s)),
            time.input_s if o.saved else None,
        )
        for i, o in enumerate(operator.operands)
    }
    made = Port(options.result(), options.wanted(), *under)
    node = Node("operator", operator.name, options.names(), tuple(terms), (), made, sinks,
                operator.region, operator.repeats)  # fmt: skip
    whole, again = _kept(graph, options, node, single)
    whole = whole + _inner(graph, options)
    kept = Memory("activations", RESOURCE, operator.repeats * whole, "kept for the backward pass")
    node = replace(node, memory=(kept,))
    if not pieces or not again:
        return node
    return _in_pieces_too(node, mesh, operator, again, times * 1.0)


def _flows(graph: OperatorGraph, operand: Operand) -> bool:
    tensor = graph.tensors[operand.tensor]
    return not (tensor.parameter or tensor.given)


Again = list[tuple[Tensor, float, Port]]


def _kept(
    graph: OperatorGraph, options: OperatorOptions, node: Node, single: frozenset[int]
) -> tuple[Column, Again]:
    """Bytes kept of the tensors that only this operator handles; those that come as operands."""
    operator = options.operator
    held = np.zeros(len(node.options))
    again: Again = []
    for i in sorted(single):
        operand = operator.operands[i]
        tensor = graph.tensors[operand.tensor]
        element = kept_element_bytes(graph, operand.tensor)
        if element > 0 and not tensor.parameter:
            held = held + element * _local(graph, options, operand)
            again.append((tensor, element, node.sinks[i]))
    result = operator.result
    if not graph.readers(result.tensor) and result.saved:
        held = held + graph.tensors[result.tensor].element_bytes * _local(graph, options, result)
    return held, again


def _inner(graph: OperatorGraph, options: OperatorOptions) -> Column:
    """Bytes of the values inside an operator that its backward pass keeps."""
    held = np.zeros(len(options.picks))
    for operand in options.operator.inner:
        element = graph.tensors[operand.tensor].element_bytes
        held = held + element * _local(graph, options, operand)
    return held


def _local(graph: OperatorGraph, options: OperatorOptions, operand: Operand) -> Column:
    """Entries of a tensor on the busiest rank."""
    layout = options.operand(operand.labels)
    entries = local_elements(graph.tensors[operand.tensor], options.mesh, layout)
    for label, load in options.operator.uneven.items():
        if any(label in dim for dim in operand.labels):
            entries = entries * np.where(options.pieces(label) > 1, load, 1.0)
    return entries


def _in_pieces_too(node: Node, mesh: Mesh, operator: Operator, again: Again, times: float) -> Node:
    """Offer each option a second time, with what it keeps cut in pieces over every whole axis.

    The pieces are gathered beside the gradient of the first operand; what is longer shows.
    """
    saved = np.zeros(len(node.options))
    gather_s = np.zeros(len(node.options))
    under_s = np.zeros(len(node.options))
    for tensor, element, port in again:
        whole = local_elements(tensor, mesh, port.layout)
        cut = local_elements(tensor, mesh, in_pieces(port.layout))
        saved = saved + operator.repeats * element * (whole - cut)
        gather_s = gather_s + regather_s(tensor, element, mesh, port.layout)
        under_s = port.again_s if port.again_s is not None else under_s
    shown_s = times * np.asarray(exposed_s(gather_s, under_s, 1.0))
    return with_pieces(node, saved, shown_s)
