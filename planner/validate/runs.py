"""A runs file: measured runs, each a job and what was measured of it.

Reads the file and gives each run's job as the planner takes it. Compares nothing and prices
nothing (`planner.validate` does).

Parts: `Source`, `Measured`, `Run`, `RunsFile`, `load_runs`, `job_of`.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from hardware_profiles.stack import load_stack, stack_names
from planner.errors import SpecError
from planner.fields import Name, NotNegative, Positive, Section
from planner.models.published import completed
from planner.nearest import shown
from planner.reading.complain import spec_error
from planner.reading.document import Document, PathKey, Value, read_file, read_text
from planner.reading.flow import read_flow
from planner.reading.grammar import Grammar
from planner.reading.resolve import without_nulls
from planner.spec import load_mapping
from planner.workloads.training.spec import TrainingJob

__all__ = ["Measured", "Run", "RunsFile", "Source", "job_of", "load_runs"]

MAX_BYTES = 50_000_000
MAX_NODES = 5_000_000
LEAST_PEAK_BYTES = 1e6
"""A peak of fewer bytes is in another unit."""
ONE_LINE = re.compile(r" *- (\{.*\})[ \r]*")


class Source(Section):
    """Where runs are from. `noise`: the relative difference below which two do not differ.

    `attention_flop`: whether the source's model FLOP/s count all of attention or its causal half.
    """

    name: Name
    where: str | None = None
    licence: str | None = None
    noise: NotNegative | None = None
    attention_flop: Literal["full", "causal"] | None = None
    cautions: tuple[str, ...] = ()


class Measured(Section):
    """What was measured: seconds, tokens/s, FLOP/s, bytes; `oom` where the job did not fit."""

    step_time_s: Positive | None = None
    tokens_per_s_per_device: Positive | None = None
    model_flop_per_s_per_device: Positive | None = None
    peak_memory_bytes: Positive | None = None
    outcome: Literal["ok", "oom"] = "ok"
    ttft_s: Positive | None = None
    tpot_s: Positive | None = None
    requests_per_s: Positive | None = None


class Run(Section):
    """One run of a source.

    `job` is as the file gives it (see `job_of`); `inferred` are dotted keys of it that the source
    does not state; ranking is judged inside a `group`; `line` is where it stands in the file.
    """

    id: Name
    group: Name | None = None
    job: dict[str, object]
    measured: Measured
    inferred: tuple[str, ...] = ()
    line: SkipJsonSchema[int | None] = None


class RunsFile(Section):
    """A file of runs of one source."""

    source: Source
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]
    path: SkipJsonSchema[str] = ""


def load_runs(path: Path) -> RunsFile:
    """Read a runs file.

    Raises
    ------
    SpecError : for whatever is wrong with the file itself; a job inside may still be wrong, which
                `job_of` tells
    """
    text = read_file(path, max_bytes=MAX_BYTES)
    document = _by_lines(text, str(path))
    if document is None:
        document = read_text(text, file=str(path), max_nodes=MAX_NODES)
    raw = without_nulls(document.value)
    document = Document(raw, document.file, document.lines)
    if not isinstance(raw, dict):
        raise document.error("a runs file is a mapping with keys source and runs")
    _fill(raw, "path", str(path), document, ())
    for index, run in enumerate(_list(raw.get("runs"))):
        if isinstance(run, dict):
            here = ("runs", index)
            _fill(run, "line", document.line_of(here), document, here)
    try:
        made = RunsFile.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise spec_error(error, document, _grammar()) from None
    _check(made, document)
    return made


def _check(file: RunsFile, document: Document) -> None:
    """Refuse ids given twice, runs that measured nothing, and memory in another unit."""
    first: dict[str, int | None] = {}
    for index, run in enumerate(file.runs):
        at: PathKey = ("runs", index, "measured")
        if run.id in first:
            said = f"{shown(run.id)} is given twice, first on line {first[run.id]}"
            raise document.error(said, ("runs", index, "id"))
        first[run.id] = run.line
        if not run.measured.model_fields_set:
            raise document.error(f"says nothing: one of {', '.join(Measured.model_fields)}", at)
        peak = run.measured.peak_memory_bytes
        if peak is not None and peak < LEAST_PEAK_BYTES:
            said = f"{peak:g} counts bytes: {peak:g} GB is {peak:g}e9"
            raise document.error(said, (*at, "peak_memory_bytes"))


def job_of(run: Run, file: RunsFile) -> TrainingJob:
    """Return the job of a run, with what an absent key means in a runs file filled in.

    A model of a published name and sizes has what is published of it beside (see `completed`);
    multi-token prediction on Megatron alone, whose recipes train it.
    Absent `cp`, `ep`, `etp`, `vpp` are 1 (`vpp` 2 where the schedule is interleaved), absent
    `offload` is empty. The rest stays free: `zero`, `sp`, `schedule` are the stack's default,
    `recompute` and `micro_batch` the fastest that fits.

    Raises
    ------
    SpecError : the job is wrong, or of a kind that is not supported yet
    """
    job = dict(run.job)
    given = job.get("strategy") or {}
    if isinstance(given, dict):
        virtual = 2 if given.get("schedule") == "interleaved" else 1
        absent = {"cp": 1, "ep": 1, "etp": 1, "vpp": virtual, "offload": []}
        job["strategy"] = absent | {k: v for k, v in given.items() if v is not None}
    work = job.get("workload")
    if isinstance(work, dict) and isinstance(work.get("model"), dict):
        job["workload"] = work | {"model": completed(work["model"], mtp=_trains_mtp(job))}
    return load_mapping(job, base_dir=Path(file.path).parent, file=file.path, line=run.line)


def _trains_mtp(job: Mapping[str, object]) -> bool:
    software = job.get("software")
    preset = software.get("preset") if isinstance(software, dict) else None
    known = isinstance(preset, str) and preset in stack_names()
    return preset is None or (known and load_stack(str(preset)).family.name == "megatron")


def _list(value: Value | None) -> list[Value]:
    return value if isinstance(value, list) else []


def _fill(raw: dict[str, Value], key: str, value: Value, document: Document, at: PathKey) -> None:
    """Set a key that no file may give itself."""
    if key in raw:
        raise document.error(f"unknown key {shown(key)}", (*at, key))
    raw[key] = value


@cache
def _grammar() -> Grammar:
    return Grammar(RunsFile.model_json_schema())


def _by_lines(text: str, file: str) -> Document | None:
    """Read a file that holds one run a line, fast; None if it is written in another way."""
    head, found, tail = text.partition("\nruns:\n")
    if not found:
        return None
    lines = tail.split("\n")
    first = head.count("\n") + 3
    try:
        document = read_text(head, file=file)
        document.lines["runs",] = first - 1
        runs: list[Value] = []
        for number, line in enumerate(lines, first):
            if not line.strip(" \r"):
                continue
            one = ONE_LINE.fullmatch(line)
            if one is None:
                return None
            document.lines["runs", len(runs)] = number
            runs.append(_one_run(one[1]))
    except SpecError:
        return None
    if not isinstance(document.value, dict) or "runs" in document.value:
        return None
    document.value["runs"] = runs
    return document


def _one_run(text: str) -> Value:
    try:
        return read_flow(text)
    except ValueError:
        return read_text(text).value
