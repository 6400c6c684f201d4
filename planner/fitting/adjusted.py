"""A machine's profile adjusted to measured runs: what `sixfold validate --fit` writes.

Every figure of the machine that the runs feel may move, each held near what the profile says
(`planner.fitting`); those that the runs do not settle stay as they are. Stacks are not in a
profile: what is theirs is kept fixed. Knows runs and profiles; writes no file.

Parts: `Adjusted`, `adjusted`, `check_name`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.units import Column
from hardware_profiles.load import load
from hardware_profiles.schema import HardwareProfile
from planner.errors import SpecError
from planner.fitting import Bench, Constant, Fit, figure_at, fit, source_weights, thinned
from planner.fitting.adjustable import adjustable
from planner.validate.prepared import Priced

__all__ = ["LEAST_RUNS", "Adjusted", "adjusted", "check_name"]

LEAST_RUNS = 6
"""Timed runs of distinct jobs that a fit needs."""
_A_LAYER = 6
_SETTLED = 0.8
"""A figure is settled where runs leave its deviation at most this share of what it was before."""
_FELT = 0.01


@dataclass(frozen=True)
class Adjusted:
    """A profile with its figures fitted, and what the fit did.

    Parameters
    ----------
    figures       : changed figures: {figure, meaning, before, after, low, high} (90%)
    kept          : names of figures that the runs do not settle
    before, after : mean absolute error of the runs that were fitted
    held_out      : mean absolute error of every run under a fit without its fifth of the runs
    """

    profile: HardwareProfile
    runs: int
    figures: tuple[dict[str, object], ...]
    kept: tuple[str, ...]
    before: float
    after: float
    held_out: float

    def summary(self) -> dict[str, object]:
        """Return what the fit did, as plain data."""
        return {
            "profile": self.profile.name,
            "runs": self.runs,
            "mean_absolute_error_before": self.before,
            "mean_absolute_error_after": self.after,
            "mean_absolute_error_held_out": self.held_out,
            "figures": list(self.figures),
            "kept": list(self.kept),
        }


def adjusted(
    runs: Sequence[Priced], name: str, progress: Callable[[str, int, int], None] | None = None
) -> Adjusted:
    """Fit the figures of the runs' machine.

    Parameters
    ----------
    runs : all of one machine
    name : of the profile that is made

    Raises
    ------
    SpecError : the runs are of several machines, too few, or feel none of its figures
    """
    system = _one_machine(runs)
    timed = thinned(runs, _A_LAYER)
    jobs = {run.job.model_dump_json(exclude={"software": {"runtime"}, "name": True})
            for run in timed}  # fmt: skip
    if len(jobs) < LEAST_RUNS:
        raise SpecError(
            f"a fit needs {LEAST_RUNS} timed runs of distinct jobs, not {len(jobs)}: measure more"
            " (other micro-batches, degrees or device counts)",
            key="--fit",
        )
    found = {k: v for k, v in adjustable(timed).items() if not v[0].of_stacks}
    told = (lambda text: progress(f"fitting: {text}", 0, 0)) if progress else None
    bench = Bench(timed, [constant for constant, _ in found.values()])
    made = fit(bench, source_weights(bench.runs), progress=told)
    before = bench.log_errors(dict.fromkeys(found, 1.0))
    settled = _settled(bench, made)
    if not settled:
        raise SpecError("these runs settle no figure of the machine: they are too alike, or too"
                        " few", key="--fit")  # fmt: skip
    only = Bench(timed, settled)
    weight = source_weights(only.runs)
    final = fit(only, weight, start={c.name: made.factors[c.name] for c in settled}, progress=told)
    note = f"sixfold validate --fit: {len(only.runs)} runs, mean error {_mean(before):.1%} before"
    note += f" and {_mean(final.log_errors):.1%} after"
    return Adjusted(
        profile=_placed(load(system), name, settled, final, note),
        runs=len(only.runs),
        figures=tuple(_change(c, found[c.name][1], final) for c in settled),
        kept=tuple(c.paths[0] for c in bench.constants if c not in settled),
        before=_mean(before),
        after=_mean(final.log_errors),
        held_out=_held_out(only, final),
    )


def check_name(out: Path, option: str = "--fit") -> None:
    """Refuse a file that would not be read as a profile again, before any work.

    Raises
    ------
    SpecError : it does not end in .yaml or .yml, or there is no such folder
    """
    if out.suffix not in (".yaml", ".yml"):
        raise SpecError(f"a profile's file ends in .yaml (is {str(out)[:80]!r})", key=option)
    if not out.parent.is_dir():
        raise SpecError(f"no folder {str(out.parent)[:80]!r}", key=option)


def _one_machine(runs: Sequence[Priced]) -> str:
    systems = sorted({run.job.hardware.systems[0] for run in runs if run.measured_s})
    if len(systems) == 1:
        return systems[0]
    if not systems:
        raise SpecError("no run is timed and can be priced", key="--fit")
    raise SpecError(
        f"a profile is of one machine, the runs are of {len(systems)}: {', '.join(systems[:5])}",
        key="--fit",
    )


def _settled(bench: Bench, made: Fit) -> list[Constant]:
    """Return the constants that the runs feel and say more of than what was known before."""
    felt = np.abs(made.jacobian).max(axis=0) > _FELT
    return [
        c
        for c, reached in zip(bench.constants, felt, strict=True)
        if reached and made.deviations[c.name] < _SETTLED * c.spread
    ]


def _mean(log_errors: Column) -> float:
    return float(np.abs(np.expm1(log_errors)).mean())


def _held_out(bench: Bench, whole: Fit) -> float:
    """Return the mean error of runs under fits without them: every fifth, five times."""
    errors, number = np.zeros(len(bench.runs)), np.arange(len(bench.runs))
    for part in range(5):
        out = number % 5 == part
        if out.any() and not out.all():
            rest = bench.only(~out)
            found = fit(
                rest, source_weights(rest.runs), whole.factors, whole.jacobian[~out], rounds=1
            )
            errors[out] = bench.only(out).log_errors(found.factors)
    return _mean(errors)


def _placed(
    profile: HardwareProfile, name: str, constants: Sequence[Constant], made: Fit, note: str
) -> HardwareProfile:
    data = profile.model_dump()
    for constant in constants:
        constant.place(data, made.factors[constant.name])
        for path in constant.paths:
            figure = figure_at(data, path)
            assert figure is not None
            figure["value"] = float(f"{float(str(figure['value'])):.4g}")
            figure["basis"] = "fitted"
            figure["source"] = f"{note}; x {made.factors[constant.name]:.3f} of {profile.name}'s"
    data["name"] = name
    return HardwareProfile.model_validate(data)


def _change(constant: Constant, meaning: str, made: Fit) -> dict[str, object]:
    factor, wide = made.factors[constant.name], 1.645 * made.deviations[constant.name]
    before = constant.priors[0]
    return {
        "figure": constant.paths[0],
        "meaning": meaning,
        "before": before,
        "after": constant.values(factor)[0],
        "low": before * factor * float(np.exp(-wide)),
        "high": before * factor * float(np.exp(wide)),
    }
