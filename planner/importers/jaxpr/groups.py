"""Nodes -> groups that run as one operator, as a compiler would fuse them.

Products, lookups, scatters and what is unknown stand alone. Elementwise work, and reductions
along rows, join the one group that reads them (softmax, normalisation and cross-entropy come out
as one group each); views are read in passing. Values that are kept for the backward pass and
made inside a group are its `kept`; what XLA would compute again from what is kept anyway is not.

Source of which values are kept: the residuals of `jax.vjp` itself, remat and custom rules
included. Source of the fusion rules: XLA's instruction fusion (cheap producers are duplicated).

Parts: `Group`, `grouped`.
"""

from dataclasses import dataclass, field

from planner.importers.jaxpr.nodes import Flat, Node, Value, root
from planner.importers.jaxpr.primitives import CHEAP

__all__ = ["Group", "grouped"]

FUSED = ("elementwise", "reduction", "along", "pick")


@dataclass(eq=False)
class Group:
    """Nodes that run as one operator and make one stored value.

    Parameters
    ----------
    kind   : fused, or the class of its one node
    nodes  : in order; those that only make kept values are among them
    result : what others read
    kept   : values made inside, used by the backward pass
    """

    kind: str
    nodes: list[Node]
    result: Value
    kept: list[Value] = field(default_factory=list)

    @property
    def region(self) -> str:
        """Region that the group belongs to."""
        return self.nodes[-1].region


def grouped(flat: Flat) -> tuple[list[Group], set[Value]]:
    """Group the nodes that a loss needs.

    Returns
    -------
    groups in order, and the stored values that the backward pass reads again
    """
    ends = _ends(flat)
    live = _live(flat, ends)
    readers = _readers(flat, live)
    of: dict[Node, Group] = {}
    groups: list[Group] = []
    for node in reversed(flat.nodes):
        if node not in live or node.kind == "view" or all(v.const for v in node.outputs):
            continue
        group = _home(node, readers, ends, of)
        if group is not None:
            group.nodes.insert(0, node)
            of[node] = group
            continue
        for value in node.outputs:
            if value in ends or readers.get(value):
                one = len(node.outputs) == 1  # of several results, each is an operator
                kind = "fused" if _class(node) in FUSED and one else node.kind
                groups.append(Group(kind, [node], value))
                of[node] = groups[-1]
    groups.reverse()
    saved = _keep(flat, live, of, {g.result: i for i, g in enumerate(groups)})
    place = {node: index for index, node in enumerate(flat.nodes)}
    for group in groups:
        group.nodes.sort(key=place.__getitem__)
    return groups, saved


def _ends(flat: Flat) -> set[Value]:
    """Return values that must be stored: the loss, and what loops carry or stack."""
    ends = {root(flat.outputs[0])}
    for region in flat.regions.values():
        for end, start in region.carries:
            ends |= {root(end), root(start)}
    return ends


def _live(flat: Flat, ends: set[Value]) -> set[Node]:
    """Return nodes that the loss needs; a loop needs all that it carries."""
    live: set[Node] = set()
    regions: set[str] = set()

    def reach(value: Value) -> None:
        stack = [value]
        while stack:
            node = stack.pop().node
            if node is None or node in live:
                continue
            live.add(node)
            stack += node.inputs
            parts = node.region.split("/")
            for depth in range(1, len(parts) + 1):
                name = "/".join(parts[:depth])
                if name and name not in regions:
                    regions.add(name)
                    stack += [end for end, _ in flat.regions[name].carries]

    reach(flat.outputs[0])
    return live


def _readers(flat: Flat, live: set[Node]) -> dict[Value, list[Node]]:
    """Return the nodes that read a value, through views."""
    found: dict[Value, list[Node]] = {}
    for node in flat.nodes:
        if node in live and node.kind != "view":
            for value in node.inputs:
                found.setdefault(root(value), []).append(node)
    return found


def _class(node: Node) -> str:
    """Class of a node; a lookup in pairs (one entry of each row) is fused like a reduction."""
    if node.kind == "lookup":
        numbers = node.params["dimension_numbers"]
        paired = len(numbers.operand_batching_dims)
        if paired and not numbers.offset_dims:
            return "pick"
    return node.kind


