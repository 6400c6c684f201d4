"""Commands that answer without a job: a decision problem from a file, speed-up of three constants.

Parts: `solve`, `speedup`.
"""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.arguments import Json
from planner.cli.door import Progress
from planner.cli.show import show_sections
from planner.errors import SpecError

__all__ = ["solve", "speedup"]


def solve(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The problem: JSON, or JSON in gzip.")
    ],
    form: Annotated[str, typer.Option("--format", help="The file's format: iopddl.")],
    time_limit: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Seconds at most, reading included.")
    ] = None,
    json: Json = None,
) -> None:
    """Solve a decision problem in a public format: picks, cost, bound."""
    from planner.report.solved import solve_sections
    from planner.solve import judge
    from planner.solve import solve as picks

    with Progress() as progress:
        answer = picks(file, form, time_limit_s=time_limit, progress=progress)
    show_sections(answer, json, lambda: solve_sections(answer))
    judge(answer)


def speedup(
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[P | P:SECONDS]...", help="More of --at or of --measured."),
    ] = None,
    compute_s: Annotated[float | None, typer.Option(help="C, a step on one device.")] = None,
    alpha_s: Annotated[float | None, typer.Option(help="A, latency of a hop.")] = None,
    transfer_s: Annotated[float | None, typer.Option(help="B, to move the model once.")] = None,
    at: Annotated[list[str] | None, typer.Option(metavar="P", help="Counts to show.")] = None,
    measured: Annotated[
        list[str] | None, typer.Option(metavar="P:SECONDS", help="Fit to measured steps.")
    ] = None,
    json: Json = None,
) -> None:
    """Predict a design's speed-up from three constants."""
    from planner.predictor import fitted_table, parse_measured, speedup_table
    from planner.report.answers import speedup_sections

    counts = [_count(text) for text in [*(at or ()), *(t for t in more or () if ":" not in t)]]
    steps = [parse_measured(t) for t in [*(measured or ()), *(t for t in more or () if ":" in t)]]
    constants = (compute_s, alpha_s, transfer_s)
    if steps and constants == (None, None, None):
        answer = fitted_table(steps, counts)
    elif not steps and compute_s is not None and alpha_s is not None and transfer_s is not None:
        answer = speedup_table(compute_s, alpha_s, transfer_s, counts)
    else:
        raise SpecError("give --compute-s, --alpha-s and --transfer-s, or --measured alone")
    show_sections({**answer}, json, lambda: speedup_sections({**answer}))


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise SpecError(f"{text[:40]!r} is not a whole number of devices", key="--at")
    return int(text)
