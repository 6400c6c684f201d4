"""One group of nodes -> labelled operands, result and kept values.

Axes are passed through the group's nodes (`rules`); what is read from outside starts with one
axis for each stored dim. A value that is read plainly twice has the same labels both times; what
is read through a transpose or a cut has its own. Where that would give one tensor the same label
twice (an outer product of a vector with itself), every way of reading has labels of its own.

Parts: `Stored`, `Labelled`, `labelled`.
"""

from dataclasses import dataclass, field

from planner.importers.jaxpr.axes import Axis, Dims, fresh, leaves
from planner.importers.jaxpr.groups import Group
from planner.importers.jaxpr.nodes import Node, Value, root
from planner.importers.jaxpr.primitives import FRESH
from planner.importers.jaxpr.rules import pass_through
from planner.operator_graph import Labels

__all__ = ["Labelled", "Read", "Stored", "labelled"]


@dataclass(frozen=True)
class Stored:
    """A tensor that is held: its name, and the sizes that each dim of the value comes to."""

    name: str
    sizes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that the tensor has in the graph."""
        return tuple(size for dim in self.sizes for size in dim)


@dataclass(frozen=True)
class Read:
    """A stored value as a group reads it; `elements` is how much of it."""

    value: Value
    labels: Labels
    elements: float


@dataclass(frozen=True)
class Labelled:
    """A group with named labels; `result_sizes` are those of the result's dims."""

    reads: tuple[Read, ...]
    result: Labels
    result_sizes: tuple[tuple[int, ...], ...]
    kept: tuple[tuple[Value, Labels], ...]
    sizes: dict[str, int]
    whole: frozenset[str]


@dataclass
class _Seen:
    value: Value
    stored: Dims
    elements: float


@dataclass
class _Pass:
    """One attempt at a group; `private`: every way of reading has axes of its own."""

    group: Group
    stored: dict[Value, Stored]
    private: bool
    inside: dict[Value, Dims] = field(default_factory=dict)
    outside: dict[Value, Dims] = field(default_factory=dict)
    seen: list[_Seen] = field(default_factory=list)
    reduced: list[Axis] = field(default_factory=list)

    def run(self) -> None:
        for node in self.group.nodes:
            alone = self.private or self.group.kind != "fused"
            inputs = [self.read(value, alone) for value in node.inputs]
            if node.kind == "reduction":
                axes = node.params["axes"]
                assert isinstance(axes, tuple)
                self.reduced += [a for at in axes for a in inputs[0][at]]
            for value, dims in zip(node.outputs, pass_through(node, inputs), strict=True):
                self.inside[value] = dims

    def read(self, value: Value, alone: bool) -> Dims:
        """Return the axes of a value as a node reads it."""
        if value in self.inside:
            return self.inside[value]
        if not alone and value in self.outside:
            return self.outside[value]
        node = value.node
        if value.const:
            return fresh(value.shape)
        if node is not None and node.kind == "view":
            dims = self._view(value, node, alone)
        else:
            dims = self._enter(value)
        if not alone:
            self.outside[value] = dims
        return dims

    def _view(self, value: Value, node: Node, alone: bool) -> Dims:
        cut = node.primitive in FRESH and root(value) not in self.inside
        before = len(self.seen)
        inputs = [self.read(source, alone or cut) for source in node.inputs]
        if cut:
            for seen in self.seen[before:]:
                seen.elements = min(seen.elements, value.elements)
        made = pass_through(node, inputs)
        return made[node.outputs.index(value)]

    def _enter(self, value: Value) -> Dims:
        """Return axes for a stored value: one for each stored dim."""
        sizes = self.stored[value].sizes
        made: Dims = [tuple(a for d in fresh(dim) for a in d) for dim in sizes]
        flat: Dims = []
        for dim, axes in zip(sizes, made, strict=True):
            left = list(axes)
            flat += [(left.pop(0),) if size != 1 else () for size in dim]
        self.seen.append(_Seen(value, flat, value.elements))
        return made

    def doubled(self) -> set[Axis]:
        """Return axes that one tensor would carry twice."""
        found: set[Axis] = set()
        every = [s.stored for s in self.seen] + [self.inside[self.group.result]]
        for dims in [*every, *(self.inside[v] for v in self.group.kept)]:
            once: set[Axis] = set()
            for axis in leaves(a for d in dims for a in d):
                (found if axis in once else once).add(axis)
        return found


def labelled(group: Group, stored: dict[Value, Stored]) -> Labelled:
    """Label a group whose outside reads are all in `stored`."""
    attempt = _Pass(group, stored, private=False)
    attempt.run()
    if attempt.doubled():
        attempt = _Pass(group, stored, private=True)
        attempt.run()
        for axis in attempt.doubled():
            axis.whole = True
    result = attempt.inside[group.result]
    carried = set(leaves(a for d in result for a in d))
    for axis in leaves(attempt.reduced):
        axis.whole |= axis in carried
    return _named(attempt, result)


def _named(attempt: _Pass, result: Dims) -> Labelled:
    names: dict[Axis, str] = {}

    def of(dims: Dims) -> Labels:
        made = []
        for dim in dims:
            axes = leaves(dim)
            for axis in axes:
                names.setdefault(axis, _letters(len(names)))
            made.append(tuple(names[axis] for axis in axes))
        return tuple(made)

    whole_result = tuple(tuple(a.size for a in leaves(dim)) for dim in result)
    flat_result = of([(axis,) for dim in result for axis in leaves(dim)])
    reads: dict[tuple[Value, Labels], Read] = {}
    for seen in attempt.seen:
        labels = of(seen.stored)
        held = reads.get((seen.value, labels))
        elements = max(seen.elements, held.elements if held else 0.0)
        reads[seen.value, labels] = Read(seen.value, labels, elements)
    kept = tuple(
        (v, of([(a,) for d in attempt.inside[v] for a in leaves(d)])) for v in attempt.group.kept
    )
    sizes = {name: axis.size for axis, name in names.items()}
    whole = frozenset(name for axis, name in names.items() if axis.whole)
    return Labelled(tuple(reads.values()), flat_result, whole_result, kept, sizes, whole)


def _letters(index: int) -> str:
    letter = chr(ord("a") + index % 26)
    return letter if index < 26 else f"{letter}{index // 26}"
