"""A job, resolved: the frozen sections that every kind of workload shares.

`Job[W]` joins them with the workload section of its kind, a model of the shape's own. Knows what
may be written and what it means; reads no file (`planner.spec` does) and prices nothing.

Parts: `Hardware` and its `DeviceRange`, `HardwareSet`, `LevelSpec`, `SliceSpec`, `Pool`;
`Objective`; `Constraints`; `Failure`; `Software`; `Strategy` (from `planner.strategy`); `Job`.
"""

import math
import re
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, model_validator

from hardware_profiles.stack import AttentionKernels
from planner.fields import Devices, Name, NotNegative, Positive, Probability, Section, Share
from planner.strategy import RecomputeFull, Strategy

__all__ = [
    "Constraints",
    "DeviceRange",
    "Failure",
    "Hardware",
    "HardwareSet",
    "Job",
    "LevelSpec",
    "Metric",
    "Objective",
    "Pool",
    "RecomputeFull",
    "SliceSpec",
    "Software",
    "Strategy",
]

Metric = Literal[
    "step_time",
    "throughput",
    "cost",
    "time_to_train",
    "energy",
    "latency",
    "reliability",
    "devices",
]
W = TypeVar("W", bound=BaseModel)


class DeviceRange(Section):
    """Device counts to choose from, `min` to `max`, both included."""

    min: Devices
    max: Devices

    @model_validator(mode="after")
    def _ordered(self) -> "DeviceRange":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class HardwareSet(Section):
    """Figures of the profile that the job overrides, for every system listed.

    `inter_node_bytes_per_s` is per node, all adapters together, one direction;
    `intra_node_bytes_per_s` per device; `peak_flop_per_s` dense bf16.
    """

    memory_bytes: Positive | None = None
    memory_bytes_per_s: Positive | None = None
    peak_flop_per_s: Positive | None = None
    devices_per_node: Devices | None = None
    intra_node_bytes_per_s: Positive | None = None
    inter_node_bytes_per_s: Positive | None = None
    power_cap_w: Positive | None = None

    def given(self) -> dict[str, float]:
        """Return the overrides that are given, by key."""
        return {key: float(value) for key, value in self if value is not None}


class LevelSpec(Section):
    """A network level of the job's own, inner to outer; replaces the profile's network.

    `devices` per domain, of which `usable` can be used; `bytes_per_s` is per member (a device,
    then the level below), one direction, all its links together.
    """

    name: Name
    devices: Devices
    usable: Devices | None = None
    bytes_per_s: Positive
    latency_s: NotNegative = 0.0

    @model_validator(mode="after")
    def _usable_of_devices(self) -> "LevelSpec":
        if self.usable is not None and self.usable > self.devices:
            raise ValueError(f"usable {self.usable} is more than devices {self.devices}")
        return self


class SliceSpec(Section):
    """Slices of a torus: chips along each axis, and how many slices are joined."""

    topology: Annotated[
        str, Field(pattern=r"^[1-9][0-9]{0,4}(x[1-9][0-9]{0,4}){0,2}$", examples=["4x8x8"])
    ]
    count: Devices = 1

    @property
    def axes(self) -> tuple[int, ...]:
        """Chips along each torus axis."""
        return tuple(int(part) for part in re.findall(r"[0-9]+", self.topology))

    @property
    def devices(self) -> int:
        """Chips of all slices together."""
        return math.prod(self.axes) * self.count


class Pool(Section):
    """Devices of one kind among several kinds."""

    name: Name
    system: Name
    devices: Devices
    set: HardwareSet = HardwareSet()
    usd_per_device_hour: NotNegative | None = None


class Hardware(Section):
    """Machines to plan for: one or several systems, one or several device counts."""

    system: Name | Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="a shipped profile, a path to a profile file, or a list to choose from",
    )
    devices: Devices | DeviceRange | Annotated[tuple[Devices, ...], Field(min_length=1)] | None = (
        Field(default=None, description="a number, {min, max}, or a list to choose from")
    )
    set: HardwareSet = Field(
        default=HardwareSet(), description="overrides of figures of the profile"
    )
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)] | None = Field(
        default=None, description="named groups of devices; replaces system, devices and set"
    )
    use: Literal["all", "one", "any"] = Field(
        default="all", description="which pools the job may use"
    )
    levels: tuple[LevelSpec, ...] = Field(
        default=(), description="network levels, inner to outer; override the profile's network"
    )
    slice: SliceSpec | None = Field(default=None, description="torus slices")
    usd_per_device_hour: NotNegative | None = Field(
        default=None, description="price of a device hour"
    )

    @model_validator(mode="after")
    def _pools_alone(self) -> "Hardware":
        if self.pools is None:
            return self
        for key in ("system", "devices", "slice"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} cannot stand beside pools: each pool gives its own")
        if self.set.given():
            raise ValueError("set cannot stand beside pools: each pool gives its own")
        names = [pool.name for pool in self.pools]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"pools names {twice} twice")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Hardware":
        if self.slice and isinstance(self.devices, int) and self.devices != self.slice.devices:
            raise ValueError(
                f"devices {self.devices} is not slice.topology {self.slice.topology}"
                f" * count {self.slice.count} = {self.slice.devices}"
            )
        for inner, outer in zip(self.levels, self.levels[1:], strict=False):
            held = inner.usable or inner.devices
            if outer.devices % held:
                raise ValueError(
                    f"levels {outer.name} has {outer.devices} devices, not whole domains of"
                    f" {inner.name} ({held})"
                )
        return self

    def of_pool(self, pool: Pool) -> "Hardware":
        """Return the hardware of one pool alone, as a job that has nothing else would give it."""
        price = pool.usd_per_device_hour
        return self.model_copy(
            update={
                "system": pool.system,
                "devices": pool.devices,
                "set": pool.set,
                "pools": None,
                "use": "all",
                "usd_per_device_hour": self.usd_per_device_hour if price is None else price,
            }
        )

    @property
    def systems(self) -> tuple[str, ...]:
        """Systems to choose from."""
        if self.system is None:
            return ()
        return (self.system,) if isinstance(self.system, str) else self.system

    @property
    def fixed_devices(self) -> int | None:
        """The device count, where there is no choice."""
        if self.devices is None:
            return self.slice.devices if self.slice else None
        if isinstance(self.devices, DeviceRange):
            return self.devices.min if self.devices.min == self.devices.max else None
        if isinstance(self.devices, int):
            return self.devices
        return self.devices[0] if len(set(self.devices)) == 1 else None


