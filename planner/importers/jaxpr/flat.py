"""A traced function as one flat list of nodes: calls inlined, loops marked as regions.

The body of a `scan` stands once, in a region with the number of its iterations; a parameter that
a loop walks along its leading dim is held one slice an iteration. Conditionals and loops of
unknown length stay one opaque node.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.importers.jaxpr.arithmetic import flop_of
from planner.importers.jaxpr.nodes import Flat, Node, Region, Value
from planner.importers.jaxpr.primitives import class_of

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr, Jaxpr

__all__ = ["flatten"]

CONTROL = ("scan", "while", "cond")


def flatten(closed: "ClosedJaxpr", parameters: Sequence[str], inputs: Sequence[str | None]) -> Flat:
    """Flatten a traced function whose leading arguments are the parameters.

    Parameters
    ----------
    parameters : path of each parameter, in the order of the arguments
    inputs     : name of each further argument
    """
    jaxpr = closed.jaxpr
    flat = Flat()
    given: list[Value] = []
    names: list[tuple[str, str]] = [("parameter", p) for p in parameters]
    names += [("input", str(i)) for i in inputs]
    for var, (origin, name) in zip(jaxpr.invars, names, strict=True):
        value = _of(var.aval, origin, name)
        value.grad = origin == "parameter" and value.floating
        given.append(value)
    walker = _Walker(flat)
    consts = [_array(const) for const in closed.consts]
    flat.outputs = tuple(walker.walk(jaxpr, consts, given, "", 1))
    return flat


def _of(aval: object, origin: str, name: str = "") -> Value:
    import jax
    import numpy as np

    shape = tuple(int(s) for s in getattr(aval, "shape", ()))
    dtype = getattr(aval, "dtype", np.dtype("int32"))
    extended = jax.numpy.issubdtype(dtype, jax.dtypes.extended)
    size = 8.0 if extended else max(1.0, float(getattr(dtype, "itemsize", 4)))
    floating = not extended and bool(jax.numpy.issubdtype(dtype, np.inexact))
    const = origin == "constant"
    return Value(shape, size, floating, origin, name, const=const)


def _array(const: object) -> Value:
    """Return a constant that the function holds: small ones are free, arrays are read."""
    value = _of(const, "constant")
    if value.elements > 1:
        value.const, value.origin, value.name = False, "input", "constant"
    return value


def _jaxpr(param: object) -> "tuple[Jaxpr, Sequence[object]] | None":
    if hasattr(param, "jaxpr") and hasattr(param, "consts"):
        return param.jaxpr, param.consts
    return (param, ()) if hasattr(param, "eqns") else None  # type: ignore[return-value]


class _Walker:
    """Walks jaxprs and fills a `Flat`; one use."""

    def __init__(self, flat: Flat) -> None:
        self.flat = flat

    def walk(
        self, jaxpr: "Jaxpr", consts: Sequence[Value], given: Sequence[Value], region: str,
        times: int,
    ) -> list[Value]:  # fmt: skip
        """Add the nodes of a jaxpr; return its outputs."""
        known: dict[object, Value] = {}
        known.update(zip(jaxpr.constvars, consts, strict=True))
        known.update(zip(jaxpr.invars, given, strict=True))

        def value_of(atom: object) -> Value:
            if hasattr(atom, "val"):
                return _of(getattr(atom, "aval", None), "constant")
            return known[atom]

        for eqn in jaxpr.eqns:
            read = [value_of(atom) for atom in eqn.invars]
            made = self._equation(eqn, read, region, times)
            known.update(zip(eqn.outvars, made, strict=True))
        return [value_of(atom) for atom in jaxpr.outvars]

    def _equation(self, eqn: object, read: list[Value], region: str, times: int) -> list[Value]:
        primitive = str(eqn.primitive)  # type: ignore[attr-defined]
        params: Mapping[str, Any] = eqn.params  # type: ignore[attr-defined]
        if primitive == "scan":
            return self._scan(params, read, region, times)
        if primitive == "cond" and _by_platform(read[0]):
            found = _jaxpr(params["branches"][-1])
            assert found is not None
            return self.walk(found[0], [_array(c) for c in found[1]], read[1:], region, times)
        if primitive not in CONTROL and class_of(primitive) == "opaque":
            inner = [found for p in params.values() if (found := _jaxpr(p)) is not None]
            if len(inner) == 1 and len(inner[0][0].invars) == len(read):
                body, consts = inner[0]
                return self.walk(body, [_array(c) for c in consts], read, region, times)
        avals = [var.aval for var in eqn.outvars]  # type: ignore[attr-defined]
        scope = str(getattr(eqn.source_info, "name_stack", ""))  # type: ignore[attr-defined]
        piece = _piece(primitive, params, read, avals)
        if piece is not None:
            return [piece]
        made = [_of(aval, "node") for aval in avals]
        if primitive == "cond":
            params = {"flop": max(_flop(p) for p in params["branches"])}
        return self._add(Node(primitive, tuple(read), tuple(made), params, region, times, scope))

    def _add(self, node: Node) -> list[Value]:
        const = all(v.const for v in node.inputs) and node.kind != "opaque"
        grad = any(v.grad for v in node.inputs) and node.primitive != "stop_gradient"
        for value in node.outputs:
            value.node, value.const, value.grad = node, const, grad and value.floating
        self.flat.nodes.append(node)
        return list(node.outputs)

    def _scan(
        self, params: Mapping[str, Any], read: list[Value], region: str, times: int
    ) -> list[Value]:
        count, consts = int(params["length"]), int(params["num_consts"])
        carried = int(params["num_carry"])
        found = _jaxpr(params["jaxpr"])
        assert found is not None
        body, held = found
        name = _unused(f"{region}/scan" if region else "scan", self.flat.regions)
        self.flat.regions[name] = Region(count * times)
        inside = times * count
        learns = any(v.grad for v in read)
        starts = [
            self._start(v, learns, name, region, times) for v in read[consts : consts + carried]
        ]
        slices = [self._slice(v, name, inside) for v in read[consts + carried :]]
        made = self.walk(
            body, [_array(c) for c in held], [*read[:consts], *starts, *slices], name, inside
        )
        pairs = tuple((end, start) for end, start in zip(made, starts, strict=False)
                      if end is not start and not end.const)  # fmt: skip
        self.flat.regions[name] = Region(count * times, pairs)
        stacked = []
        for value in made[carried:]:
            whole = Value((count, *value.shape), value.element_bytes, value.floating, "node")
            stacked += self._add(Node("stack", (value,), (whole,), {}, region, times))
        return made[:carried] + stacked

    def _start(self, value: Value, learns: bool, name: str, region: str, times: int) -> Value:
        """Return what a loop's first pass reads: later ones read the result of the pass before."""
        grad = learns and value.floating
        if value.const:
            return Value(value.shape, value.element_bytes, value.floating, "initial",
                         f"{name} start", grad=grad)  # fmt: skip
        if grad and not value.grad:
            made = Value(value.shape, value.element_bytes, value.floating, "node")
            self._add(Node("carry", (value,), (made,), {}, region, times))
            made.grad = True
            return made
        return value

    def _slice(self, value: Value, region: str, times: int) -> Value:
        """Return one iteration's slice; of a parameter, it is a parameter of its own."""
        source = value
        while source.node is not None and source.node.primitive == "convert_element_type":
            source = source.node.inputs[0]
        made = Value(value.shape[1:], value.element_bytes, value.floating, "node")
        if source.origin != "parameter":
            return self._add(Node("index", (value,), (made,), {}, region, times))[0]
        own = Value(source.shape[1:], source.element_bytes, source.floating, "parameter",
                    source.name, (*source.lead, source.shape[0]), grad=source.grad)  # fmt: skip
        if source is value:
            return own
        return self._add(Node("convert_element_type", (own,), (made,), {}, region, times))[0]


