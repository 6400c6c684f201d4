"""The command line: reads arguments, calls, prints. Every number comes from elsewhere.

What a command needs is imported inside it, so that help and errors come at once. With
``--json -`` standard output holds JSON alone; progress and notes go to standard error.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import planner
from planner.door import Door, Progress
from planner.errors import SpecError

if TYPE_CHECKING:
    from planner.prepared import Priced
    from planner.report.content import Section

__all__ = ["app"]

app = typer.Typer(
    cls=Door,
    help="Plan distributed AI jobs: the best parallel design, with the numbers to defend it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
)

Job = Annotated[Path, typer.Argument(metavar="JOB", help="The job file.", show_default=False)]
Plan = Annotated[
    Path, typer.Argument(metavar="PLAN", help="A plan.json that `plan` wrote.", show_default=False)
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write JSON; - prints it and nothing else."),
]
_KINDS = ("training",)


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


def _show_plan(answer: Mapping[str, object], json: str | None) -> None:
    from planner.report.screen import colour, show, width
    from planner.report.terminal import render

    show(answer, json, lambda: render(answer, width=width(), colour=colour()))


def _show_sections(
    answer: Mapping[str, object],
    json: str | None,
    sections: Callable[[], Sequence["Section"]],
) -> None:
    from planner.report.screen import colour, show, width
    from planner.report.terminal import render_sections

    show(answer, json, lambda: render_sections(sections(), width=width(), colour=colour()))


def _wrote(files: Mapping[str, str], out: Path) -> str:
    return f"wrote {len(files)} {'file' if len(files) == 1 else 'files'} to {out}"


def _note(text: str) -> None:
    typer.echo(text, err=True)


@app.command()
def plan(
    job: Job,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for plan.json, report.html and the configurations."),
    ] = None,
    json: Json = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Seconds to search at most.")
    ] = None,
) -> None:
    """Search for the best plan of a job and print it."""
    from planner import recommend, spec
    from planner.emit import check_targets
    from planner.report import terminal  # noqa: F401  (loaded before the plan is made)

    loaded = spec.load_any(job)
    with spec.located(job), Progress() as progress:
        check_targets(loaded.emit)
        answer = recommend.plan(loaded, time_limit_s=time_limit, progress=progress)
    _show_plan(answer, json)
    if out is not None:
        _write_plan(answer, out)


def _write_plan(answer: Mapping[str, object], out: Path) -> None:
    from planner.emit import emit_all
    from planner.emit.write import write_files
    from planner.report import html
    from planner.report.json_text import dumps
    from planner.report.plan_file import emit_targets

    files = {"plan.json": dumps(answer), "report.html": html.render(answer)}
    files |= emit_all(answer, emit_targets(answer))
    write_files(files, out)
    _note(_wrote(files, out))


@app.command()
def predict(job: Job, json: Json = None) -> None:
    """Price a job whose strategy is pinned, in whole or in part."""
    from planner import recommend, spec

    loaded = spec.load_any(job)
    with spec.located(job):
        answer = recommend.predict(loaded)
    _show_plan(answer, json)


@app.command()
def validate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Files of measured runs.")],
    fit: Annotated[
        Path | None,
        typer.Option(metavar="PROFILE", help="Write the machine's profile, adjusted to the runs."),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for plots of errors.")
    ] = None,
    json: Json = None,
) -> None:
    """Compare predicted with measured runs, and say what explains the difference."""
    from planner.adjusted import check_name
    from planner.diagnosis import explained
    from planner.report.validation import validate_sections
    from planner.validate import compare

    if fit is not None:
        check_name(fit)
    with Progress() as progress:
        found = compare(runs, progress)
        answer = {**found.answer, "explained": explained(found.priced, progress)}
        if fit is not None:
            answer["fit"] = _write_fit([run for run, _ in found.priced], fit, progress)
    if plots is not None:
        _write_plots(answer, plots)
    _show_sections(answer, json, lambda: validate_sections(answer))


def _write_fit(runs: "Sequence[Priced]", out: Path, progress: Progress) -> dict[str, object]:
    from hardware_profiles.write import dumps
    from planner.adjusted import adjusted
    from planner.report.plan_file import write_text

    made = adjusted(runs, out.stem, progress)
    write_text(out, dumps(made.profile, head="Written by `sixfold validate --fit`."))
    _note(f"wrote {out}: `system: {out}` in a job uses it")
    return made.summary()


def _write_plots(answer: Mapping[str, object], out: Path) -> None:
    from planner.emit.write import write_files
    from planner.report.validation_plots import plots

    files = plots(answer)
    write_files(files, out)
    _note(f"wrote {len(files)} plots to {out}")


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(metavar="PROFILE", help="The profile to write.")] = Path(
        "machine.yaml"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer points, under a minute.")] = False,
    devices: Annotated[
        int | None, typer.Option(metavar="N", help="Devices to divide a processor into.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Measure anew what the journal has.")
    ] = False,
    coordinator: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the first process listens.")
    ] = None,
    processes: Annotated[int | None, typer.Option(metavar="N", help="Processes in all.")] = None,
    process_id: Annotated[int | None, typer.Option(metavar="I", help="This one, from 0.")] = None,
    json: Json = None,
) -> None:
    """Measure this machine with JAX and write its profile."""
    from planner.adjusted import check_name
    from planner.jax_here import divide, need_jax
    from planner.report.calibration import calibration_sections
    from planner.report.plan_file import write_text

    check_name(out, "--out")
    need_jax()
    divide(devices, processes or 1)
    from hardware_profiles.write import dumps
    from planner.calibrate.launch import Joining
    from planner.calibrate.run import Options, calibrate
    from planner.calibrate.summary import document, head

    options = Options(out, quick, fresh, Joining(coordinator, processes, process_id))
    with Progress() as progress:
        found = calibrate(options, progress)
    if found is None:
        return
    write_text(out, dumps(found.profile, head=head(found)))
    answer = document(found, str(out))
    _show_sections(answer, json, lambda: calibration_sections(answer))
    _note(f"wrote {out}: `system: {out}` in a job uses it")


@app.command()
def emit(
    plan: Plan,
    target: Annotated[
        list[str], typer.Option(help="A framework, see `targets`; may be given again.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; absent: print the files.")
    ] = None,
) -> None:
    """Write a plan as a framework's configuration."""
    from planner.emit import emit_all
    from planner.emit.write import write_files
    from planner.report.plan_file import read_plan
    from planner.report.screen import put

    files = emit_all(read_plan(plan), target)
    if out is not None:
        write_files(files, out)
        _note(_wrote(files, out))
        return
    for path, text in files.items():
        put(f"==> {path} <==\n{text}\n" if len(files) > 1 else text)


