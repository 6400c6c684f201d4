"""How parameters, their states and the inputs lie on the mesh, leaf by leaf of the function.

What a plan needs beyond its decisions to be run: a spec for every leaf of the parameters, axes of
each dim, outermost first. Where several tensors of the graph are slices of one leaf, the leaf
follows the first. Samples of the inputs are split as most products split theirs, so that XLA's
propagation starts from there.
"""

import math
from collections.abc import Mapping

from planner.functions.search import Candidate
from planner.sharding.words import partition_specs

__all__ = ["data_axes", "data_degree", "layouts"]

Spec = list[list[str]]


def layouts(found: Candidate) -> dict[str, dict[str, dict[str, object]]]:
    """Return specs of `parameters` (with the spec of their states) and of `inputs`, by name."""
    assert found.picks is not None
    imported = found.imported
    specs = partition_specs(found.made, found.picks)
    storage = found.sharding["parameters"]
    assert isinstance(storage, Mapping)
    parameters: dict[str, dict[str, object]] = {}
    for tensor, place in imported.parameters.items():
        if tensor not in storage:
            continue
        for path in place.paths:
            shape, dtype = imported.shapes[path]
            spec: Spec = [[] for _ in range(place.lead)] + [list(d) for d in specs[tensor]]
            states = _states(found, spec, shape, str(storage[tensor]))
            parameters.setdefault(
                path, {"shape": list(shape), "dtype": dtype, "spec": spec, "states": states}
            )
    for path, (shape, dtype) in imported.shapes.items():
        whole: Spec = [[] for _ in shape]
        parameters.setdefault(
            path, {"shape": list(shape), "dtype": dtype, "spec": whole, "states": whole}
        )
    inputs: dict[str, dict[str, object]] = {}
    split = data_axes(found)
    for name in imported.dtypes:
        tensors = [t for t, argument in imported.inputs.items() if argument == name and t in specs]
        shape = imported.arguments[name]
        spec = [list(d) for d in specs[tensors[0]]] if tensors else [[] for _ in shape]
        if shape[:1] == (imported.graph.samples,):
            spec = [list(split), *([axis for axis in d if axis not in split] for d in spec[1:])]
        inputs[name] = {"shape": list(shape), "dtype": imported.dtypes[name], "spec": spec}
    return {"parameters": dict(sorted(parameters.items())), "inputs": inputs}


def _states(found: Candidate, spec: Spec, shape: tuple[int, ...], stored: str) -> Spec:
    """Spec of the optimizer states: axes that hold them in pieces go on dims that they divide."""
    made = [list(dim) for dim in spec]
    left = list(shape)
    for dim, axes in enumerate(spec):
        for axis in axes:
            left[dim] //= found.degrees[axis]
    for word in stored.split():
        axis, _, how = word.partition(":")
        if how not in ("states", "gradients"):
            continue
        degree = found.degrees[axis]
        fits = [dim for dim in range(len(left)) if left[dim] % degree == 0]
        if fits:
            dim = max(fits, key=left.__getitem__)
            made[dim].append(axis)
            left[dim] //= degree
    return made


def data_axes(found: Candidate) -> tuple[str, ...]:
    """Return the axes that split the samples in most of the products' work, outermost first."""
    assert found.picks is not None
    specs = partition_specs(found.made, found.picks)
    graph = found.imported.graph
    work: dict[tuple[str, ...], float] = {(): 0.0}
    for op in graph.operators:
        shape, spec = graph.tensors[op.result.tensor].shape, specs[op.result.tensor]
        if op.kind == "product" and shape[:1] == (graph.samples,):
            work[spec[0]] = work.get(spec[0], 0.0) + op.repeats * op.flop
    return max(work, key=work.__getitem__)


def data_degree(found: Candidate) -> int:
    """Return how many ways the samples of a pass are split in most of the products' work."""
    return math.prod(found.degrees[axis] for axis in data_axes(found))
