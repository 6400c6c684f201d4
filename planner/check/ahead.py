"""A plan's step compiled for chips that are not here, and held against the plan.

The model is not reduced: nothing runs. It is the plain decoder of the checked step at the job's
precision, on as many devices of the target as the plan has.

Parts: `ahead`.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from planner import recommend, spec
from planner.check.counted import counted
from planner.check.expected import expected
from planner.check.hlo import communication
from planner.check.planned import planned
from planner.check.reduced import Budget, reduce
from planner.check.targets import Target, devices_of
from planner.check.witness import Line, Witness, argument_parts, compare
from planner.emit.view import read
from planner.errors import SpecError
from planner.workloads.training.spec import TrainingJob

__all__ = ["ahead"]

UNBOUNDED = 1e30
DTYPES = {"bf16": "bfloat16", "fp32": "float32"}


def ahead(job_file: Path, target: Target) -> dict[str, object]:
    """Compile the step of a job's plan for a target, and compare what it sends and holds.

    Raises
    ------
    SpecError : what must be installed is not; the plan has another number of devices; its step
                cannot be built
    """
    devices = devices_of(target)
    job = spec.load(job_file)
    plan = _placed(job, target)
    from planner.check.step import build

    step = build(plan, devices, _dtype(job))
    start = time.perf_counter()
    lowered = step.lower()
    made = lowered.compile()
    seconds = time.perf_counter() - start
    held = counted(plan, step.axes, step.roles)
    found = compare(
        expected(held, step.layout.capacity), communication(made.as_text() or ""), step.axes
    )
    memory = made.memory_analysis()
    assert memory is not None
    price = recommend.predict(spec.load_mapping(_job(plan)))
    predicted = price["prediction"]
    assert isinstance(predicted, Mapping)
    arguments = argument_parts(held)
    return {
        "job": job.name,
        "target": f"{target.chip}:{'x'.join(map(str, target.shape))}",
        "strategy": plan["strategy"],
        "changes": plan["changes"],
        "notes": list(step.notes),
        "compile_s": seconds,
        "equal": found.equal,
        "unknown": list(found.unknown),
        "lines": [_line(line) for line in found.lines],
        "by_axis": _by_axis(found),
        "memory": {
            "arguments": {
                "parts": dict(arguments),
                "predicted": sum(size for _, size in arguments),
                "compiled": float(memory.argument_size_in_bytes),
            },
            "peak": {
                "predicted": predicted["memory_bytes"],
                "compiled": float(memory.peak_memory_in_bytes),
            },
        },
    }


def _dtype(job: TrainingJob) -> str:
    precision = job.workload.precision
    if precision not in DTYPES:
        raise SpecError(
            f"the step is compiled in {' or '.join(DTYPES)}, not in {precision}",
            key="workload.precision",
        )
    return DTYPES[precision]


def _job(plan: Mapping[str, object]) -> Mapping[str, object]:
    job = plan["job"]
    assert isinstance(job, Mapping)
    return job


def _placed(job: TrainingJob, target: Target) -> dict[str, object]:
    """Return the plan of the step on the target: pinned as the job has it, or searched there."""
    hardware = job.hardware.model_copy(
        update={"system": target.system, "devices": target.devices, "slice": None}
    )
    placed = job.model_copy(update={"hardware": hardware})
    everything = Budget(target.devices, UNBOUNDED, UNBOUNDED)
    made = reduce(read(planned(placed)), everything, target.system)
    precision = job.workload.precision
    narrow = {} if precision == "fp32" else {"grad_dtype": precision, "master_weights": False}
    raw = dict(made.job)
    workload, software = raw["workload"], raw["software"]
    assert isinstance(workload, Mapping) and isinstance(software, Mapping)
    raw["workload"] = {**workload, "precision": precision}
    raw["software"] = {**software, **narrow}
    changes = [change for change in made.changes if not change.startswith("precision ")]
    if narrow:
        changes.append("fp32 master copies and gradients: bf16 ones, moments in fp32")
    return {"job": raw, "strategy": raw["strategy"], "changes": changes}


def _line(line: Line) -> dict[str, object]:
    return {
        "over": list(line.over),
        "axes": list(line.axes),
        "family": line.family,
        "parts": [{"name": part.name, "bytes": part.bytes} for part in line.parts],
        "compiled_as": [
            {"kind": kind, "dtype": dtype, "bytes": sent} for kind, dtype, sent in line.compiled
        ],
        "predicted": line.predicted_bytes,
        "compiled": line.compiled_bytes,
        "error": line.predicted_bytes / line.compiled_bytes - 1.0 if line.compiled_bytes else None,
    }


def _by_axis(found: Witness) -> dict[str, dict[str, float]]:
    axes = dict.fromkeys(axis for line in found.lines for axis in line.axes)
    sent = {axis: found.sent(axis) for axis in axes}
    return {axis: {"predicted": p, "compiled": c} for axis, (p, c) in sent.items()}
