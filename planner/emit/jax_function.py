"""Plain JAX for a plan of a JAX function: a mesh, a PartitionSpec for every leaf, a step that runs.

The emitted file imports the user's own module, lays parameters, optimizer states and inputs out
as the plan says, and leaves what lies between to XLA's propagation. `--dry-run` runs one step of
it on fake CPU devices. Reads `layouts` of plan.json; never imports JAX.
"""

from collections.abc import Mapping, Sequence

from planner.emit.render import Source, literal, render
from planner.emit.text import Header, one_line
from planner.errors import SpecError
from planner.report.node import Node

__all__ = ["emit", "is_function"]

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def is_function(plan: Mapping[str, object]) -> bool:
    """Tell whether a plan's model is a JAX function."""
    model = Node(plan)["job"]["workload"]["model"]
    return isinstance(model.value, Mapping) and "jax" in model.value


def emit(plan: Mapping[str, object], target: str) -> dict[str, str]:
    """Return the training file of a plan of a function, by path."""
    node = Node(plan)
    layouts, workload = node["layouts"], node["job"]["workload"]
    mesh = {
        axis: int(ranks.size()) for axis, ranks in node["strategy"]["sharding"]["mesh"].entries()
    }
    if not layouts or not mesh and not node["strategy"]:
        raise SpecError("missing: not a plan that `sixfold plan` wrote", key="layouts")
    model = workload["model"]
    passes = int(node["strategy"]["microbatches"].size()) or 1
    samples = int(workload["global_batch"].size()) // passes
    header = _header(node, target, mesh)
    inputs = dict(layouts["inputs"].entries())
    parameters = dict(layouts["parameters"].entries())
    text = render(
        "jax_function.py.j2",
        header=Source("\n".join(header.lines())),
        reference=model["jax"].value,
        folder=model["folder"].value,
        axes=dict(reversed(mesh.items())) or {"x": 1},
        dtype=DTYPES.get(workload["precision"].text(), "bfloat16"),
        microbatches=passes,
        parameters={path: _entries(leaf["spec"]) for path, leaf in parameters.items()},
        states={path: _entries(leaf["states"]) for path, leaf in parameters.items()},
        inputs={
            name: (_shape(leaf), leaf["dtype"].text(), Source(f"P({_entries(leaf['spec'])})"))
            for name, leaf in inputs.items()
        },
        batched=tuple(name for name, leaf in inputs.items() if _shape(leaf)[:1] == (samples,)),
    )
    return {"train.py": text}


def _header(node: Node, target: str, mesh: Mapping[str, int]) -> Header:
    workload = node["job"]["workload"]
    axes = ", ".join(f"{axis} {ranks}" for axis, ranks in mesh.items())
    header = Header(
        f"{target}: mesh and shardings of a plan by Sixfold",
        [
            f"Job {one_line(node['job']['name'].text())}:"
            f" {one_line(workload['model']['jax'].text())} on a mesh of {axes or 'one device'}"
            f" (innermost first), {int(node['strategy']['microbatches'].size())} microbatches.",
        ],
    )
    header.not_expressible(
        "the sharding of each operator inside the function",
        "parameters, states and inputs lie as planned; XLA propagates from them",
    )
    if workload["optimizer"].text() not in ("adam", "adamw"):
        header.not_expressible(f"optimizer {one_line(workload['optimizer'].text())}", "adam")
    header.chosen("the learning rate")
    return header


def _shape(leaf: Node) -> tuple[int, ...]:
    return tuple(int(size.size()) for size in leaf["shape"].items())


def _entries(spec: Node) -> Source:
    """Source of a PartitionSpec's entries: None for a whole dim, a name, or a tuple of names."""
    dims: list[Sequence[str]] = [[axis.text() for axis in dim.items()] for dim in spec.items()]
    return Source(
        ", ".join(literal(d[0] if len(d) == 1 else tuple(d) if d else None) for d in dims)
    )
