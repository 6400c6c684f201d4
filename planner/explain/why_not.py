"""Why not another value: pin it, search everything else again, and say what it loses by.

Reads the question as the job's strategy section would be read. The price of an answer is the
search's own; nothing is estimated.

Parts: `why_not`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from planner import spec
from planner.errors import SpecError
from planner.explain.chosen import Chosen
from planner.explain.pool import Pool, fill, pinned
from planner.nearest import hint, shown
from planner.plan.findings import Finding, against, changes, delta, finding, losses
from planner.plan.prediction import prediction
from planner.reading.complain import spec_error
from planner.reading.document import Document, Value, read_text
from planner.reading.resolve import refuse_later, resolve_hardware
from planner.reading.schema import job_grammar
from planner.strategy import Strategy
from planner.workloads import training
from planner.workloads.training import pins
from planner.workloads.training.spec import TrainingJob

__all__ = ["why_not"]

OPTION = "--why-not"
SEPARATOR = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")
"""A comma before the next KEY=; the commas inside a list are not."""


@dataclass(frozen=True)
class _Tried:
    """A question's strategy, searched: a pool with a best plan, or why there is none."""

    pool: Pool | None
    reason: str


def why_not(chosen: Chosen, question: str) -> Finding:
    """Answer `tp=4,pp=2`: the best plan with these values, or what forbids it.

    The job's own pins hold, but those that contradict the question, or that leave it no plan:
    then all of them are dropped, and the answer says so.

    Raises
    ------
    SpecError : no such key, or a value that it cannot take
    """
    asked = _read(chosen.job, question)
    what = " ".join(question.split())
    dropped = ""
    own = chosen.job.strategy.model_dump(exclude_none=True)
    tried = _try(pinned(chosen.job, **asked))
    if tried.pool is None and own.keys() - asked.keys():
        free = chosen.job.model_copy(update={"strategy": Strategy()})
        alone = _try(pinned(free, **asked))
        if alone.pool is not None:
            names = ", ".join(key for key in own if key not in asked)
            dropped = f"without the job's own pins ({names}), which exclude it: "
        tried = alone
    if tried.pool is None:
        return finding(what, tried.reason, {}, possible=False)
    return _answer(chosen, what, dropped, tried.pool)


def _answer(chosen: Chosen, what: str, dropped: str, pool: Pool) -> Finding:
    assert pool.best is not None
    made = prediction(pool.job, pool.context, pool.best)
    strategy = training.strategy_of(pool.context, pool.best, 0)
    gaps, numbers = delta(made, chosen.prediction), against(made, chosen.prediction)
    better = chosen.worse_than(pool)
    metric = chosen.job.objective.metric
    if strategy == chosen.strategy:
        because = "that is the plan"
    elif not gaps:
        because = f"it costs the same; the best such plan has {changes(strategy, chosen.strategy)}"
    else:
        verdict = f"better by {metric}: a rule of convenience left it out" if better else "slower"
        if not better and float(numbers["slower_s"]) < 0:
            verdict = f"a faster step, but worse by {metric}"
        because = (
            f"the best such plan has {changes(strategy, chosen.strategy)}; {verdict}:"
            f" {losses(gaps)}"
        )
    return finding(
        what, dropped + because, numbers, possible=True, strategy=strategy, prediction=made,
        delta=gaps,
    )  # fmt: skip


def _try(job: TrainingJob) -> _Tried:
    """Search the plan's job with another strategy section."""
    try:
        pins.check(job)
    except SpecError as error:
        return _Tried(None, f"it cannot be: {error.message}")
    pool = fill(job)
    if pool.best is None:
        return _Tried(None, str(pool.infeasible()))
    return _Tried(pool, "")


def _read(job: TrainingJob, question: str) -> dict[str, object]:
    """Return the values asked for, by key of the strategy, validated."""
    section: dict[str, Value] = {}
    for part in SEPARATOR.split(question):
        key, equals, text = part.partition("=")
        key = key.strip().removeprefix("strategy.")
        if not equals or not key or not text.strip():
            raise SpecError(f"{shown(part.strip())}: write KEY=VALUE, such as tp=4", file=OPTION)
        if key not in Strategy.model_fields:
            said = f"unknown key {shown(key)} in strategy; {hint(key, Strategy.model_fields)}"
            raise SpecError(said, key=f"strategy.{key[:60]}", file=OPTION)
        if key in section:
            raise SpecError("is given twice", key=f"strategy.{key}", file=OPTION)
        section[key] = read_text(text, file=OPTION).value
    strategy = _validated(job, section)
    return {key: getattr(strategy, key) for key in section}


def _validated(job: TrainingJob, section: dict[str, Value]) -> Strategy:
    """Check the section's grammar as the job's file would be; contradictions are not sought."""
    raw: dict[str, Value] = json.loads(json.dumps(spec.dump(job)))
    raw["strategy"] = section
    document = Document(raw, OPTION)
    for key, value in section.items():
        if value is None:
            raise document.error("got null; give a value", ("strategy", key))
    refuse_later(document)
    try:
        asked = TrainingJob.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise spec_error(error, document, job_grammar()) from None
    return resolve_hardware(asked, document, Path()).strategy
