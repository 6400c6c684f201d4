"""A plan checked: reduced to this machine, built, run, and its price beside what was measured.

Parts: `Asked`, `check`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.load import ProfileError, load
from hardware_profiles.load import names as profile_names
from hardware_profiles.schema import HardwareProfile
from planner import recommend, spec
from planner.check.planned import planned
from planner.check.reduced import Budget, Reduced, reduce
from planner.emit.view import PlanView, read
from planner.errors import SpecError
from planner.jax_here import (
    DEVICES,
    busy,
    divide,
    divided,
    first_line,
    load_per_core,
    need_jax,
)
from planner.workloads.training.function import FunctionSpec
from planner.workloads.training.spec import TrainingJob

__all__ = ["Asked", "check"]

STEP_S, REACHED = 1.0, 0.3
"""Seconds that a reduced step should take, and the share of the peak that it is taken to reach."""
FREE = 0.7
"""Share of the machine's memory that a reduced job may take."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asks for.

    Parameters
    ----------
    profile : of this machine; None: the job's own, where it names a file
    devices : to use; None: as many as the plan has, at most DEVICES
    repeats : steps timed
    """

    profile: Path | None = None
    devices: int | None = None
    repeats: int = 5


def check(job_file: Path, asked: Asked, progress: Progress) -> dict[str, object]:
    """Run a small step of a job's plan on this machine, and compare.

    Raises
    ------
    SpecError : no JAX; no profile of this machine; not a job of a transformer in training; too
                little memory
    """
    load = load_per_core()
    job = _job(job_file)
    system = _system(job, asked)
    plan = planned(job, progress)
    view = read(plan)
    made = reduce(view, _budget(view, system, asked), system)
    priced = recommend.predict(spec.load_mapping(made.job))
    measured = _measured(priced, asked, progress)
    said = {"job": job.name, "system": system, "busy": busy(load)}
    return {**said, **_described(view, made, priced), **measured}


def _job(job_file: Path) -> TrainingJob:
    job = spec.load_any(job_file)
    if isinstance(job.workload, FunctionSpec):
        raise SpecError(
            "a step of a JAX function is not built here: `sixfold emit --target jax` writes its"
            " mesh and a dry run",
            key="workload.model.jax",
        )
    return spec.load(job_file)


def _system(job: TrainingJob, asked: Asked) -> str:
    """Return the profile of this machine: the one that is given, or the job's own file."""
    need_jax()
    if asked.profile is not None:
        return str(asked.profile)
    own = job.hardware.systems
    if len(own) == 1 and own[0] not in profile_names():
        return own[0]
    raise SpecError(
        "no profile of this machine: `sixfold calibrate --quick --out host.yaml` measures one,"
        " then --profile host.yaml"
    )


def _profile(system: str) -> HardwareProfile:
    try:
        return load(system)
    except ProfileError as error:
        raise SpecError(str(error), key="--profile") from None


def _budget(view: PlanView, system: str, asked: Asked) -> Budget:
    """Return what the step may take on this machine, its devices made if need be."""
    profile = _profile(system)
    devices = _devices(asked.devices or min(view.mesh.devices, DEVICES))
    peak = profile.peak_flop_per_s.get("fp32", next(iter(profile.peak_flop_per_s.values()))).value
    return Budget(
        devices=devices,
        memory_bytes=FREE * profile.memory_bytes.value * devices,
        flop=STEP_S * REACHED * peak * devices,
    )


def _devices(wanted: int) -> int:
    """Return how many devices there are, a processor made to look like as many as are wanted."""
    if "jax" not in sys.modules and not divided():
        divide(wanted)
    import jax

    try:
        there = len(jax.local_devices())
    except RuntimeError as error:
        raise SpecError(f"JAX has no device to run on: {first_line(error)}") from None
    if there < wanted:
        raise SpecError(f"{wanted} devices were asked for, JAX has {there}", key="--devices")
    return wanted


def _measured(priced: Mapping[str, object], asked: Asked, progress: Progress) -> dict[str, object]:
    import jax

    from planner.check.compared import compared
    from planner.check.measured import measure
    from planner.check.step import build

    count = read(priced).mesh.devices
    step = build(priced, jax.local_devices()[:count])
    found = measure(step, asked.repeats, progress)
    prediction = priced["prediction"]
    assert isinstance(prediction, dict)
    return {"compared": compared(prediction, found), "notes": list(step.notes)}


def _described(view: PlanView, made: Reduced, priced: Mapping[str, object]) -> dict[str, object]:
    """Return what was checked: the plan's strategy, the changes, and the job that was run."""
    strategy = priced["strategy"]
    return {
        "plan": {"model": view.model.name, "system": view.system, "devices": view.mesh.devices},
        "changes": list(made.changes),
        "checked": dict(made.job),
        "strategy": strategy,
        "prediction": priced["prediction"],
    }
