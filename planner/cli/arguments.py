"""Arguments and options that several commands share.

Parts: `Job`, `Json`, `Plan`.
"""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Job", "Json", "Plan"]

Job = Annotated[Path, typer.Argument(metavar="JOB", help="The job file.", show_default=False)]
Plan = Annotated[
    Path, typer.Argument(metavar="PLAN", help="A plan.json that `plan` wrote.", show_default=False)
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write JSON; - prints it and nothing else."),
]
