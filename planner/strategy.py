"""The `strategy` section of a training job: what the user pins and what stays free.

A key is None (free), one value (pinned) or a tuple of allowed values. Knows the keys and their
types; which combinations are possible is said by `planner.workloads.training`.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from planner.fields import Axis, Choice, Count, Devices, Name, Section, Whole, whole

__all__ = [
    "Algorithm",
    "CpComm",
    "LocalSgd",
    "MESH",
    "Module",
    "Offload",
    "Recompute",
    "RecomputeFull",
    "RecomputeMode",
    "RecomputeModules",
    "Schedule",
    "Stage",
    "Stale",
    "Strategy",
]

Schedule = Literal["gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe"]
CpComm = Literal["p2p", "all-gather", "a2a", "a2a+p2p"]
Offload = Literal["optimizer", "activations", "parameters"]
Recompute = Literal["none", "selective", "per-operator", "projections", "full"]
Module = Literal["core_attn", "moe_act", "layernorm", "mla_up_proj", "mlp", "moe", "shared_experts"]
Algorithm = Literal["auto", "ring", "tree", "hierarchical", "nvls", "in-switch"]
ZeroStage = Annotated[int, Field(ge=0, le=3), BeforeValidator(whole)]
MESH = ("tp", "cp", "dp", "pp")


class RecomputeFull(Section):
    """Full recomputation of some layers of each stage, the rest kept: `{full: 4}`."""

    full: Annotated[Count, Field(description="layers per stage that are recomputed")]


class RecomputeModules(Section):
    """Recomputation of single modules of every layer: `{selective: [moe_act, layernorm]}`."""

    selective: Annotated[
        tuple[Module, ...],
        Field(min_length=1, description="modules that are recomputed, as Megatron-Core names them"),
    ]

    @field_validator("selective", mode="after")
    @classmethod
    def _once(cls, value: tuple[Module, ...]) -> tuple[Module, ...]:
        if len(set(value)) != len(value):
            raise ValueError("selective names a module twice")
        return value


RecomputeMode = Recompute | RecomputeFull | RecomputeModules


class LocalSgdSteps(Section):
    """Local steps between averages; the level that only averages cross; their number format.

    What is absent is searched; `across` is by default the innermost level between sites, or the
    outermost level where there are none.
    """

    steps: Count | None = None
    across: Name | None = None
    precision: Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4"] | None = None


class LocalSgd(Section):
    """Local SGD: `{local_sgd: {steps: H, across: site, precision: int4}}`."""

    local_sgd: LocalSgdSteps


class Stale(Section):
    """Bounded staleness: `{stale: s}`, s steps."""

    stale: Count


class Stage(Section):
    """What the solver chose for one pipeline stage."""

    layers: Whole
    pool: Name | None = None
    tp: Devices | None = None
    recompute: RecomputeMode | None = None
    offload: tuple[Offload, ...] | None = None
    micro_batch: Count | None = None
    microbatches: Count | None = None


class Strategy(Section):
    """Degrees, sharding, schedule, memory savings. None is free, a tuple is allowed values.

    `offload`, `layers_per_stage`, `mesh_order`, `placement` and `collectives` are one value each
    (a list or a mapping), never a set of allowed ones.
    """

    tp: Choice[Devices] = Field(default=None, description="tensor-parallel degree")
    sp: Choice[bool] = Field(default=None, description="sequence parallelism (Megatron's, over tp)")
    cp: Choice[Devices] = Field(default=None, description="context-parallel degree")
    pp: Choice[Devices] = Field(default=None, description="pipeline stages")
    vpp: Choice[Devices] = Field(
        default=None, description="virtual stages per rank; above 1 needs schedule interleaved"
    )
    ep: Choice[Devices] = Field(default=None, description="expert-parallel degree")
    etp: Choice[Devices] = Field(default=None, description="tensor-parallel degree inside experts")
    dp: Choice[Devices] = Field(
        default=None, description="data-parallel degree; must equal devices / (tp*cp*pp)"
    )
    zero: Choice[ZeroStage] = Field(
        default=None,
        description="shards over the dp*cp ranks: 0 nothing, 1 optimizer state, 2 and gradients, "
        "3 and parameters (FSDP)",
    )
    zero_group: Choice[Devices] = Field(
        default=None,
        description="ranks that share one shard set (HSDP); divides dp*cp, default all",
    )
    micro_batch: Choice[Count] = Field(
        default=None, description="sequences per microbatch per data-parallel rank"
    )
    microbatches: Choice[Count] = Field(
        default=None,
        description="global_batch / (dp*micro_batch); follows from them, written by plans",
    )
    schedule: Choice[Schedule] = Field(default=None, description="pipeline schedule")
    cp_comm: Choice[CpComm] = Field(
        default=None,
        description="context-parallel exchange: p2p (ring), all-gather, a2a (Ulysses), both",
    )
    mesh_order: tuple[Literal["tp", "cp", "dp", "pp"], ...] | None = Field(
        default=None, description="the four mesh axes, innermost first; default tp, cp, dp, pp"
    )
    placement: dict[Axis, Name] | None = Field(
        default=None, description="the outermost network level that an axis may cross: {ep: rack}"
    )
    recompute: Choice[RecomputeMode] = Field(
        default=None,
        description="activation recomputation; {full: n} recomputes n layers of each stage, "
        "{selective: [...]} single modules of every layer",
    )
    offload: tuple[Offload, ...] | None = Field(
        default=None,
        description="what is kept in the host's memory; an empty list pins nothing offloaded",
    )
    layers_per_stage: Annotated[tuple[Whole, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="pp*vpp entries in forward order, decoder layers only; 0 at the ends alone",
    )
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="pp entries: layers of a stage and what it chooses of its own; with virtual "
        "stages layers_per_stage says how its chunks share them",
    )
    sharding: dict[str, object] | None = Field(
        default=None, description="what was searched per operator"
    )
    collectives: Literal["auto"] | dict[Axis, Algorithm] | None = Field(
        default=None, description="auto, or the algorithm of each axis"
    )
    consistency: Literal["synchronous", "asynchronous"] | LocalSgd | Stale | None = Field(
        default=None,
        description="how replicas agree; absent: searched where learning is priced",
    )

    @field_validator("placement", "collectives", mode="after")
    @classmethod
    def _in_order(cls, value: object) -> object:
        """Sort the keys: their order in the file means nothing."""
        return dict(sorted(value.items())) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _whole_mesh(self) -> "Strategy":
        if self.mesh_order is not None and sorted(self.mesh_order) != sorted(MESH):
            raise ValueError("mesh_order must name each of tp, cp, dp, pp once, innermost first")
        if self.offload is not None and len(set(self.offload)) != len(self.offload):
            raise ValueError("offload names something twice")
        return self

    def allowed(self, key: str) -> tuple[object, ...] | None:
        """Return what a key of type `Choice` may be: None if free, one value if pinned."""
        value: object = getattr(self, key)
        if value is None:
            return None
        return value if isinstance(value, tuple) else (value,)

    def pinned(self, key: str) -> object | None:
        """Return the one value that a key of type `Choice` may take, or None if it has more."""
        allowed = self.allowed(key)
        return allowed[0] if allowed is not None and len(allowed) == 1 else None

    def pinned_count(self, key: str) -> int | None:
        """`pinned` for a key that holds a number."""
        value = self.pinned(key)
        return value if isinstance(value, int) else None