class Objective(Section):
    """What the best plan is best at."""

    metric: Metric = Field(
        default="step_time",
        description="throughput: tokens/s per device; devices: fewest that meet the constraints",
    )


class Constraints(Section):
    """Limits of the run. Deadline and budget hold with probability `confidence`."""

    memory_reserve: Share = Field(default=0.06, description="share of memory_bytes kept free")
    max_cost_usd: Positive | None = Field(default=None, description="budget of the whole run, USD")
    deadline_s: Positive | None = Field(default=None, description="time to train at most, s")
    min_tokens_per_s: Positive | None = Field(
        default=None, description="tokens/s of all devices, at least"
    )
    confidence: Probability = Field(
        default=0.9, description="probability that deadline and budget hold", examples=[0.9]
    )


class Failure(Section):
    """Failures, checkpoints and spot machines; None takes the profile's figure.

    `node_mtbf_s` and `spare_nodes` count hosts (what fails together).
    """

    node_mtbf_s: Positive | None = None
    checkpoint_bytes_per_s: Positive | None = None
    restart_s: NotNegative | None = None
    checkpoint_async: bool = True
    checkpoint_interval_s: Positive | None = None
    spare_nodes: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    preemption_mean_s: Positive | None = None
    notice_s: NotNegative | None = None
    replacement_s: NotNegative | None = None


class Software(Section):
    """The software stack: a preset (a family and its default switches), and what overrides it."""

    preset: Name = Field(default="megatron-core", description="name of a shipped stack")
    flash_attention: bool | None = Field(default=None, description="fused attention")
    attention_kernels: AttentionKernels | None = Field(
        default=None, description="generation of the fused attention kernels"
    )
    compile: bool | None = Field(default=None, description="a compiler fuses operators")
    fused_kernels: bool | None = Field(
        default=None, description="fused norms, activations and the like"
    )
    fused_dispatch: bool | None = Field(
        default=None, description="experts' tokens are ordered and padded by what exchanges them"
    )
    fused_experts: bool | None = Field(
        default=None, description="casts, bias and activation inside the products of experts"
    )
    cuda_graphs: bool | None = Field(
        default=None, description="a step's kernels are replayed from a graph, not launched"
    )
    overlap_grad_reduce: bool | None = None
    overlap_param_gather: bool | None = None
    overlap_tp: bool | None = None
    overlap_p2p: bool | None = None
    overlap_cp: bool | None = None
    overlap_ep: bool | None = None
    fused_loss: bool | None = Field(
        default=None, description="one kernel computes the loss on 16-bit logits"
    )
    chunked_loss: bool | None = Field(default=None, description="logits are never whole in memory")
    grad_dtype: Literal["fp32", "bf16", "fp16"] | None = Field(
        default=None, description="number format of accumulated gradients"
    )
    master_weights: bool | None = Field(default=None, description="an fp32 copy of the parameters")
    gemm_efficiency: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="share of the peak that large matrix products reach"
    )
    runtime: str | None = Field(
        default=None,
        max_length=500,
        description="the framework and its release: free text; a known one's recipes set switches",
    )

    def switches(self) -> dict[str, object]:
        """Return the switches that are given, by key (what is no switch is left out)."""
        other = ("preset", "runtime", "attention_kernels")
        return {k: v for k, v in self if v is not None and k not in other}


class Job(Section, Generic[W]):
    """A whole job; `workload` is the section of its kind."""

    name: Name = Field(default="job", description="free text, for the record")
    workload: W
    hardware: Hardware = Hardware()
    objective: Objective = Objective()
    constraints: Constraints = Constraints()
    failure: Failure = Failure()
    strategy: Strategy = Strategy()
    software: Software = Software()
    emit: tuple[Name, ...] = Field(default=(), description="frameworks to write configurations for")
