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
from collections import Counter
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from costmodels.units import Column
from planner.fitting import Bench, Constant, figure_at, fit, source_weights, thinned
from planner.prepared import Priced, prepare_all

ROOT = Path(__file__).parents[2] / "hardware_profiles"

A100 = ("dgx-a100-80gb", "dgx-a100-40gb")
HOPPER = ("dgx-h100", "dgx-h200")
BLACKWELL = ("dgx-b200", "dgx-b300", "gb200-nvl72", "gb300-nvl72")
ATTENTION = ("kernels.attention_forward.efficiency", "kernels.attention_backward.efficiency")
BF16, FP8 = (f"kernels.matmul.{p}.efficiency" for p in ("bf16", "fp8"))
MEMORY, GROUPED = "kernels.memory.efficiency", "kernels.grouped_matmul.efficiency"


def _family(
    name: str, file: str, prior: float, *paths: str, spread: float = 0.4, top: float = 1e9
) -> Constant:
    priors = (prior,) * len(paths)
    return Constant(name, (f"families/{file}",), paths, priors, spread, top)


CONSTANTS = (
    Constant("a100 products", A100, (BF16,), (0.831,)),
    Constant("a100 attention", A100, ATTENTION, (0.434, 0.337), 0.25),
    Constant("a100 memory", A100, (MEMORY,), (0.765,), 0.08),
    Constant("hopper products bf16", HOPPER, (BF16,), (0.813,)),
    Constant("hopper products fp8", HOPPER, (FP8,), (0.586,), 0.25, 0.85),
    Constant("hopper attention", HOPPER, ATTENTION, (0.46, 0.308), 0.25),
    Constant("hopper memory", HOPPER, (MEMORY,), (0.838,), 0.08),
    Constant("hopper experts", HOPPER, (GROUPED,), (0.675,), 0.15, 0.9),
    Constant("blackwell products bf16", BLACKWELL, (BF16,), (0.698,)),
    Constant("blackwell products fp8", BLACKWELL, (FP8,), (0.495,), 0.25, 0.85),
    Constant("blackwell attention", BLACKWELL, ATTENTION, (0.402, 0.504), 0.25),
    Constant("blackwell experts", BLACKWELL, (GROUPED,), (0.666,), 0.15, 0.9),
    Constant("v100 products", ("dgx-v100",), (BF16,), (0.7,)),
    Constant("mi325x products fp8", ("mi325x",), (FP8,), (0.45,), 0.25, 0.85),
    Constant("tpu-v4 products", ("tpu-v4",), (BF16,), (0.91,)),
    Constant("tpu-v5e products", ("tpu-v5e",), (BF16,), (0.91,)),
    Constant("tpu-v5p products", ("tpu-v5p",), (BF16,), (0.91,)),
    Constant("tpu attention", ("tpu-v4", "tpu-v5e", "tpu-v5p"), ATTENTION, (0.4, 0.4), 0.25),
    _family("megatron launch", "megatron", 4.5e-5, "launch_s"),
    _family("megatron overlap dp", "megatron", 0.81, "overlap.dp", "overlap_compiled.dp",
            spread=0.25, top=0.99),
    _family("megatron jitter", "megatron", 0.014, "jitter"),
    _family("megatron step", "megatron", 5e-3, "step_s"),
    _family("megatron serial broadcast", "megatron", 3e-3, "shard_rank_s"),
    _family("fsdp launch", "fsdp", 2.7e-5, "launch_s"),
    _family("fsdp overlap", "fsdp", 0.45, "overlap.dp", top=0.99),
    _family("fsdp overlap compiled", "fsdp", 0.95, "overlap_compiled.dp", spread=0.25, top=0.99),
    _family("fsdp overlap tp", "fsdp", 0.54, "overlap_compiled.tp", top=0.95),
    _family("fsdp jitter", "fsdp", 0.014, "jitter"),
    _family("fsdp step", "fsdp", 5e-3, "step_s"),
    _family("xla overlap", "xla", 0.76, "overlap.dp", "overlap_compiled.dp", spread=0.25,
            top=0.99),
    _family("xla jitter", "xla", 0.014, "jitter"),
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


def write_residuals(runs: list[Priced], errors: Column) -> None:
    """Half-widths of the interval, by family: what covers 90% of its runs, sources alike.

    Widened by a quarter, because these runs are the ones that the constants were fitted to.
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    sizes = Counter(run.source for run in runs)
    for family in sorted({run.context.stack.family.name for run in runs}):
        chosen = [i for i, run in enumerate(runs) if run.context.stack.family.name == family]
        size = np.abs(errors[chosen])
        weight = np.array([1.0 / sizes[runs[i].source] for i in chosen])
        order = np.argsort(size)
        covered = np.cumsum(weight[order]) / weight.sum()
        half = 1.25 * float(size[order][int(np.searchsorted(covered, 0.9))])
        path = ROOT / "families" / f"{family}.yaml"
        data = yaml.load(path)
        data["residual"]["value"] = float(f"{half:.3g}")
        data["residual"]["basis"] = "fitted"
        data["residual"]["source"] = (
            f"fit_steps.py: covers 90% of {len(chosen)} runs of the family, sources weighing"
            " alike, widened by a quarter"
        )
        yaml.dump(data, path)


def main() -> None:
    """Fit, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rounds", type=int, default=3, help="Jacobians at most")
    parser.add_argument("--thin", type=int, default=4, help="runs of one layer of one source")
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
        write_residuals(runs, errors)


if __name__ == "__main__":
    main()
