"""Fit the constants of chips and stacks to measured training runs, and write them back.

    python benchmarks/accuracy/fit_steps.py ../shared/measurements/training [--write]

Every constant is one figure with a meaning (an efficiency per kernel class and chip, a hidden
share per kind of communication and family of stacks). Residuals are logarithms of predicted over
measured step time, joined by a loss that forgives outliers; each source weighs less than its
number of rows, and every constant is held near the value that kernel measurements or the stack's
description gave it. `--write` changes the figures in the profile and family files, with basis
`fitted`, the number of runs and the residual.
"""

import argparse
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from costmodels.units import Column
from planner.fitting import Bench, Constant, figure_at, fit, source_weights, thinned
from planner.prepared import prepare_all

ROOT = Path(__file__).parents[2] / "hardware_profiles"

A100 = ("dgx-a100-80gb", "dgx-a100-40gb")
HOPPER = ("dgx-h100", "dgx-h200")
BLACKWELL = ("dgx-b200", "dgx-b300", "gb200-nvl72", "gb300-nvl72")
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
    _chip("hopper memory", HOPPER, "memory", 0.08),
    Constant("hopper experts", HOPPER, ("kernels.training.grouped_matmul",), (0.7,), 0.3, 1.4),
    _chip("blackwell products bf16", BLACKWELL, "matmul.bf16"),
    _chip("blackwell products fp8", BLACKWELL, "matmul.fp8", 0.16),
    _chip("blackwell attention", BLACKWELL, "attention", 0.15),
    Constant("blackwell experts", BLACKWELL, ("kernels.training.grouped_matmul",), (0.7,), 0.3,
             1.4),
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
    _family("megatron step", "megatron", 5e-3, "step_s"),
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


def write(scale: dict[str, float], errors: Column, runs: int) -> None:
    """Change the figures in their files, in place."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    note = f"fit_steps.py: {runs} training runs, median error {np.median(np.abs(errors)):.1%}"
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


def main() -> None:
    """Fit, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rounds", type=int, default=2, help="Jacobians at most")
    parser.add_argument("--thin", type=int, default=3, help="runs of one layer of one source")
    args = parser.parse_args()
    runs = thinned(prepare_all(sorted(args.runs.glob("*.yaml"))), args.thin)
    bench = Bench(runs, CONSTANTS)
    found = fit(bench, source_weights(bench.runs), rounds=args.rounds, progress=print)
    scale, errors, runs = found.factors, found.log_errors, bench.runs
    for name, value in scale.items():
        print(f"{name:28s} x {value:.3f} +- {found.deviations[name]:.3f}")
    for source in sorted({r.source for r in runs}):
        e = np.array([x for x, r in zip(errors, runs, strict=True) if r.source == source])
        mean = np.abs(np.expm1(e)).mean()
        print(f"{source:40s} {len(e):4d} mean {mean:.3f} bias {e.mean():+.3f}")
    if args.write:
        write(scale, errors, len(runs))


if __name__ == "__main__":
    main()
