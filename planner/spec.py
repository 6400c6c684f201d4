"""A job file -> `Job`, or one `SpecError` that names file, line, key and what is allowed.

The only door for jobs: YAML or JSON text, files, plain mappings, `--set` overrides; and the way
back, `dump`. Prices nothing.

Parts: `load_any` and `load`, `load_mapping`, `located`, `dump`, `with_set`, `schema`.
"""

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from planner.errors import SpecError
from planner.job import Job
from planner.nearest import shown
from planner.reading.complain import spec_error
from planner.reading.document import (
    MAX_DEPTH,
    MAX_NUMBER,
    ON_COMMAND_LINE,
    Document,
    PathKey,
    Value,
    read_file,
    read_text,
)
from planner.reading.resolve import (
    check_kind,
    refuse_later,
    resolve_function,
    resolve_hardware,
    resolve_model,
    without_nulls,
)
from planner.reading.schema import function_grammar, job_grammar, schema
from planner.workloads.training import function, limits, pins
from planner.workloads.training.function import FunctionJob, FunctionSpec
from planner.workloads.training.spec import TrainingJob

__all__ = ["dump", "load", "load_any", "load_mapping", "located", "schema", "with_set"]


def load_any(
    source: Path | str, *, base_dir: Path | None = None, sets: Sequence[str] = ()
) -> TrainingJob | FunctionJob:
    """Read a job, of a transformer or of a JAX function.

    Parameters
    ----------
    source   : a Path is a file to read; a str is the text itself
    base_dir : folder that relative paths in the job start from; default the file's own
    sets     : overrides, `hardware.devices=512`

    Raises
    ------
    SpecError : whatever is wrong with the file or the overrides
    """
    if isinstance(source, Path):
        document = read_text(read_file(source), file=str(source))
        base_dir = source.parent if base_dir is None else base_dir
    else:
        document = read_text(source)
    if document.value is None:
        raise document.error("the file is empty; a job is a mapping with keys workload, hardware")
    return _resolved(_with_sets(document, sets), base_dir or Path())


def load(
    source: Path | str, *, base_dir: Path | None = None, sets: Sequence[str] = ()
) -> TrainingJob:
    """Read a job of a transformer, as `load_any` does; SpecError where it is a JAX function's."""
    return _transformer(load_any(source, base_dir=base_dir, sets=sets))


def _transformer(job: TrainingJob | FunctionJob) -> TrainingJob:
    if isinstance(job.workload, FunctionSpec):
        raise SpecError(
            "a model given as a JAX function can be planned, predicted and emitted, not this yet",
            key="workload.model.jax",
        )
    return job


def load_mapping(
    raw: Mapping[str, object],
    *,
    base_dir: Path | None = None,
    file: str = "",
    line: int | None = None,
    sets: Sequence[str] = (),
) -> TrainingJob:
    """Read a job that is already plain values, such as one inside a runs file or a plan.

    `file` and `line` are for messages.
    """
    document = Document(_plain(raw, 0), file, {} if line is None else {(): line})
    return _transformer(_resolved(_with_sets(document, sets), base_dir or Path()))


@contextmanager
def located(source: Path) -> Iterator[None]:
    """Give an error about a job that is read already the file and the line of its key."""
    try:
        yield
    except SpecError as error:
        if error.file or error.key.partition(".")[0] not in Job.model_fields:
            raise
        path = tuple(int(part) if part.isdecimal() else part for part in error.key.split("."))
        document = read_text(read_file(source), file=str(source))
        raise document.error(error.message, path) from None


def dump(job: TrainingJob | FunctionJob) -> dict[str, object]:
    """Return the job, resolved, as plain JSON-able values; `load_mapping` gives an equal Job."""
    dumped: dict[str, object] = job.model_dump(mode="json", exclude_none=True)
    return dumped


def with_set(raw: Mapping[str, object], sets: Sequence[str]) -> dict[str, object]:
    """Return a copy of a job's plain values with `--set KEY=VALUE` overrides applied.

    KEY is dotted (`hardware.levels.0.devices`), VALUE is YAML; an empty one takes the key away.
    """
    value = _with_sets(Document(_plain(raw, 0)), sets).value
    assert isinstance(value, dict)
    return {key: inner for key, inner in value.items()}


def _resolved(document: Document, base_dir: Path) -> TrainingJob | FunctionJob:
    raw = without_nulls(document.value)
    if not isinstance(raw, dict):
        raise document.error(f"a job is a mapping, not {shown(raw)}; its keys: workload, hardware")
    document = Document(raw, document.file, document.lines)
    check_kind(document)
    if resolve_function(document, base_dir):
        return _function(document, base_dir)
    refuse_later(document)
    resolve_model(document, base_dir)
    try:
        job = TrainingJob.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        raise spec_error(error, document, job_grammar()) from None
    job = resolve_hardware(job, document, base_dir)
    try:
        pins.check(job)
        limits.check(job)
    except SpecError as error:
        raise document.error(error.message, tuple(error.key.split("."))) from None
    return job


def _function(document: Document, base_dir: Path) -> FunctionJob:
    """Return the job of a JAX function."""
    refuse_later(document, besides=(("strategy", "sharding"),))
    try:
        job = FunctionJob.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        raise spec_error(error, document, function_grammar()) from None
    job = resolve_hardware(job, document, base_dir)
    try:
        function.check(job)
    except SpecError as error:
        raise document.error(error.message, tuple(error.key.split("."))) from None
    return job


def _with_sets(document: Document, sets: Sequence[str]) -> Document:
    if not sets:
        return document
    made = Document(copy.deepcopy(document.value), document.file, dict(document.lines))
    for each in sets:
        key, equals, text = each.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise SpecError(f"--set {shown(each)}: write KEY=VALUE, such as hardware.devices=512")
        value = read_text(text, file="--set").value
        _put(made, path, value, each)
    return made


def _put(document: Document, path: Sequence[str], value: Value, said: str) -> None:
    """Set `value` at `path`, making the mappings on the way."""
    here: Value = document.value
    done: PathKey = ()
    for part in path:
        last = len(done) == len(path) - 1
        step: str | int = part
        if isinstance(here, dict):
            if last or here.get(part) is None:
                here[part] = value if last else {}
                document.lines[*done, part] = ON_COMMAND_LINE
            here = here[part]
        elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
            step = int(part)
            if last:
                here[step] = value
                document.lines[*done, step] = ON_COMMAND_LINE
            here = here[step]
        else:
            where = ".".join(map(str, done)) or "the job"
            raise SpecError(f"--set {shown(said)}: {where} is {shown(here)}, which has no {part}")
        done = (*done, step)


def _plain(value: object, depth: int) -> Value:
    """Copy plain values, refusing what JSON and a job cannot hold."""
    if depth > MAX_DEPTH:
        raise SpecError(f"nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise SpecError("text holds half of a surrogate pair")
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) > MAX_NUMBER:
            raise SpecError(f"{shown(value)} is not a number that a job can hold")
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth + 1) for inner in value]
    raise SpecError(f"{type(value).__name__} is not a value that a job can hold")
