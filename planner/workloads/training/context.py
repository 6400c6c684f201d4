"""Everything a training price needs, resolved once: job, cluster, stack, graph and constants.

`Context` is a job on one cluster with every default filled in: achieved rates in FLOP/s and
bytes/s, switches, bytes of each kind of state. The cost functions read it and the columns of
`ParallelDims`; they read no job section and no profile figure by themselves.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from costmodels.products import Product
from hardware_profiles.runtime import with_recipes
from hardware_profiles.stack import Stack, Switches, load_stack
from planner.cluster import Cluster
from planner.graph import Block, WorkloadGraph
from planner.job import Job
from planner.workloads.training.beside import Beside, Stretch
from planner.workloads.training.documents import Documents, layer_kinds
from planner.workloads.training.graph import build
from planner.workloads.training.operators import Adapters
from planner.workloads.training.rates import Rates, rates_of
from planner.workloads.training.recipes import recipes_for
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.staging import Staging, pinned_staging

__all__ = [
    "DEFAULT_IMBALANCE",
    "ELEMENT_BYTES",
    "Context",
    "Part",
    "Rates",
    "StoredBytes",
    "make",
    "overlap_frac",
    "rates_of",
    "stored_bytes",
]

DEFAULT_IMBALANCE = 1.15
"""Busiest expert rank over the mean one, with an auxiliary balancing loss (assumed)."""
ELEMENT_BYTES = {
    "fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "mxfp8": 1.03, "int8": 1.0,
    "mxfp4": 0.53, "nvfp4": 0.56, "int4": 0.5, "nf4": 0.52,
}  # fmt: skip
"""Bytes of a number, block scales included."""
OPTIMIZER_BYTES = {
    "adam": 8.0, "adamw": 8.0, "lion": 4.0, "sgd": 4.0, "muon": 4.0, "adafactor": 0.02,
}  # fmt: skip
"""Moments per parameter, fp32: two for Adam, one for momentum, rows and columns for Adafactor."""


@dataclass(frozen=True)
class Part:
    """What one pool does in a plan over several.

    Parameters
    ----------
    context : the job on the pool, with the staging of its pipeline
    own     : columns of `ParallelDims` that are the pool's own; the others hold for all pools
    """

    context: "Context"
    own: Mapping[str, float]


@dataclass(frozen=True)
class Context:
    """A training job on one cluster, defaults filled in.

    Parameters
    ----------
    tokens           : per sequence
    activation_bytes : of an element that crosses layers
    product_bytes    : of an element that enters a matrix product
    gradient_bytes, master_bytes, moment_bytes : per trainable parameter, as the stack keeps them
    parameter_bytes  : per parameter as stored for compute; frozen_bytes: of a frozen one
    imbalance        : busiest expert rank over the mean
    stagings         : what the column `ParallelDims.staging` counts into, from 1
    beside           : the other pools of the job, where it has any
    stretch          : the stages that this pool holds of a pipeline that crosses pools
    parts            : what each pool does, in a plan over several pools (see `pools`); then rates
                       and memory here are those of the cluster's first pool
    """

    spec: TrainingSpec
    cluster: Cluster
    stack: Stack
    switches: Switches
    graph: WorkloadGraph
    rates: Rates
    tokens: float
    activation_bytes: float
    product_bytes: float
    gradient_bytes: float
    master_bytes: float
    moment_bytes: float
    parameter_bytes: float
    frozen_bytes: float
    imbalance: float
    memory_bytes: float
    memory_reserve: float
    algorithms: tuple[tuple[str, str], ...]
    stagings: tuple[Staging, ...] = ()
    beside: Beside | None = None
    stretch: Stretch | None = None
    parts: tuple[Part, ...] = ()

    @property
    def layer_blocks(self) -> tuple[Block, ...]:
        """Blocks of decoder layers, one a kind."""
        return tuple(block for block in self.graph.blocks if block.layers)

    @property
    def kinds(self) -> list[int]:
        """Index into `layer_blocks`, for every decoder layer in order, of a stretch its own."""
        order = {block.name: i for i, block in enumerate(self.layer_blocks)}
        kinds = [order[kind.name] for kind in layer_kinds(self.spec.model)]
        if self.stretch is None:
            return kinds
        start = self.stretch.layers_before
        return kinds[start : start + sum(self.stagings[0].layers)]

    def block(self, name: str) -> Block | None:
        """Block called `name`, or None."""
        return next((block for block in self.graph.blocks if block.name == name), None)

    def staged(self, staging: Staging) -> tuple["Context", float]:
        """Return the context with a staging in its table, and the staging's code."""
        if staging in self.stagings:
            return self, 1.0 + self.stagings.index(staging)
        return replace(self, stagings=(*self.stagings, staging)), 1.0 + len(self.stagings)

    @property
    def memory_limit_bytes(self) -> float:
        """What a plan may use: memory_bytes (1 - memory_reserve)."""
        return self.memory_bytes * (1.0 - self.memory_reserve)

    @property
    def host_limit_bytes(self) -> float:
        """What a device may keep in its host's memory: an equal share, less the same reserve.

        Devices of a host that the job leaves idle leave their shares to the others.
        """
        host = self.cluster.profile.host
        sharing = min(host.devices, self.cluster.devices)
        held = host.memory_bytes_per_device.value * host.devices / sharing
        return held * (1.0 - self.memory_reserve)

    def overlap_frac(self, axis: str) -> float:
        """Share of the communication of `axis` that can run under compute, 0 where switched off."""
        return overlap_frac(self.stack, self.switches, axis)

    def algorithm(self, axis: str) -> str:
        """Return the collective algorithm that the job pins for an axis, or auto."""
        name = dict(self.algorithms).get(axis, "auto")
        return "in-switch" if name == "nvls" else name

    def product(self, *, low_precision: bool) -> Product:
        """Constants of a product at the job's precision, or in 16 bits."""
        return self.rates.matmul if low_precision else self.rates.bf16_matmul