@app.command()
def explain(
    plan: Plan,
    why_not: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Price this instead; may be given again."),
    ] = None,
    json: Json = None,
) -> None:
    """Say what binds a plan, and what else would cost."""
    from planner.explain import explain as reasons
    from planner.report.answers import explain_sections
    from planner.report.plan_file import read_plan

    answer = reasons(read_plan(plan), why_not or ())
    _show_sections(answer, json, lambda: explain_sections(answer))


@app.command("what-if")
def what_if(
    job: Job,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="More of --set.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the job."),
    ] = None,
    json: Json = None,
) -> None:
    """Plan again with changed figures."""
    from planner.report.answers import what_if_sections
    from planner.whatif import what_if as again

    answer = again(job, [*(sets or ()), *(more or ())])
    _show_sections(answer, json, lambda: what_if_sections(answer))


@app.command()
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
    _show_sections(answer, json, lambda: solve_sections(answer))
    judge(answer)


@app.command()
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
    _show_sections({**answer}, json, lambda: speedup_sections({**answer}))


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise SpecError(f"{text[:40]!r} is not a whole number of devices", key="--at")
    return int(text)


@app.command()
def check(
    job: Job,
    profile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="This machine, as `calibrate` wrote it.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Devices to use, at most 8 by default.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="R", help="Steps to time.")] = 5,
    compile_for: Annotated[
        str | None,
        typer.Option(metavar="CHIP:SHAPE", help="Compile for absent chips: tpu-v5p:4x4x4."),
    ] = None,
    json: Json = None,
) -> None:
    """Run a small real step of a job's plan here: predicted against measured."""
    if compile_for is not None:
        from planner.check.ahead import ahead
        from planner.check.targets import parse
        from planner.report.ahead import ahead_sections

        made = ahead(job, parse(compile_for))
        _show_sections(made, json, lambda: ahead_sections(made))
        return
    from planner.check.run import Asked
    from planner.check.run import check as run
    from planner.report.check import check_sections

    with Progress() as progress:
        answer = run(job, Asked(profile, devices, repeats), progress)
    _show_sections(answer, json, lambda: check_sections(answer))


@app.command()
def report(
    plan: Plan,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page.")] = Path(
        "report.html"
    ),
) -> None:
    """Write the report of a plan as one HTML page."""
    from planner.report import html
    from planner.report.plan_file import read_plan, write_text

    write_text(out, html.render(read_plan(plan)))
    _note(f"wrote {out}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    from planner import spec
    from planner.report.json_text import dumps
    from planner.report.screen import put

    put(dumps(spec.schema()))


@app.command()
def systems(json: Json = None) -> None:
    """List the machines that ship."""
    from planner.report import catalogue

    rows, hidden = catalogue.systems(), ("accelerator",)
    _show_sections(
        {"systems": rows}, json, lambda: [catalogue.catalogue_section("Systems", rows, hidden)]
    )


@app.command()
def models(json: Json = None) -> None:
    """List the models that ship."""
    from planner.report import catalogue

    rows, hidden = catalogue.models(), ("source", "family")
    _show_sections(
        {"models": rows}, json, lambda: [catalogue.catalogue_section("Models", rows, hidden)]
    )


@app.command()
def targets(json: Json = None) -> None:
    """List the frameworks that a plan can be written for."""
    from planner.report import catalogue

    rows = catalogue.targets()
    _show_sections({"targets": rows}, json, lambda: [catalogue.catalogue_section("Targets", rows)])


@app.command()
def init(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(_KINDS)}.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a job.yaml.")] = False,
) -> None:
    """Write a job file to start from to ./job.yaml."""
    from planner.nearest import hint
    from planner.report.plan_file import write_text

    if kind not in _KINDS:
        raise SpecError(f"no kind of job {kind[:40]!r}; {hint(kind, _KINDS)}", key="KIND")
    place = Path("job.yaml")
    if place.exists() and not force:
        raise SpecError("exists already; --force replaces it", file=str(place))
    example = Path(planner.__file__).parent / "examples" / f"{kind}.yaml"
    write_text(place, example.read_text("utf-8"))
    _note(f"wrote {place}: change it, then run `sixfold plan {place}`")
