"""Commands that set prices beside what is measured: runs, this machine, a real step on it.

Parts: `validate`, `calibrate`, `check`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.arguments import Job, Json
from planner.cli.door import Progress
from planner.cli.show import note, show_sections

if TYPE_CHECKING:
    from planner.validate.prepared import Priced

__all__ = ["calibrate", "check", "validate"]


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
    from planner.fitting.adjusted import check_name
    from planner.fitting.diagnosis import explained
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
    show_sections(answer, json, lambda: validate_sections(answer))


def _write_fit(runs: "Sequence[Priced]", out: Path, progress: Progress) -> dict[str, object]:
    from hardware_profiles.write import dumps
    from planner.fitting.adjusted import adjusted
    from planner.report.plan_file import write_text

    made = adjusted(runs, out.stem, progress)
    write_text(out, dumps(made.profile, head="Written by `sixfold validate --fit`."))
    note(f"wrote {out}: `system: {out}` in a job uses it")
    return made.summary()


def _write_plots(answer: Mapping[str, object], out: Path) -> None:
    from planner.emit.write import write_files
    from planner.report.validation_plots import plots

    files = plots(answer)
    write_files(files, out)
    note(f"wrote {len(files)} plots to {out}")


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
    from planner.fitting.adjusted import check_name
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
    show_sections(answer, json, lambda: calibration_sections(answer))
    note(f"wrote {out}: `system: {out}` in a job uses it")


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
        show_sections(made, json, lambda: ahead_sections(made))
        return
    from planner.check.run import Asked
    from planner.check.run import check as run
    from planner.report.check import check_sections

    with Progress() as progress:
        answer = run(job, Asked(profile, devices, repeats), progress)
    show_sections(answer, json, lambda: check_sections(answer))
