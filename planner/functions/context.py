"""A job of a JAX function on its cluster, every default filled in, and its graph by batch size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hardware_profiles.stack import Stack, Switches, load_stack
from planner.cluster import Cluster
from planner.cluster.choices import clusters
from planner.importers.jaxpr import Function, Imported, InputShape, find, imported
from planner.sharding.price import Figures, figures
from planner.workloads.training.context import (
    ELEMENT_BYTES,
    StoredBytes,
    overlap_frac,
    rates_of,
    stored_bytes,
)
from planner.workloads.training.function import FunctionJob, JaxInput

__all__ = ["FunctionContext", "make", "on_cluster"]

FLOATS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class FunctionContext:
    """A job on one cluster.

    Parameters
    ----------
    stored  : bytes of activations, and per parameter of what is kept of it
    figures : what operators and collectives are priced with
    graphs  : the function as operators, by samples of a pass (tracing takes a second)
    """

    job: FunctionJob
    cluster: Cluster
    stack: Stack
    switches: Switches
    stored: StoredBytes
    figures: Figures
    function: Function
    inputs: Mapping[str, InputShape]
    graphs: dict[int, Imported] = field(default_factory=dict)

    @property
    def memory_limit_bytes(self) -> float:
        """What a plan may use: memory_bytes (1 - memory_reserve)."""
        held = self.cluster.profile.memory_bytes.value
        return held * (1.0 - self.job.constraints.memory_reserve)

    @property
    def activation_overlap(self) -> float:
        """Share of exchanges of activations that runs under compute."""
        return overlap_frac(self.stack, self.switches, "tp")

    def imported(self, samples: int) -> Imported:
        """Return the function as operators, for a pass over so many samples."""
        if samples not in self.graphs:
            floats = FLOATS[self.job.workload.precision]
            self.graphs[samples] = imported(
                self.function, self.inputs, samples=samples, float_dtype=floats
            )
        return self.graphs[samples]


def make(job: FunctionJob) -> FunctionContext:
    """Resolve a job: its one cluster, its stack, its function.

    Raises
    ------
    SpecError : the function cannot be imported
    """
    model = job.workload.model
    function = find(model.jax, None if model.folder is None else Path(model.folder))
    shapes: dict[str, InputShape] = {}
    for name, given in model.inputs.items():
        whole = isinstance(given, JaxInput)
        shapes[name] = (given.shape, given.dtype) if whole else (given, None)  # type: ignore[union-attr, assignment]
    (cluster,) = clusters(job.hardware)
    return on_cluster(job, cluster, function, shapes)


def on_cluster(
    job: FunctionJob, cluster: Cluster, function: Function, inputs: Mapping[str, InputShape]
) -> FunctionContext:
    """Resolve a job whose function is imported already."""
    spec = job.workload
    stack = load_stack(job.software.preset)
    switches = stack.switches.under(job.software.switches())
    stored = stored_bytes(spec.precision, spec.optimizer, stack, switches)
    rates = rates_of(cluster, spec.precision, job.software.gemm_efficiency)
    made = figures(cluster.profile, stack, switches, rates, stored, ELEMENT_BYTES[spec.precision])
    return FunctionContext(job, cluster, stack, switches, stored, made, function, inputs)
