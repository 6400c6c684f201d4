"""Fit the constants of chips and stacks to measured training runs, and write them back.

    python benchmarks/accuracy/fit_steps.py [--runs FOLDER] [--write]

Every constant is one figure with a meaning (an efficiency per kernel class and chip, a hidden
share per kind of communication and family of stacks). Residuals are logarithms of predicted over
measured step time, joined by a loss that forgives outliers; each source weighs less than its
number of rows, and every constant is held near the value that kernel measurements or the stack's
description gave it. `--write` changes the figures in the profile and family files, with basis
`fitted`, the number of runs and the residual.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fit_intervals import write_left_out
from ruamel.yaml import YAML
from training_runs import prepared_runs

from costmodels.units import Column
from planner.fitting import Bench, Constant, Fit, figure_at, fit, per_source, thinned
from planner.fitting.left_out import left_out
from planner.validate.prepared import Priced

ROOT = Path(__file__).parents[2] / "hardware_profiles"
THIN, ROUNDS, WORTH = 1, 2, (1.0 / 3.0) ** 0.5

A100 = ("dgx-a100-80gb", "dgx-a100-40gb")
HOPPER = ("dgx-h100", "dgx-h200", "gcp-a3-mega")
BLACKWELL = ("dgx-b200", "gb200-nvl72")
ULTRA = ("dgx-b300", "gb300-nvl72")
"""Blackwell Ultra: the same peaks in 16 and 8 bits, 100 to 200 W more to reach them with."""
TPU = ("tpu-v4", "tpu-v5e", "tpu-v5p")


def _chip(name: str, files: tuple[str, ...], kernel: str, spread: float = 0.1) -> Constant:
    """Make a constant: what training reaches of kernels over what they reach alone."""
    return Constant(name, files, (f"kernels.training.{kernel}",), (1.0,), spread, 1.4)


def _family(
    name: str, file: str, prior: float, *paths: str, spread: float = 0.4, top: float = 1e9
) -> Constant:
    priors = (prior,) * len(paths)
    return Constant(name, (f"families/{file}",), paths, priors, spread, top)


CONSTANTS = (
    _chip("a100 products", A100, "matmul.bf16"),
    _chip("a100 attention", A100, "attention", 0.15),
    _chip("a100 memory", A100, "memory", 0.08),
    _chip("hopper products bf16", HOPPER, "matmul.bf16"),
    _chip("hopper products fp8", HOPPER, "matmul.fp8", 0.16),
    _chip("hopper attention", HOPPER, "attention", 0.15),
    Constant("hopper flash-2", HOPPER, ("kernels.training.flash_2",), (0.6,), 0.1, 1.0),
    # half of the share that such kernels have of the A100's peak, over that of Hopper's own:
    # a unit of Hopper has twice the products a clock, by instructions that these never issue
    Constant("hopper flash-1", HOPPER, ("kernels.training.flash_1",), (0.4,), 0.1, 1.0),
    _chip("hopper memory", HOPPER, "memory", 0.08),
    Constant("hopper experts", HOPPER, ("kernels.training.grouped_matmul",), (0.7,), 0.3, 1.4),
    _chip("blackwell products bf16", BLACKWELL, "matmul.bf16"),
    _chip("blackwell products fp8", BLACKWELL, "matmul.fp8", 0.16),
    _chip("blackwell ultra products bf16", ULTRA, "matmul.bf16"),
    _chip("blackwell ultra products fp8", ULTRA, "matmul.fp8", 0.16),
    _chip("blackwell attention", BLACKWELL + ULTRA, "attention", 0.15),
    Constant("blackwell experts", BLACKWELL + ULTRA, ("kernels.training.grouped_matmul",), (0.7,),
             0.3, 1.4),
    _chip("v100 products", ("dgx-v100",), "matmul.bf16"),
    _chip("mi325x products fp8", ("mi325x",), "matmul.fp8", 0.16),
    _chip("tpu-v4 products", ("tpu-v4",), "matmul.bf16"),
    _chip("tpu-v5e products", ("tpu-v5e",), "matmul.bf16"),
    _chip("tpu-v5p products", ("tpu-v5p",), "matmul.bf16"),
    _chip("tpu attention", TPU, "attention", 0.15),
    _family("megatron launch", "megatron", 4.5e-5, "launch_s"),
    _family("megatron overlap dp", "megatron", 0.81, "overlap.dp", "overlap_compiled.dp",
            spread=0.12, top=0.99),
    _family("megatron jitter", "megatron", 0.006, "jitter"),
    _family("megatron step", "megatron", 2e-3, "step_s"),
    _family("megatron serial broadcast", "megatron", 3e-3, "shard_rank_s"),
    _family("fsdp launch", "fsdp", 2.7e-5, "launch_s"),
    _family("fsdp overlap", "fsdp", 0.45, "overlap.dp", spread=0.2, top=0.99),
    _family("fsdp overlap compiled", "fsdp", 0.95, "overlap_compiled.dp", spread=0.12, top=0.99),
    _family("fsdp overlap tp", "fsdp", 0.54, "overlap_compiled.tp", spread=0.2, top=0.95),
    _family("fsdp jitter", "fsdp", 0.006, "jitter"),
    _family("fsdp step", "fsdp", 5e-3, "step_s"),
    _family("xla overlap", "xla", 0.76, "overlap.dp", "overlap_compiled.dp", spread=0.12,
            top=0.99),
    _family("xla jitter", "xla", 0.006, "jitter"),
)  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """A fit, the runs that it was made of, and what each of them weighed."""

    bench: Bench
    weight: Column
    found: Fit


def write(fitted: Fitted) -> None:
    """Change the figures in their files, in place."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    scale, errors = fitted.found.factors, fitted.found.log_errors
    note = f"fit_steps.py: {len(errors)} training runs, median error {np.median(abs(errors)):.1%}"
    for c in CONSTANTS:
        for file in c.files:
            path = ROOT / f"{file}.yaml"
            data = yaml.load(path)
            for dotted, value in zip(c.paths, c.values(scale[c.name]), strict=True):
                figure = figure_at(data, dotted)
                if figure is None:
                    continue  # a machine without this number format
                figure["value"] = float(f"{value:.4g}")
                figure["basis"] = "fitted"
                figure["source"] = f"{note}; constant '{c.name}'"
            yaml.dump(data, path)


