"""From a job of a JAX function to its plan: search, the best, the document."""

import time

import planner
from planner.errors import TimeLimitReached
from planner.functions import document
from planner.functions.context import make
from planner.functions.figures import infeasible
from planner.functions.search import Found, Progress, given, search
from planner.workloads.training.function import FunctionJob

__all__ = ["plan", "predict"]


def plan(
    job: FunctionJob, *, time_limit_s: float | None = None, progress: Progress | None = None
) -> dict[str, object]:
    """Search for the best sharding of a function.

    Raises
    ------
    SpecError        : the function cannot be imported
    NoFeasiblePlan   : nothing fits in memory
    TimeLimitReached : the limit ended the search before any plan was priced
    """
    start = time.monotonic()
    deadline = None if time_limit_s is None else start + time_limit_s
    context = make(job)
    one = given(context)
    if one is not None and one.price is not None:
        fits = float(one.price.total_bytes) <= context.memory_limit_bytes
        found = Found((one,) if fits else ())
    else:
        found = search(context, deadline, progress)
    best = found.best
    if best is None:
        if found.limited:
            raise TimeLimitReached("no plan was priced within the time limit; allow more seconds")
        raise infeasible(context, found.candidates or (one,) if one else found.candidates)
    return document.make(context, found, best, time.monotonic() - start, planner.__version__)


def predict(job: FunctionJob) -> dict[str, object]:
    """Price the sharding that a strategy pins; what it leaves free is searched.

    A sharding that does not fit in memory is priced all the same, with `fits: false`.
    """
    start = time.monotonic()
    context = make(job)
    one = given(context)
    if one is None:
        return plan(job)
    wall_s = time.monotonic() - start
    return document.make(context, Found((one,)), one, wall_s, planner.__version__)
