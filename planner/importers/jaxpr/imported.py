"""The door: a reference to a JAX function -> its operator graph."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planner.errors import SpecError
from planner.importers.jaxpr.flat import flatten
from planner.importers.jaxpr.folding import folded
from planner.importers.jaxpr.operators import Parameter, operators
from planner.importers.jaxpr.trace import Function, InputShape, find, trace
from planner.operator_graph import OperatorGraph

__all__ = ["Imported", "import_function", "imported"]


@dataclass(frozen=True)
class Imported:
    """A JAX function as operators.

    Parameters
    ----------
    graph      : one pass over `graph.samples` examples
    parameters : tensor of the graph -> leaves of the function's first argument
    shapes     : leaf -> shape and number format of the parameters, as `init` makes them (floats
                 in the job's precision)
    inputs     : tensor of the graph -> argument of the function
    arguments  : argument -> shape
    dtypes     : argument -> number format
    opaque     : primitives that nothing is known of: they run whole on every device
    """

    graph: OperatorGraph
    parameters: Mapping[str, Parameter]
    shapes: Mapping[str, tuple[tuple[int, ...], str]]
    inputs: Mapping[str, str]
    arguments: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    opaque: tuple[str, ...]


def import_function(
    reference: str,
    inputs: Mapping[str, object],
    *,
    folder: Path | None = None,
    float_dtype: str = "bfloat16",
) -> Imported:
    """Import `package.module:loss` with example shapes.

    Parameters
    ----------
    inputs      : `{tokens: [4, 1024]}`, or `{tokens: {shape: [4, 1024], dtype: int32}}`
    folder      : where the module is looked for first
    float_dtype : of parameters and inputs that are not whole numbers

    Raises
    ------
    SpecError : no such module or function, or it cannot be traced
    """
    shapes = {name: _shape(name, value) for name, value in inputs.items()}
    return imported(find(reference, folder), shapes, float_dtype=float_dtype)


def imported(
    function: Function,
    inputs: Mapping[str, InputShape],
    *,
    samples: int | None = None,
    float_dtype: str = "bfloat16",
) -> Imported:
    """Import a function that was found; `samples` replaces the leading dim of the inputs.

    The inputs' leading dim is the batch: of the first input, and of all that have the same one.
    """
    batch = next((shape[0] for shape, _ in inputs.values() if shape), 1)
    if samples is not None:
        inputs = {
            name: ((samples, *shape[1:]) if shape[:1] == (batch,) else shape, dtype)
            for name, (shape, dtype) in inputs.items()
        }
        batch = samples
    traced = trace(function, inputs, float_dtype)
    made = operators(flatten(traced.jaxpr, traced.parameters, traced.inputs))
    graph, parameters = folded(made.graph, made.parameters)
    graph = dataclasses.replace(graph, samples=batch)
    arguments = {name: shape for name, (shape, _) in inputs.items()}
    return Imported(
        graph, parameters, traced.shapes, made.inputs, arguments, traced.dtypes, made.opaque
    )


def _shape(name: str, value: object) -> InputShape:
    dtype: str | None = None
    sizes = value
    if isinstance(value, Mapping):
        given = value.get("dtype")
        dtype, sizes = (None if given is None else str(given)), value.get("shape")
    if isinstance(sizes, list | tuple) and all(isinstance(v, int) and v > 0 for v in sizes):
        return tuple(sizes), dtype
    said = f"got {value!r}; allowed: a list of sizes, or a mapping with shape and dtype"
    raise SpecError(said, key=f"workload.model.inputs.{name}")
