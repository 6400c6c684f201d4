"""The solver alone, on a decision problem in a public format.

`solve` reads a file, solves it and says what it found; cost and usage are summed by the reader's
own exact arithmetic, not by the solver's. Knows formats and the local solver; no jobs.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

from planner.errors import InternalError, NoFeasiblePlan, SpecError, TimeLimitReached
from planner.importers.iopddl import read
from planner.nearest import hint
from planner.search.local import solve_network
from planner.search.network.lower import from_instance

__all__ = ["FORMATS", "judge", "solve"]

FORMATS = ("iopddl",)
_SHARE = 0.02
_LEAST_S = 0.3


def solve(
    path: Path,
    form: str,
    *,
    time_limit_s: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    begun: float | None = None,
) -> dict[str, object]:
    """Solve the problem in a file.

    Parameters
    ----------
    form         : one of `FORMATS`
    time_limit_s : of wall time, reading included; None: work is counted, not timed, and the same
                   file gives the same picks
    progress     : told what is done, how many seconds it took, and the limit in seconds
    begun        : the time of `time.monotonic` from which the limit counts; None: now

    Returns
    -------
    status (optimal | feasible | infeasible | unknown), cost, bound, gap, picks, and what the picks
    use of the limit; cost and picks are None where none were found.

    Raises
    ------
    SpecError : the format is not known, or the file is wrong
    """
    if form not in FORMATS:
        raise SpecError(f"no format {form[:40]!r}; {hint(form, FORMATS)}", key="--format")
    start = time.monotonic() if begun is None else begun
    instance = read(path)
    end = None
    if time_limit_s is not None:
        end = start + time_limit_s - max(_LEAST_S, _SHARE * time_limit_s)

    def tell(phase: str, cost: float, bound: float) -> None:
        if progress is not None:
            text = f"{phase}: cost {cost:.10g}, bound {bound:.10g}, seconds"
            progress(text, int(time.monotonic() - start), int(time_limit_s or 0))

    outcome = solve_network(from_instance(instance), end=end, tell=tell)
    picks = None if outcome.picks is None else [int(pick) for pick in outcome.picks]
    if picks is not None and not instance.allows(picks):
        raise InternalError("the solver's picks break the limit or are forbidden")
    cost = None if picks is None else instance.price(picks)
    bound = _bound(outcome.bound, cost, instance.whole)
    return {
        "name": instance.name,
        "format": form,
        "status": outcome.status,
        "feasible": picks is not None,
        "cost": cost,
        "bound": bound,
        "gap": _gap(cost, bound),
        "picks": picks,
        "peak_usage": None if picks is None else instance.peak(picks),
        "usage_limit": instance.limit,
        "nodes": int(instance.sizes.size),
        "edges": int(instance.first.size),
        "wall_s": round(time.monotonic() - start, 3),
        "curve": [[round(seconds, 3), price] for seconds, price in outcome.curve],
    }


def _bound(bound: float, cost: float | None, whole: bool) -> float | None:
    """Return the bound to print: where costs are whole numbers, so is the least cost."""
    if not math.isfinite(bound):
        return None
    raised = math.ceil(bound) if whole else bound
    return raised if cost is None else min(raised, cost)


def _gap(cost: float | None, bound: float | None) -> float | None:
    if cost is None or bound is None:
        return None
    if cost == bound:
        return 0.0
    return (cost - bound) / abs(cost) if cost else None


def judge(answer: dict[str, object]) -> None:
    """Raise what the exit code needs where nothing was found."""
    if answer["status"] == "infeasible":
        raise NoFeasiblePlan(
            "no picks keep the limit: proved. A higher usage_limit is needed, or fewer costs of "
            "10^18"
        )
    if answer["picks"] is None:
        raise TimeLimitReached("found no picks that keep the limit; give it more time")
