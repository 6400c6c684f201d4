"""Fit the kernel constants of chips to measured tables, and say how well they hold.

    python benchmarks/accuracy/fit_kernels.py [--folder FOLDER] [--write]

The folder is by default `data/kernels` beside this file (see `kernel_tables` for its columns).
Each class is fitted with the very functions that price plans, by least squares on the logarithm
of predicted over measured time with a loss that forgives outliers. Beside the error in sample
stands the error on shapes held back: whole (n, k) pairs of products, whole (heads, heads of keys,
length) of attention, whole (layer, tp, ep) of experts, one in four each time. `--write` puts the
constants into the profiles, and into those of relatives (`kernel_relatives`). Seconds, and the
same figures each time.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kernel_relatives import write
from kernel_tables import SYSTEMS, Floats, Table, judged, predicted_s, tables

from hardware_profiles.load import load
from hardware_profiles.schema import HardwareProfile
from planner.fitting import figures
from planner.fitting.logs import fit_logs

DATA = Path(__file__).parent / "data" / "kernels"
FOLDS = 4
SMALL_WEIGHT = 0.4
"""Weight in the fit of products with a smaller side: only those of small models split far."""
LEAST = 1e-12
"""Below this a constant is none."""
SOFT = 0.05
"""Relative error beyond which the loss grows linearly."""


@dataclass(frozen=True)
class Constant:
    """One fitted figure of a profile: its path, a first guess and its range."""

    path: str
    guess: float
    top: float = np.inf


GROWING = ("a100_sxm",)
"""Systems whose products idle more the larger they are: with 1.4 times as much the error of the
A100's falls from 7.6 to 7.1%; a fit to the H100's and the B200's tables puts it at 0."""


def _products(system: str, dtypes: Sequence[str]) -> list[Constant]:
    made = [
        Constant("memory.efficiency", 0.8, 0.95),
        Constant("tail", 0.3, 1.0),
        Constant("split", 4000.0),
    ]
    if system in GROWING:
        made.append(Constant("growth", 3.0))  # tiles of 128 by 128 over 64 by 64
    for dtype in dtypes:
        made += [
            Constant(f"matmul.{dtype}.efficiency", 0.7, 1.0),
            Constant(f"matmul.{dtype}.fixed_s", 4e-6),
            Constant(f"matmul.{dtype}.fill", 100.0),
        ]
        if dtype == "fp8":
            made.append(Constant("matmul.fp8.cast_bytes", 7.0))
    return made


def _prefill(widths: int) -> list[Constant]:
    made = [
        Constant("attention_forward.efficiency", 0.5, 1.0),
        Constant("attention_forward.fixed_s", 1.4e-5),
        Constant("attention_forward.passes", 3.0),
        Constant("attention_forward.tail", 0.5),
        Constant("attention_forward.last_rows", 40.0),
    ]
    return [*made, Constant("attention_forward.softmax_dim", 80.0)] if widths > 1 else made


DECODE = [
    Constant("attention_decode.efficiency", 0.9, 0.95),
    Constant("attention_decode.fixed_s", 9e-6),
    Constant("attention_decode.split_s", 2e-6),
    Constant("attention_decode.group_s", 3e-8),
    Constant("attention_decode.query_s", 5e-10),
    Constant("attention_decode.head_s", 1e-8),
    Constant("attention_decode.reread", 2.0),
    Constant("attention_decode.wait_s", 1e-5),
]
EXPERTS = [
    Constant("grouped_matmul.efficiency", 0.9),
    Constant("grouped_matmul.fixed_s", 1e-5),
    Constant("grouped_matmul.routing_passes", 4.0),
]
CLASSES = ("gemm", "attention_prefill", "attention_decode", "moe_gemm")
"""In the order of fitting: the later ones stand on the memory's share and the products' rate."""


@dataclass(frozen=True)
class Fitted:
    """A class on a chip: values by path, rows used, errors in sample and on shapes held back."""

    kind: str
    system: str
    values: Mapping[str, float]
    rows: int
    errors: Mapping[str, tuple[int, float, float]]


