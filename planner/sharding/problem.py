"""An operator graph on a mesh as a `Problem`, and what its picks mean.

    decisions   operators' labels, layouts of tensors that several read, storage of weights
    couplings   exchanges of tensors and gradients between them, compute that hides them
    limit       bytes of one device: weights, gradients, states, activations kept

A repeated region stands once, its costs times its repeats; what its end feeds into its beginning
couples back times - 1. Buffers at work (gathered weights, a gradient under way) are not in the
limit: what a device should leave for them is the caller's to take off.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodels.breakdown import Breakdown, Term
from planner.operator_graph import Operator, OperatorGraph, Tensor
from planner.problem import Coupling, Decision, Limit, Problem
from planner.sharding.edges import Edge, price, steps_of
from planner.sharding.mesh import Mesh
from planner.sharding.nodes import RESOURCE, Node, Port
from planner.sharding.operator_nodes import operator_node
from planner.sharding.parameters import Stored, parameter_node
from planner.sharding.price import Figures
from planner.sharding.resharding import KINDS, Exchange
from planner.sharding.tensor_nodes import tensor_node

__all__ = ["Collective", "ShardingProblem", "build"]


@dataclass(frozen=True, slots=True)
class Collective:
    """A collective that picks ask for.

    Parameters
    ----------
    tensor, axis, kind, step : of what, where, which; forward, backward, again, gradient, gather
    message_bytes : that it is called with
    seconds       : of one, alone
    times         : calls in a step
    """

    tensor: str
    axis: str
    kind: str
    step: str
    message_bytes: float
    seconds: float
    times: float


@dataclass(frozen=True)
class ShardingProblem:
    """The problem; `nodes` are its decisions in order, `edges` what couples them."""

    problem: Problem
    graph: OperatorGraph
    mesh: Mesh
    figures: Figures
    passes: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def index(self, kind: str, name: str) -> int:
        """Return the decision of an operator, a tensor or a parameter."""
        return next(i for i, n in enumerate(self.nodes) if (n.kind, n.name) == (kind, name))

    def collectives(self, picks: Sequence[int]) -> tuple[Collective, ...]:
        """List the collectives of the picks, in the order of the edges."""
        return tuple(one for edge in self.edges for one in self._of(edge, picks[edge.first], picks))

    def _of(self, edge: Edge, first: int, picks: Sequence[int]) -> Iterator[Collective]:
        few = edge.at(first, picks[edge.second])
        for step in steps_of(few, self.mesh, self.figures, self.passes):
            often = np.broadcast_to(step.times, (len(self.mesh), 1, 1))
            for a, axis in enumerate(self.mesh):
                kind = int(step.moves.kind[a, 0, 0])
                if kind >= 0:
                    yield Collective(
                        edge.tensor.name, axis.name, KINDS[kind], step.name,
                        float(step.moves.bytes[a, 0, 0]), float(step.moves.seconds[a, 0, 0]),
                        float(often[a, 0, 0]),
                    )  # fmt: skip


def build(
    graph: OperatorGraph,
    mesh: Mesh,
    figures: Figures,
    *,
    memory_limit_bytes: float | None = None,
    passes: int = 1,
) -> ShardingProblem:
    """Turn the sharding of a graph on a mesh into decisions.

    Parameters
    ----------
    memory_limit_bytes : what weights, states and kept activations of one device may take;
                         None: no limit, and nothing is offered that only saves memory
    passes             : times that the graph runs in a step (accumulated gradients)
    """
    pieces = memory_limit_bytes is not None
    shared = {t: None for t in graph.tensors if _readings(graph, t) > 1}
    nodes = [
        operator_node(graph, op, mesh, figures, _single(graph, op, shared), passes, pieces)
        for op in graph.operators
    ]
    stored: dict[str, Stored] = {}
    for tensor in graph.tensors.values():
        if tensor.parameter and _readings(graph, tensor.name):
            stored[tensor.name] = parameter_node(graph, tensor, mesh, figures, passes)
    nodes += [weight.node for weight in stored.values()]
    for name in shared:
        tensor = graph.tensors[name]
        if tensor.parameter or not tensor.given:
            nodes.append(tensor_node(graph, tensor, mesh, passes, pieces))
    edges = _edges(graph, nodes, stored)
    return _assembled(graph, mesh, figures, passes, nodes, edges, memory_limit_bytes)


def _readings(graph: OperatorGraph, tensor: str) -> int:
    return sum(o.tensor == tensor for op in graph.operators for o in op.operands)


def _single(graph: OperatorGraph, operator: Operator, shared: Mapping[str, None]) -> frozenset[int]:
    """Operands whose keeping is counted at their reader; of data, at the first one."""
    found = set()
    for i, operand in enumerate(operator.operands):
        name = operand.tensor
        first = graph.readers(name)[0] is operator
        again = any(o.tensor == name for o in operator.operands[:i])
        if name not in shared or (graph.tensors[name].given and first and not again):
            found.add(i)
    return frozenset(found)


def _edges(
    graph: OperatorGraph, nodes: Sequence[Node], stored: Mapping[str, Stored]
) -> tuple[Edge, ...]:
    at = {(node.kind, node.name): i for i, node in enumerate(nodes)}
    made: list[Edge] = []
    for tensor in graph.tensors.values():
        if tensor.given and not tensor.parameter:
            continue
        maker = graph.producer(tensor.name)
        source = at.get(("parameter", tensor.name))
        if source is None and maker is not None:
            source = at[("operator", maker.name)]
        if source is None:
            continue
        weight = stored.get(tensor.name)
        shared = at.get(("tensor", tensor.name))
        if shared is not None:
            made.append(_into_tensor(graph, tensor, nodes, source, shared, weight))
            source = shared
        for op, place in _places(graph, tensor.name):
            direct = weight if shared is None else None
            edge = _into_reader(graph, tensor, nodes, source, at[("operator", op.name)], place)
            made.append(replace(edge, stored=direct, again=shared is not None))
    made += _back(graph, nodes, at)
    return tuple(made)


def _places(graph: OperatorGraph, tensor: str) -> list[tuple[Operator, int]]:
    return [
        (op, i) for op in graph.operators for i, o in enumerate(op.operands) if o.tensor == tensor
    ]


def _into_tensor(
    graph: OperatorGraph, tensor: Tensor, nodes: Sequence[Node], source: int, shared: int,
    weight: Stored | None,
) -> Edge:  # fmt: skip
    first, second = nodes[source], nodes[shared]
    times = _times(graph, tensor.name, first, second)
    exchange = _exchange(graph.producer(tensor.name))
    return Edge(tensor, source, shared, first.source, second.sinks[0], times, exchange,
                stored=weight)  # fmt: skip


def _into_reader(
    graph: OperatorGraph, tensor: Tensor, nodes: Sequence[Node], source: int, reader: int,
    place: int,
) -> Edge:  # fmt: skip
    first, second = nodes[source], nodes[reader]
    times = _times(graph, tensor.name, first, second)
    op = next(o for o in graph.operators if o.name == second.name)
    exchange = _exchange(graph.producer(tensor.name), op)
    return Edge(tensor, source, reader, first.source, second.sinks[place], times, exchange)


def _times(graph: OperatorGraph, tensor: str, first: Node, second: Node) -> float:
    """Return how often a pass converts: in every repeat, but once into a region's first one."""
    carried = {t for _, pairs in graph.repeated.values() for _, t in pairs}
    if not second.region or (first.region != second.region and tensor in carried):
        return 1.0
    return float(second.repeats)