def _home(
    node: Node, readers: dict[Value, list[Node]], ends: set[Value], of: dict[Node, Group]
) -> Group | None:
    """Return the one group that a node can join, or None."""
    if len(node.outputs) != 1 or node.outputs[0] in ends:
        return None
    homes = {of[reader] for reader in readers.get(node.outputs[0], [])}
    if len(homes) != 1:
        return None
    (group,) = homes
    if group.region != node.region:
        return None
    if group.kind in ("lookup", "scatter"):  # how row numbers are made
        return group if node.kind == "elementwise" and not node.outputs[0].floating else None
    if group.kind != "fused" or _class(node) not in FUSED:
        return None
    return group if _along_rows(node, group) else None


def _along_rows(node: Node, group: Group) -> bool:
    """Tell whether a reduction may be fused with what reads it.

    Over the leading dim (the batch, mostly) it stays apart, since its result is needed by all
    rows at once; unless nothing of the rows is left afterwards.
    """
    if node.kind != "reduction" or group.result.elements == 1:
        return True
    axes = node.params["axes"]
    sizes = node.inputs[0].shape
    first = next((i for i, size in enumerate(sizes) if size > 1), 0)
    return first not in axes


def _keep(
    flat: Flat, live: set[Node], of: dict[Node, Group], stored: dict[Value, int]
) -> set[Value]:
    """Give every value that the backward pass reads to its group; return the stored ones."""
    wanted = {root(value) for value in flat.outputs[1:]}
    order = [v for node in flat.nodes for v in node.outputs if v in wanted]
    order = [v for v in order if not v.const]
    kept: set[Value] = set()
    for value in order:
        if _again(value, kept) and value not in stored:
            continue
        kept.add(value)
        if value in stored:
            continue
        _place(value, live, of, stored, kept)
    given = {v for v in wanted if v.node is None and not v.const}
    return (kept & stored.keys()) | given


def _again(value: Value, kept: set[Value]) -> bool:
    """Tell whether cheap work makes a value again from what is kept or given."""
    seen: set[Value] = set()
    stack = [value]
    while stack:
        at = stack.pop()
        if at in seen or at in kept or at.const or at.node is None:
            continue
        seen.add(at)
        if at.node.kind != "view" and at.node.primitive not in CHEAP:
            return False
        stack += at.node.inputs
    return True


def _place(
    value: Value,
    live: set[Node],
    of: dict[Node, Group],
    stored: dict[Value, int],
    kept: set[Value],
) -> None:
    """Add a value that no operator stores to the group that makes it, or that could."""
    extra: list[Node] = []
    edge: dict[Value, None] = {}  # in the order met: the same input gives the same groups
    stack = [value]
    while stack:
        at = root(stack.pop())
        if at.node is None or at.const or at in stored or at.node in live or at.node in of:
            edge[at] = None
        elif at.node not in extra:
            extra.append(at.node)
            stack += at.node.inputs
    if not extra:
        assert value.node is not None
        of[value.node].kept.append(value)
        return
    inside = {of[v.node] for v in edge if v.node in of and v not in stored}
    plain = all(n.kind in ("elementwise", "along") and len(n.outputs) == 1 for n in extra)
    if not inside:
        makers = [of[v.node] for v in edge if v.node is not None and v.node in of]
        inside = {g for g in makers[-1:] if g.kind == "fused"}
    if len(inside) == 1 and plain and len({n.region for n in extra}) == 1:
        (group,) = inside
        before = all(stored[v] < stored[group.result] for v in edge if v in stored)
        if group.kind == "fused" and group.region == extra[0].region and before:
            group.nodes += reversed(extra)
            group.kept.append(value)
            of.update(dict.fromkeys(extra, group))
            return
    for one in edge:  # keep what it is made of instead
        if one.node is not None and not one.const and one not in kept:
            kept.add(one)
            if one not in stored:
                of[one.node].kept.append(one)
