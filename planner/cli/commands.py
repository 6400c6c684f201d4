"""The table of commands, in the order in which help lists them.

Parts: `app`.
"""

from collections.abc import Callable
from typing import Annotated

import typer

import planner
from planner.cli import lists, measured, plans, solvers
from planner.cli.door import Door

__all__ = ["app"]

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plans.plan,
    "predict": plans.predict,
    "validate": measured.validate,
    "calibrate": measured.calibrate,
    "emit": plans.emit,
    "explain": plans.explain,
    "what-if": plans.what_if,
    "solve": solvers.solve,
    "speedup": solvers.speedup,
    "check": measured.check,
    "report": plans.report,
    "schema": lists.schema,
    "systems": lists.systems,
    "models": lists.models,
    "targets": lists.targets,
    "init": lists.init,
}

app = typer.Typer(
    cls=Door,
    help="Plan distributed AI jobs: the best parallel design, with the numbers to defend it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sixfold {planner.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Print the help where no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