def _exchange(*operators: Operator | None) -> Exchange:
    """Tell how an edge's all-to-alls are loaded: as the exchange at one of its ends says."""
    for op in operators:
        if op is not None and op.kind == "exchange":
            return Exchange(op.copies, max(op.uneven.values(), default=1.0))
    return Exchange()


def _back(
    graph: OperatorGraph, nodes: Sequence[Node], at: Mapping[tuple[str, str], int]
) -> list[Edge]:
    """Couple the end of every repeated region with its beginning, times - 1."""
    made: list[Edge] = []
    for times, pairs in graph.repeated.values():
        for result, operand in pairs:
            maker = graph.producer(result)
            if times <= 1 or maker is None:
                continue
            last = at[("operator", maker.name)]
            tensor = graph.tensors[result]
            for reader, port in _entrances(graph, nodes, at, operand):
                edge = Edge(tensor, last, reader, nodes[last].source, port, times - 1.0)
                made.append(edge)
    return made


def _entrances(
    graph: OperatorGraph, nodes: Sequence[Node], at: Mapping[tuple[str, str], int], operand: str
) -> list[tuple[int, Port]]:
    shared = at.get(("tensor", operand))
    if shared is not None:
        return [(shared, nodes[shared].sinks[0])]
    places = _places(graph, operand)
    return [(at[("operator", op.name)], nodes[at[("operator", op.name)]].sinks[i])
            for op, i in places]  # fmt: skip


def _assembled(
    graph: OperatorGraph, mesh: Mesh, figures: Figures, passes: int, nodes: Sequence[Node],
    edges: tuple[Edge, ...], memory_limit_bytes: float | None,
) -> ShardingProblem:  # fmt: skip
    couplings: list[Coupling] = []
    alone: dict[int, list[Term]] = {}
    for edge in edges:
        cost = price(mesh, steps_of(edge, mesh, figures, passes))
        if edge.first == edge.second:
            alone.setdefault(edge.first, []).extend(
                replace(t, time_s=np.diagonal(np.asarray(t.time_s))) for t in cost.terms
            )
        elif cost.terms:
            couplings.append(Coupling(edge.first, edge.second, cost))
    nodes = [node.with_times(*alone.get(i, ())) for i, node in enumerate(nodes)]
    decisions = tuple(
        Decision(f"{n.kind} {n.name}", n.options, Breakdown(n.times, n.memory)) for n in nodes
    )
    limits: tuple[Limit, ...] = ()
    if memory_limit_bytes is not None:
        members = tuple(range(len(decisions)))
        limits = (Limit("memory of a device", RESOURCE, members, memory_limit_bytes),)
    problem = Problem(decisions, tuple(couplings), limits)
    return ShardingProblem(problem, graph, mesh, figures, passes, tuple(nodes), edges)