def worth(runs: Sequence[Priced]) -> Column:
    """Weigh each run so that a source of n counts as sqrt(n)/3 runs, told apart from the priors.

    Errors of a source are of a kind: a thousand of its runs are not a thousand observations.
    """
    return WORTH * per_source([run.source for run in runs], 0.25)


def fit_steps(runs: Sequence[Priced], progress: Callable[[str], None] | None = None) -> Fitted:
    """Fit all constants to the runs, thinned where a source sweeps over few layers."""
    bench = Bench(thinned(runs, THIN), CONSTANTS)
    weight = worth(bench.runs)
    return Fitted(bench, weight, fit(bench, weight, rounds=ROUNDS, progress=progress))


def judge(fitted: Fitted, runs: Sequence[Priced]) -> tuple[Bench, Column, Column]:
    """Return all timed runs, and their log errors in the fit and with their source left out."""
    judged = Bench(runs, CONSTANTS)
    inside = judged.log_errors(fitted.found.factors)
    return judged, inside, left_out(fitted.bench, fitted.found, fitted.weight, judged)


def report(judged: Bench, inside: Column, outside: Column) -> None:
    """Print errors by source, and their mean over sources."""
    source = np.array([run.source for run in judged.runs])
    names = sorted(set(source.tolist()))
    print(f"{'':40s}  runs |       in the fit       | source left out: mean median  p90   bias")
    means = []
    for name in [*names, ""]:
        mine = source == name if name else np.ones(len(source), bool)
        a, b = (np.abs(np.expm1(e[mine])) for e in (inside, outside))
        if name:
            means.append((a.mean(), b.mean()))
        print(f"{name[:40] or 'all':40s} {mine.sum():5d} | {a.mean():6.1%} {np.median(a):6.1%}"
              f" {np.quantile(a, 0.9):6.1%} | {b.mean():22.1%} {np.median(b):6.1%}"
              f" {np.quantile(b, 0.9):6.1%} {np.expm1(outside[mine]).mean():+6.1%}")  # fmt: skip
    print(f"{'mean over sources':40s}       | {np.mean([m[0] for m in means]):6.1%}"
          f"               | {np.mean([m[1] for m in means]):22.1%}")  # fmt: skip


def main() -> None:
    """Fit, judge, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, help="a folder of runs files")
    parser.add_argument("--write", action="store_true", help="change hardware_profiles/")
    args = parser.parse_args()
    runs = prepared_runs(args.runs)
    fitted = fit_steps(runs, print)
    for name, value in fitted.found.factors.items():
        print(f"{name:28s} x {value:.3f} +- {fitted.found.deviations[name]:.3f}")
    judged, inside, outside = judge(fitted, runs)
    report(judged, inside, outside)
    if args.write:
        write(fitted)
        write_left_out(judged.runs, outside)


if __name__ == "__main__":
    main()
