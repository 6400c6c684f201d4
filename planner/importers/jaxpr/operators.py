"""Groups -> operators: labels, arithmetic, traffic, what is kept, what the backward pass costs.

The backward pass of a product is one product for each operand that learns; of other work, the
traffic of reading what is kept and the incoming gradient and writing the outgoing ones. What
rematerialisation makes the backward pass run again is found from what is not kept: an operator
whose result a backward product needs, and nobody holds, runs twice.

Parts: `Parameter`, `Made`, `operators`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.importers.jaxpr.arithmetic import flop_of
from planner.importers.jaxpr.groups import Group, grouped
from planner.importers.jaxpr.labels import Labelled, Stored, labelled
from planner.importers.jaxpr.naming import Namer, kind_of, word_of
from planner.importers.jaxpr.nodes import Flat, Value
from planner.importers.jaxpr.primitives import LINEAR
from planner.operator_graph import Operand, Operator, OperatorGraph, Tensor

__all__ = ["Made", "Parameter", "operators"]


@dataclass(frozen=True)
class Parameter:
    """Where a parameter tensor of the graph stands in the function's first argument.

    Parameters
    ----------
    paths : of the leaves that it stands for: more than one where layers are folded
    lead  : leading dims of a leaf that the graph's tensor leaves out (loops walk along them)
    piece : the graph's tensor is one slice along the leaf's first dim
    """

    paths: tuple[str, ...]
    lead: int = 0
    piece: bool = False


@dataclass(frozen=True)
class Made:
    """A graph, and what its tensors are in the function."""

    graph: OperatorGraph
    parameters: Mapping[str, Parameter]
    inputs: Mapping[str, str]
    opaque: tuple[str, ...]


def operators(flat: Flat) -> Made:
    """Make the operator graph of a flattened loss and its kept values."""
    groups, saved = grouped(flat)
    namer = Namer()
    stored: dict[Value, Stored] = {}
    for group in groups:
        for node in group.nodes:
            for value in node.inputs:
                _hold(value, stored, namer)
    made: list[tuple[Group, Labelled]] = []
    for group in groups:
        found = labelled(group, stored)
        sizes = found.result_sizes
        stored[group.result] = Stored(namer.tensor(_word(group, found)), sizes)
        made.append((group, found))
    again = _again(made, saved)
    ops = [_operator(g, f, stored, saved, g in again) for g, f in made]
    ops = _saved_once(ops, {stored[v].name for v in saved if v in stored})
    tensors = {s.name: _tensor(v, s) for v, s in stored.items()}
    for (_, found), op in zip(made, ops, strict=True):
        for (value, _), inner in zip(found.kept, op.inner, strict=True):
            shape = tuple(found.sizes[label] for dim in inner.labels for label in dim)
            tensors[inner.tensor] = Tensor(inner.tensor, shape, value.element_bytes)
    repeated = _repeated(flat, stored, {g.region for g, _ in made})
    parameters = {
        s.name: Parameter((v.name,), len(v.lead), v.piece is not None)
        for v, s in stored.items() if v.origin == "parameter"
    }  # fmt: skip
    inputs = {s.name: v.name for v, s in stored.items() if v.origin == "input"}
    opaque = sorted({g.nodes[0].primitive for g, _ in made if g.kind == "opaque"})
    return Made(OperatorGraph(tuple(ops), tensors, repeated), parameters, inputs, tuple(opaque))


def _hold(value: Value, stored: dict[Value, Stored], namer: Namer) -> None:
    """Give a value that nobody makes (parameter, input, initial state) its name."""
    while value.node is not None and value.node.kind == "view":
        value = value.node.inputs[0]
    if value.node is None and not value.const and value not in stored:
        word = value.name if value.piece is None else f"{value.name}[{value.piece}]"
        stored[value] = Stored(namer.tensor(word), tuple((size,) for size in value.shape))


def _word(group: Group, found: Labelled) -> str:
    held = [r.value.name for r in found.reads if r.value.origin == "parameter"]
    return word_of(group, held)


def _tensor(value: Value, stored: Stored) -> Tensor:
    given = value.origin == "input" or not value.grad
    return Tensor(
        stored.name,
        stored.shape,
        value.element_bytes,
        value.origin == "parameter",
        given,
        shared=value.origin == "parameter" and not value.lead,
    )


def _operator(
    group: Group, found: Labelled, stored: Mapping[Value, Stored], saved: set[Value], again: bool
) -> Operator:
    name = stored[group.result].name
    heavy = group.kind in ("product", "lookup", "scatter")
    operands = tuple(
        Operand(stored[r.value].name, r.labels, r.value in saved and (heavy or _nonlinear(group)))
        for r in found.reads
    )
    inner = tuple(Operand(f"{name}.kept{n}", labels) for n, (_, labels) in enumerate(found.kept, 1))
    read_bytes = sum(r.elements * r.value.element_bytes for r in found.reads)
    kept_bytes = sum(v.size_bytes for v, _ in found.kept)
    if group.kind == "lookup":
        table = found.reads[0]
        rows = group.result.elements * table.value.element_bytes
        read_bytes += min(rows, table.elements * table.value.element_bytes)
        read_bytes -= table.elements * table.value.element_bytes
    traffic = read_bytes + group.result.size_bytes + kept_bytes
    learns = [r for r in found.reads if r.value.grad]
    if group.kind == "product":
        backward = float(len(learns)) if group.result.grad else 0.0
    elif group.kind == "lookup":
        backward = 1.0 if learns else 0.0
    else:
        back = group.result.size_bytes + kept_bytes
        back += sum(
            r.value.size_bytes for r, o in zip(found.reads, operands, strict=True) if o.saved
        )
        back += sum(r.value.size_bytes for r in learns)
        backward = back / traffic if learns and group.result.grad and traffic else 0.0
    return Operator(
        name,
        kind_of(group, found),
        found.sizes,
        operands,
        Operand(name, found.result, saved=False),
        whole=found.whole,
        flop=sum(flop_of(node) for node in group.nodes),
        traffic_bytes=traffic,
        backward=backward + (1.0 if again else 0.0),
        repeats=group.nodes[0].times,
        region=group.region,
        inner=inner,
    )


def _nonlinear(group: Group) -> bool:
    """Tell whether the backward pass needs values of the forward pass."""
    for node in group.nodes:
        grads = sum(v.grad for v in node.inputs)
        if grads and node.primitive not in LINEAR and node.kind != "view":
            return True
        if node.primitive == "mul" and grads > 1:
            return True
        if node.primitive == "div" and node.inputs[1].grad:
            return True
    return False


def _again(made: Sequence[tuple[Group, Labelled]], saved: set[Value]) -> set[Group]:
    """Return groups that the backward pass runs again, since what they make is not kept."""
    maker = {group.result: group for group, _ in made}
    found = {group: labels for group, labels in made}
    again: set[Group] = set()
    needed: list[Value] = []
    for group, labels in made:
        reads = [r.value for r in labels.reads]
        if not group.result.grad:
            continue
        if group.kind == "product" and len(reads) == 2:
            left, right = reads
            needed += [left] if right.grad else []
            needed += [right] if left.grad else []
        elif group.kind == "fused" and _nonlinear(group) and not group.kept:
            own = [*reads, group.result]
            if not any(v in saved and v.origin == "node" for v in own):
                again.add(group)
                needed += reads
    while needed:
        value = needed.pop()
        group_of = maker.get(value)
        if value in saved or group_of is None or group_of in again:
            continue
        again.add(group_of)
        needed += [r.value for r in found[group_of].reads]
    return again


def _saved_once(ops: list[Operator], saved: set[str]) -> list[Operator]:
    """Mark the result as kept where a kept value has no reader that keeps it."""
    held = {o.tensor for op in ops for o in op.operands if o.saved}
    return [
        dataclasses.replace(op, result=dataclasses.replace(op.result, saved=True))
        if op.result.tensor in saved - held else op
        for op in ops
    ]  # fmt: skip


def _repeated(
    flat: Flat, stored: Mapping[Value, Stored], used: set[str]
) -> dict[str, tuple[int, tuple[tuple[str, str], ...]]]:
    found: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {}
    for name, region in flat.regions.items():
        if name not in used:
            continue
        pairs = []
        for end, start in region.carries:
            one, other = _source(end), _source(start)
            if one in stored and other in stored:
                pairs.append((stored[one].name, stored[other].name))
        found[name] = (region.times, tuple(pairs))
    return found


def _source(value: Value) -> Value:
    while value.node is not None and value.node.kind == "view":
        value = value.node.inputs[0]
    return value