def overlap_frac(stack: Stack, switches: Switches, axis: str) -> float:
    """Share of the communication of `axis` that a stack runs under compute, 0 if switched off."""
    on = {
        "dp": switches.overlap_grad_reduce,
        "gather": switches.overlap_param_gather,
        "tp": switches.overlap_tp,
        "cp": switches.overlap_cp,
        "ep": switches.overlap_ep,
        "pp": switches.overlap_p2p,
    }[axis]
    if not on:
        return 0.0
    family = stack.family
    overlap = family.overlap_compiled if switches.compile else family.overlap
    value: float = getattr(overlap, "dp" if axis == "gather" else axis).value
    return value


def documents_of(spec: TrainingSpec) -> Documents:
    """Document lengths of the job: packed documents bound the attention, padded ones do not.

    The length that a token sees is E[L^2]/E[L] = mean exp(sigma^2) of a lognormal whose mean and
    99th percentile are given, at most the sequence.
    """
    sequence = float(spec.sequence_length)
    lengths = spec.sequence_lengths
    if lengths is None or not spec.packing:
        return Documents(sequence, sequence, sequence)
    mean = min(float(lengths.mean), sequence)
    weighted = mean
    if lengths.p99 and lengths.p99 > lengths.mean:
        # ln p99 = mu + 2.326 sigma, ln mean = mu + sigma^2/2: the smaller root
        gap = math.log(lengths.p99 / lengths.mean)
        root = 2.3263**2 - 2.0 * gap
        sigma = 2.3263 - math.sqrt(root) if root > 0 else 2.3263
        weighted = mean * math.exp(sigma**2)
    return Documents(sequence, mean, min(weighted, sequence))


def _adapters(spec: TrainingSpec) -> Adapters | None:
    lora = spec.adapters
    if lora is None:
        return None
    return Adapters.of(lora.rank, lora.targets)


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes of an element of activations, and per trainable parameter of what is kept of it."""

    activation: float
    gradient: float
    master: float
    moment: float
    parameter: float


def stored_bytes(precision: str, optimizer: str, stack: Stack, switches: Switches) -> StoredBytes:
    """Return how a stack keeps parameters and their states at a precision."""
    family = stack.family
    sixteen = precision != "fp32"
    master = 4.0 if sixteen and switches.master_weights else 0.0
    wide = switches.master_weights or not sixteen
    narrow = 2.0 if sixteen else 4.0
    return StoredBytes(
        activation=narrow,
        gradient=ELEMENT_BYTES[switches.grad_dtype],
        master=0.0 if family.shards_master else master,
        moment=OPTIMIZER_BYTES[optimizer],
        parameter=(4.0 if wide else 2.0) if family.shards_master else narrow,
    )


def make(
    job: Job[TrainingSpec],
    cluster: Cluster,
    stack: Stack | None = None,
    stagings: tuple[Staging, ...] | None = None,
) -> Context:
    """Resolve a job on a cluster.

    Parameters
    ----------
    stack    : the software stack, by default the one that the job names
    stagings : by default the one that the job pins, if it does
    """
    spec, software = job.workload, job.software
    recipes = recipes_for(job, cluster.profile.name)
    stack = with_recipes(stack or load_stack(software.preset), recipes)
    switches = stack.switches.under(software.switches())
    if software.attention_kernels is not None:
        stack = stack.model_copy(update={"attention_kernels": software.attention_kernels})
    adapters = _adapters(spec)
    stored = stored_bytes(spec.precision, spec.optimizer, stack, switches)
    base = spec.adapters.base_precision if spec.adapters else None
    if stagings is None:
        pinned = pinned_staging(job.strategy)
        stagings = () if pinned is None else (pinned,)
    collectives = job.strategy.collectives
    return Context(
        spec=spec,
        cluster=cluster,
        stack=stack,
        switches=switches,
        graph=build(spec.model, documents_of(spec), adapters),
        rates=rates_of(cluster, spec.precision, software.gemm_efficiency, stack.attention_kernels),
        tokens=float(spec.sequence_length),
        activation_bytes=stored.activation,
        product_bytes=ELEMENT_BYTES[spec.precision],
        gradient_bytes=stored.gradient,
        master_bytes=stored.master,
        moment_bytes=stored.moment,
        parameter_bytes=stored.parameter,
        frozen_bytes=ELEMENT_BYTES[base] if base else 2.0,
        imbalance=_imbalance(spec),
        memory_bytes=cluster.profile.memory_bytes.value,
        memory_reserve=job.constraints.memory_reserve,
        algorithms=tuple(sorted(collectives.items())) if isinstance(collectives, dict) else (),
        stagings=stagings,
    )


def _imbalance(spec: TrainingSpec) -> float:
    moe = spec.model.moe
    if moe is None:
        return 1.0
    return DEFAULT_IMBALANCE if moe.imbalance is None else moe.imbalance