def _piece(
    primitive: str, params: Mapping[str, Any], read: Sequence[Value], avals: Sequence[object]
) -> Value | None:
    """Return the parameter that one slice along the leading dim of a stacked parameter is."""
    if primitive != "slice" or read[0].origin != "parameter" or len(read[0].shape) < 2:
        return None
    starts, limits = params["start_indices"], params["limit_indices"]
    assert isinstance(starts, tuple) and isinstance(limits, tuple)
    value = read[0]
    one = limits[0] - starts[0] == 1 and value.shape[0] > 1
    whole = limits[1:] == value.shape[1:] and not any(starts[1:])
    if not (one and whole and params.get("strides") is None):
        return None
    made = _of(avals[0], "parameter", value.name)
    made.grad, made.piece, made.lead = value.grad, int(starts[0]), value.lead
    return made


def _by_platform(index: Value) -> bool:
    """Tell whether a conditional only asks which platform it is compiled for."""
    while index.node is not None and index.node.inputs:
        index = index.node.inputs[0]
    return index.node is not None and index.node.primitive == "platform_index"


def _flop(branch: object) -> float:
    """Count products' arithmetic in a branch of a conditional."""
    found = _jaxpr(branch)
    assert found is not None
    flat = Flat()
    body, consts = found
    given = [_of(var.aval, "input") for var in body.invars]
    _Walker(flat).walk(body, [_array(c) for c in consts], given, "", 1)
    return sum(flop_of(node) * node.times for node in flat.nodes)


def _unused(name: str, taken: Mapping[str, object]) -> str:
    if name not in taken:
        return name
    return next(f"{name}.{n}" for n in range(2, len(taken) + 3) if f"{name}.{n}" not in taken)
