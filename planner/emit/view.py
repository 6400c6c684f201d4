"""A plan read back: what `plan.json` says, with types, for those who write configurations.

`read` takes the mapping that `plan.json` holds and returns a `PlanView` in which every degree is
a number and every switch is given. It refuses what is not a plan of one training job with a
`SpecError`. Knows no framework.

Parts: `Mesh` (the strategy, nothing left open), `PlanView`, `read`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from hardware_profiles.load import ProfileError, load
from hardware_profiles.lookup import computed_in
from hardware_profiles.runtime import with_recipes
from hardware_profiles.stack import Switches, load_stack
from planner.emit.text import one_line
from planner.errors import SpecError
from planner.fields import Section
from planner.models.config import ModelConfig
from planner.strategy import MESH, RecomputeFull, RecomputeModules, Strategy
from planner.workloads.training.footprint import BEYOND_HOST
from planner.workloads.training.recipes import recipes_for
from planner.workloads.training.spec import TrainingJob, TrainingSpec
from planner.workloads.training.stages import even_layout

__all__ = ["Mesh", "PlanView", "read"]

USUAL_HOST_DEVICES = 8
MOST_STEPS = 1e12


@dataclass(frozen=True, slots=True)
class Mesh:
    """The strategy of a plan with nothing left open (names as in the job file).

    Parameters
    ----------
    recompute, recompute_layers : method, and the layers of a stage it is for (None: all of them);
                 `modules` where single modules of every layer are, `recompute_modules`
    layout     : decoder layers of each of the pp * vpp chunks, in forward order
    even       : the layout is the same number of layers everywhere
    order      : mesh axes, innermost first
    stages, sharding : whether the plan holds choices by stage or by operator
    """

    tp: int
    sp: bool
    cp: int
    pp: int
    vpp: int
    dp: int
    ep: int
    etp: int
    zero: int
    zero_group: int
    micro_batch: int
    microbatches: int
    schedule: str
    cp_comm: str
    recompute: str
    recompute_layers: int | None
    recompute_modules: tuple[str, ...]
    offload: tuple[str, ...]
    layout: tuple[int, ...]
    order: tuple[str, ...]
    placement: tuple[tuple[str, str], ...]
    collectives: tuple[tuple[str, str], ...]
    consistency: str
    stages: bool
    sharding: bool

    @property
    def devices(self) -> int:
        """Devices of the mesh: tp * cp * pp * dp."""
        return self.tp * self.cp * self.pp * self.dp

    @property
    def replicas(self) -> int:
        """Copies of a shard set: dp * cp / zero_group where states are sharded at all."""
        return self.dp * self.cp // self.zero_group

    @property
    def even(self) -> bool:
        """Whether every chunk has the same number of layers."""
        return len(set(self.layout)) == 1


@dataclass(frozen=True, slots=True)
class PlanView:
    """One plan of one training job.

    Parameters
    ----------
    system        : the machine's name; empty where the job leaves a choice
    vendor        : nvidia, amd, google ...; empty where the profile cannot be read
    precision     : that products are computed in: the job's, or what the machine has units for
    host_devices  : devices of one host, which one launcher serves (USUAL_HOST_DEVICES if unknown);
                    fewer where hosts would be left partly used
    steps         : optimizer steps of the run; None where the job gives no tokens
    checkpoint_steps : optimizer steps between checkpoints; None where the plan does not say
    lost          : what no framework can do of a plan over pools, and the nearest that it can
    """

    job: TrainingJob
    mesh: Mesh
    switches: Switches
    system: str
    vendor: str
    precision: str
    host_devices: int
    steps: int | None
    checkpoint_steps: int | None
    lost: tuple[tuple[str, str], ...] = ()

    @property
    def model(self) -> ModelConfig:
        """The architecture."""
        return self.job.workload.model

    @property
    def workload(self) -> TrainingSpec:
        """The workload section of the job."""
        return self.job.workload


def read(plan: Mapping[str, object]) -> PlanView:
    """Read a plan; SpecError where it is not one of a training job, or contradicts itself."""
    if "parts" in plan:
        raise SpecError("a plan of several parts: emit each of plan.parts by itself", key="parts")
    job, strategy = _section(plan, "job"), _section(plan, "strategy")
    workload = job.get("workload")
    kind = workload.get("kind") if isinstance(workload, Mapping) else None
    if kind != "training":
        raise SpecError(
            f"configurations are written for plans of kind training, this is {one_line(kind)}",
            key="job.workload.kind",
        )
    model = workload.get("model") if isinstance(workload, Mapping) else None
    if isinstance(model, Mapping) and "jax" in model:
        raise SpecError("a plan of a JAX function is written for target jax alone",
                        key="job.workload.model.jax")  # fmt: skip
    try:
        parsed = TrainingJob.model_validate(dict(job))
    except ValidationError as error:
        raise _not_a_plan("job", error) from None
    try:
        chosen = Strategy.model_validate(dict(strategy))
    except ValidationError as error:
        raise _not_a_plan("strategy", error) from None
    mesh = _mesh(chosen, parsed.workload)
    machine = _machine(parsed)
    step_tokens = parsed.workload.global_batch * parsed.workload.sequence_length
    tokens = parsed.workload.tokens
    return PlanView(
        job=parsed,
        mesh=mesh,
        switches=_switches(parsed),
        system=machine.system,
        vendor=machine.vendor,
        precision=machine.precision,
        host_devices=max(d for d in range(1, machine.devices + 1) if mesh.devices % d == 0),
        steps=None if tokens is None else max(1, math.ceil(tokens / step_tokens)),
        checkpoint_steps=_checkpoint_steps(plan),
        lost=_lost(plan),
    )


def _lost(plan: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return what `emit.pools` could not keep of a plan over several pools, and half an offload."""
    pairs = plan.get("lost", ())
    lost = list(pairs) if isinstance(pairs, list | tuple) else []
    prediction = plan.get("prediction")
    held = prediction.get("memory", ()) if isinstance(prediction, Mapping) else ()
    if any(BEYOND_HOST in str(part) for part in held):
        what = f"offload of what fits on the host, the rest ({BEYOND_HOST}) on the device"
        lost.append((what, "all of it on the host, which is too small: offload a fraction"))
    return tuple((str(what), str(nearest)) for what, nearest in lost)


