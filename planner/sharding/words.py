"""Picks as a mapping that a plan can hold, and back; layouts of tensors as partition specs.

    {"mesh": {"tp": 8, "dp": 4},
     "operators":  {"dense/qkv": "tp:n dp:b"},        label of each axis
     "parameters": {"dense/qkv weight": "tp:1 dp:states"},   dim, states or gradients of each axis
     "tensors":    {"hidden states": "dp:0 tp:1"}}    layout of what several read

An operator or a tensor may say "; kept in pieces": what it keeps is cut over every axis where it
is whole, and gathered again for the backward pass. Knows names; no prices.
"""

from collections.abc import Mapping, Sequence

from planner.errors import SpecError
from planner.nearest import hint, shown
from planner.operator_graph import OperatorGraph
from planner.sharding.layouts import Layouts
from planner.sharding.problem import ShardingProblem

__all__ = ["PartitionSpec", "partition_specs", "picks_of", "sharding_of"]

SECTIONS = {"operator": "operators", "parameter": "parameters", "tensor": "tensors"}
PartitionSpec = tuple[tuple[str, ...], ...]
"""Axes that split each dim, outermost first."""


def sharding_of(made: ShardingProblem, picks: Sequence[int]) -> dict[str, object]:
    """Write picks as the `sharding` of a strategy."""
    sections: dict[str, dict[str, str]] = {name: {} for name in SECTIONS.values()}
    for node, pick in zip(made.nodes, picks, strict=True):
        sections[SECTIONS[node.kind]][node.name] = node.options[pick]
    return {"mesh": {axis.name: axis.degree for axis in made.mesh}, **sections}


def picks_of(made: ShardingProblem, sharding: Mapping[str, object]) -> tuple[int, ...]:
    """Read the `sharding` of a strategy.

    Raises
    ------
    SpecError : a decision is missing, or is not one of its options
    """
    picks: list[int] = []
    for node in made.nodes:
        section = sharding.get(SECTIONS[node.kind])
        key = f"strategy.sharding.{SECTIONS[node.kind]}.{node.name}"
        given = section.get(node.name) if isinstance(section, Mapping) else None
        if given is None:
            raise SpecError(f"{key}: is missing; a sharding names every {node.kind}")
        if given not in node.options:
            raise SpecError(f"{key}: {shown(given)} is not one of its ways; "
                            f"{hint(str(given), node.options)}")  # fmt: skip
        picks.append(node.options.index(str(given)))
    return tuple(picks)


def partition_specs(made: ShardingProblem, picks: Sequence[int]) -> dict[str, PartitionSpec]:
    """Return the layout of every parameter as stored, of every input, and of every result.

    An input follows its first reader; a result lies as its maker leaves it, whole where a sum is
    still to be made. Weights whose states alone are in pieces are whole.
    """
    specs: dict[str, PartitionSpec] = {}
    for node, pick in zip(made.nodes, picks, strict=True):
        if node.kind == "operator":
            op = next(o for o in made.graph.operators if o.name == node.name)
            specs[op.result.tensor] = _spec(made, op.result.tensor, node.source.gradient, pick)
            for place, operand in enumerate(op.operands):
                tensor = made.graph.tensors[operand.tensor]
                free = tensor.given and not tensor.parameter
                if free and made.graph.producer(tensor.name) is None:
                    layout = node.sinks[place].layout
                    specs.setdefault(tensor.name, _spec(made, tensor.name, layout, pick))
        elif node.kind == "parameter":
            specs[node.name] = _spec(made, node.name, node.source.layout, pick)
    return specs


def _spec(made: ShardingProblem, tensor: str, layouts: Layouts, pick: int) -> PartitionSpec:
    graph: OperatorGraph = made.graph
    dims: list[list[str]] = [[] for _ in graph.tensors[tensor].shape]
    for axis, code in zip(reversed(made.mesh), reversed(layouts[pick]), strict=True):
        if code >= 0:
            dims[int(code)].append(axis.name)
    return tuple(tuple(names) for names in dims)