def constants_of(kind: str, group: Sequence[Table]) -> list[Constant]:
    """List what a class has to fit on a chip with these tables."""
    if kind == "gemm":
        return _products(group[0].system, [table.dtype for table in group])
    if kind == "attention_prefill":
        return _prefill(len(np.unique(group[0].columns["head_dim"])))
    return DECODE if kind == "attention_decode" else EXPERTS


def with_figures(profile: HardwareProfile, values: Mapping[str, float]) -> HardwareProfile:
    """Return the profile with kernel figures replaced, by their path under `kernels`."""
    return figures.with_figures(profile, values, "fit_kernels.py")


def _weights(table: Table) -> Floats:
    if table.kind != "gemm":
        return np.ones(len(table))
    return np.where(judged(table), 1.0, SMALL_WEIGHT)


def solve(
    profile: HardwareProfile, constants: Sequence[Constant], group: Sequence[Table],
    start: Mapping[str, float],
) -> dict[str, float]:  # fmt: skip
    """Return the constants that fit the tables, to four digits; what they show no sign of is 0."""

    def residual(values: dict[str, float]) -> Floats:
        tried = with_figures(profile, values)
        return np.concatenate([
            _weights(table) * np.log(predicted_s(tried, table) / table.time_s) for table in group
        ])  # fmt: skip

    found = fit_logs(
        residual, {c.path: max(start[c.path], LEAST) for c in constants},
        tops={c.path: c.top for c in constants}, soft=SOFT, evaluations=40,
    )  # fmt: skip
    return {
        name: float(f"{value:.4g}") if value > LEAST else 0.0
        for name, value in found.values.items()
    }


def _error(profile: HardwareProfile, table: Table) -> Floats:
    return np.asarray(np.abs(predicted_s(profile, table) / table.time_s - 1.0))


def fit_class(
    profile: HardwareProfile, kind: str, group: Sequence[Table], hold_out: bool = True
) -> Fitted:
    """Fit one class on one chip; errors by precision, in sample and on what each fold left out."""
    constants = constants_of(kind, group)
    guess = {c.path: c.guess for c in constants}
    values = solve(profile, constants, group, guess)
    fitted = with_figures(profile, values)
    unseen = [np.zeros(len(table)) for table in group]
    for fold in range(FOLDS if hold_out else 0):
        kept = [table.rows(table.fold(FOLDS) != fold) for table in group]
        held = with_figures(profile, solve(profile, constants, kept, values))
        for errors, table in zip(unseen, group, strict=True):
            out = table.fold(FOLDS) == fold
            errors[out] = _error(held, table.rows(out))
    errors = {
        table.dtype: (
            int(judged(table).sum()),
            float(_error(fitted, table)[judged(table)].mean()),
            float(seen[judged(table)].mean()),
        )
        for table, seen in zip(group, unseen, strict=True)
    }
    return Fitted(kind, group[0].system, values, sum(len(table) for table in group), errors)


def fit_chip(system: str, measured: Sequence[Table], hold_out: bool = True) -> list[Fitted]:
    """Fit all classes of a chip, each on the figures of those before it."""
    profile = load(SYSTEMS[system])
    found = []
    for kind in CLASSES:
        group = [t for t in measured if t.system == system and t.kind == kind]
        if group:
            found.append(fit_class(profile, kind, group, hold_out))
            profile = with_figures(profile, found[-1].values)
    return found


def main() -> None:
    """Fit, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=DATA)
    parser.add_argument("--write", action="store_true", help="change the profiles")
    args = parser.parse_args()
    measured = list(tables(args.folder))
    every: list[Fitted] = []
    for system in sorted({table.system for table in measured}):
        for one in fit_chip(system, measured):
            every.append(one)
            for dtype, (rows, inside, outside) in one.errors.items():
                print(f"{system} {one.kind} {dtype}: {rows:,} rows, error {inside:.1%} in sample, "
                      f"{outside:.1%} on shapes held back")  # fmt: skip
            print("  " + ", ".join(f"{name} {value:g}" for name, value in one.values.items()))
    if args.write:
        write(every)


if __name__ == "__main__":
    main()