def _section(plan: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = plan.get(key)
    if not isinstance(value, Mapping):
        raise SpecError("missing: not a plan that `sixfold plan` wrote", key=key)
    return value


def _not_a_plan(section: str, error: ValidationError) -> SpecError:
    first = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(one_line(part) for part in (section, *first["loc"]))
    return SpecError(f"not as a plan has it: {one_line(first['msg'])}", key=path)


def _count(strategy: Strategy, key: str, absent: int | None = 1) -> int:
    value = strategy.pinned_count(key)
    if value is None and absent is None:
        raise SpecError("a plan gives one whole number", key=f"strategy.{key}")
    return absent if value is None and absent is not None else value or 0


def _mesh(strategy: Strategy, workload: TrainingSpec) -> Mesh:
    pp, vpp = _count(strategy, "pp"), _count(strategy, "vpp")
    dp, cp = _count(strategy, "dp", None), _count(strategy, "cp")
    micro_batch = _count(strategy, "micro_batch", None)
    recompute = strategy.pinned("recompute") or "none"
    whole = isinstance(recompute, str)
    layers = recompute.full if isinstance(recompute, RecomputeFull) else None
    modules = recompute.selective if isinstance(recompute, RecomputeModules) else ()
    layout = strategy.layers_per_stage or even_layout(workload.model.layers, pp * vpp)
    collectives, consistency = strategy.collectives, strategy.consistency
    mesh = Mesh(
        tp=_count(strategy, "tp"),
        sp=bool(strategy.pinned("sp")),
        cp=cp,
        pp=pp,
        vpp=vpp,
        dp=dp,
        ep=_count(strategy, "ep"),
        etp=_count(strategy, "etp"),
        zero=_count(strategy, "zero", 0),
        zero_group=_count(strategy, "zero_group", dp * cp),
        micro_batch=micro_batch,
        microbatches=workload.global_batch // (dp * micro_batch),
        schedule=str(strategy.pinned("schedule") or "1f1b"),
        cp_comm=str(strategy.pinned("cp_comm") or "p2p"),
        recompute=str(recompute) if whole else "modules" if modules else "full",
        recompute_layers=layers,
        recompute_modules=modules,
        offload=tuple(strategy.offload or ()),
        layout=tuple(layout),
        order=tuple(strategy.mesh_order or MESH),
        placement=tuple(sorted((strategy.placement or {}).items())),
        collectives=tuple(sorted(collectives.items())) if isinstance(collectives, dict) else (),
        consistency=_consistency(consistency),
        stages=strategy.stages is not None,
        sharding=strategy.sharding is not None,
    )
    _check(mesh, workload)
    return mesh


def _consistency(value: str | Section | None) -> str:
    """Write the consistency as a job has it: `{local_sgd: {steps: 50, across: wide}}`."""
    if isinstance(value, Section):
        return json.dumps(value.model_dump(mode="json", exclude_none=True)).replace('"', "")
    return value or "synchronous"


def _check(mesh: Mesh, workload: TrainingSpec) -> None:
    """Refuse a strategy that contradicts the job it came with."""
    if workload.global_batch % (mesh.dp * mesh.micro_batch):
        raise SpecError(
            f"global_batch {workload.global_batch} is not whole microbatches of"
            f" dp {mesh.dp} * micro_batch {mesh.micro_batch}",
            key="strategy.micro_batch",
        )
    if (mesh.dp * mesh.cp) % mesh.zero_group:
        raise SpecError(
            f"zero_group {mesh.zero_group} does not divide dp*cp {mesh.dp * mesh.cp}",
            key="strategy.zero_group",
        )
    if len(mesh.layout) != mesh.pp * mesh.vpp or sum(mesh.layout) != workload.model.layers:
        raise SpecError(
            f"must be pp*vpp = {mesh.pp * mesh.vpp} entries that sum to"
            f" {workload.model.layers} layers",
            key="strategy.layers_per_stage",
        )
    if (mesh.tp * mesh.cp * mesh.dp) % (mesh.ep * mesh.etp):
        raise SpecError(
            f"ep*etp {mesh.ep * mesh.etp} does not divide the"
            f" {mesh.tp * mesh.cp * mesh.dp} ranks of a stage",
            key="strategy.ep",
        )


def _switches(job: TrainingJob) -> Switches:
    """Switches of the preset, with those of its runtime and of the job in their place."""
    software = job.software
    machine = job.hardware.systems[0] if len(job.hardware.systems) == 1 else ""
    try:
        base = with_recipes(load_stack(software.preset), recipes_for(job, machine)).switches
    except KeyError:
        base = Switches()
    return base.under(software.switches())


class _Machine(NamedTuple):
    """The machine of a plan: its name and vendor, what it computes in, devices of a host."""

    system: str
    vendor: str
    precision: str
    devices: int


def _machine(job: TrainingJob) -> _Machine:
    systems, precision = job.hardware.systems, job.workload.precision
    if len(systems) != 1:
        return _Machine("", "", precision, USUAL_HOST_DEVICES)
    try:
        profile = load(systems[0])
    except ProfileError:
        return _Machine(systems[0], "", precision, USUAL_HOST_DEVICES)
    node = profile.network[0].devices
    own = job.hardware.set.devices_per_node
    host = profile.host.devices
    devices = own if own is not None and host == node else host
    return _Machine(systems[0], profile.vendor, computed_in(profile, precision), devices)


def _checkpoint_steps(plan: Mapping[str, object]) -> int | None:
    prediction = plan.get("prediction")
    if not isinstance(prediction, Mapping):
        return None
    interval_s, step_s = prediction.get("checkpoint_interval_s"), prediction.get("step_time_s")
    if not isinstance(interval_s, int | float) or not isinstance(step_s, int | float):
        return None
    steps = interval_s / step_s if step_s > 0 else math.nan
    return max(1, round(steps)) if 0 < steps < MOST_STEPS else None
