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
import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from scipy.optimize import least_squares

from hardware_profiles.schema import HardwareProfile
from hardware_profiles.stack import Family, Stack
from planner.validate import Priced, prepare_all
from planner.workloads.training import context as training_context
from planner.workloads.training.cost import memory_of, times_of

ROOT = Path(__file__).parents[2] / "hardware_profiles"


@dataclass(frozen=True)
class Constant:
    """One fitted constant: where it stands, what it is held near, and how far it may move.

    `paths` in the files are dotted and all scale together from their `priors`: what kernel
    measurements (`fit_kernels.py`) or the stack's description give. `spread` is the standard
    deviation of the factor's logarithm before any run is seen; no value passes `top`.
    """

    name: str
    files: tuple[str, ...]
    paths: tuple[str, ...]
    priors: tuple[float, ...]
    spread: float = 0.15
    top: float = 0.95
    kind: str = field(default="profile")


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
    return Constant(name, (f"families/{file}",), paths, priors, spread, top, "family")


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


def _get(data: object, path: str) -> dict[str, object]:
    for part in path.split("."):
        data = data[part]  # type: ignore[index]
    return data  # type: ignore[return-value]


class Bench:
    """Runs prepared once, priced again for every set of constants."""

    def __init__(self, runs: list[Priced]) -> None:
        self.runs = runs
        names = {p.context.cluster.profile.name for p in runs}
        self.profiles = {n: p.context.cluster.profile for p in runs
                         for n in [self._key(p)]}  # fmt: skip
        self.names = names
        self.stacks = {p.context.stack.name: p.context.stack for p in runs}

    @staticmethod
    def _key(run: Priced) -> str:
        given = run.job.hardware.set.given()
        return run.context.cluster.profile.name + repr(sorted(given.items()))

    def scaled(
        self, scale: dict[str, float]
    ) -> tuple[dict[str, HardwareProfile], dict[str, Stack]]:
        """Profiles and stacks with every constant times its factor."""
        profiles, stacks = {}, {}
        for key, profile in self.profiles.items():
            data = profile.model_dump()
            for c in CONSTANTS:
                if c.kind == "profile" and profile.name in c.files:
                    _place(data, c, scale[c.name])
            profiles[key] = HardwareProfile.model_validate(data)
        for name, stack in self.stacks.items():
            data = stack.family.model_dump()
            for c in CONSTANTS:
                if c.kind == "family" and c.files == (f"families/{stack.family.name}",):
                    _place(data, c, scale[c.name])
            stacks[name] = stack.model_copy(update={"family": Family.model_validate(data)})
        return profiles, stacks

    def touched(self, constant: Constant) -> np.ndarray:
        """Return the runs whose price a constant can change."""
        names = [run.context.cluster.profile.name for run in self.runs]
        families = [f"families/{run.context.stack.family.name}" for run in self.runs]
        own = names if constant.kind == "profile" else families
        return np.flatnonzero([name in constant.files for name in own])

    def errors(self, scale: dict[str, float], only: np.ndarray | None = None) -> np.ndarray:
        """Logarithm of predicted over measured, run by run, of all runs or of some."""
        profiles, stacks = self.scaled(scale)
        chosen = range(len(self.runs)) if only is None else only
        out = np.zeros(len(chosen))
        for i, number in enumerate(chosen):
            run = self.runs[number]
            c = run.context
            cluster = dataclasses.replace(c.cluster, profile=profiles[self._key(run)])
            rates = training_context.rates_of(
                cluster, c.spec.precision, run.job.software.gemm_efficiency
            )
            context = dataclasses.replace(
                c, cluster=cluster, rates=rates, stack=stacks[c.stack.name]
            )
            seconds = np.min(np.asarray(times_of(context, run.dims).total_s))
            out[i] = np.log(seconds / run.measured_s)
        return out


def _place(data: object, constant: Constant, factor: float) -> None:
    """Set the figures of a constant to their priors times the factor, at most its top."""
    for path, prior in zip(constant.paths, constant.priors, strict=True):
        try:
            figure = _get(data, path)
        except KeyError:
            continue  # a machine without this number format
        figure["value"] = min(constant.top, prior * factor)


def fit(bench: Bench, rounds: int) -> tuple[dict[str, float], np.ndarray]:
    """Least squares with a soft loss over runs, and a prior on every constant."""
    sources = Counter(run.source for run in bench.runs)
    weight = np.array([sources[run.source] ** -0.3 for run in bench.runs])
    weight = weight / weight.mean()
    spreads = np.array([c.spread for c in CONSTANTS])

    def scale_of(x: np.ndarray) -> dict[str, float]:
        return {c.name: float(np.exp(v)) for c, v in zip(CONSTANTS, x, strict=True)}

    def soft(errors: np.ndarray) -> np.ndarray:
        """soft_l1 on the runs only: the prior stays quadratic."""
        e = errors / 0.08
        return np.sign(e) * np.sqrt(2.0 * (np.sqrt(1.0 + e**2) - 1.0))

    def residual(x: np.ndarray) -> np.ndarray:
        errors = bench.errors(scale_of(x))
        print(f"  mean |log error| {np.abs(errors).mean():.4f}", flush=True)
        return np.concatenate([weight * soft(errors), x / spreads])

    def jacobian(x: np.ndarray) -> np.ndarray:
        rows = len(bench.runs)
        made = np.zeros((rows + len(CONSTANTS), len(CONSTANTS)))
        made[rows:] = np.diag(1.0 / spreads)
        here = bench.errors(scale_of(x))
        for k, constant in enumerate(CONSTANTS):
            only = bench.touched(constant)
            moved = x.copy()
            moved[k] += 0.02
            there = bench.errors(scale_of(moved), only)
            made[only, k] = weight[only] * (soft(there) - soft(here[only])) / 0.02
        return made

    start = np.zeros(len(CONSTANTS))
    found = least_squares(residual, start, jac=jacobian, max_nfev=rounds, x_scale=spreads)
    return scale_of(found.x), bench.errors(scale_of(found.x))


def write(scale: dict[str, float], errors: np.ndarray, runs: int) -> None:
    """Change the figures in their files, in place."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    note = f"fit_steps.py: {runs} training runs, median error {np.median(np.abs(errors)):.1%}"
    for c in CONSTANTS:
        for file in c.files:
            path = ROOT / f"{file}.yaml"
            data = yaml.load(path)
            _place(data, c, scale[c.name])
            for dotted in c.paths:
                try:
                    figure = _get(data, dotted)
                except KeyError:
                    continue
                figure["value"] = float(f"{float(figure['value']):.4g}")  # type: ignore[arg-type]
                figure["basis"] = "fitted"
                figure["source"] = f"{note}; constant '{c.name}'"
            yaml.dump(data, path)


def _fitting(run: Priced) -> Priced:
    """Keep the open rows that fit in memory, where any does: those a run could have used."""
    used = np.asarray(memory_of(run.context, run.dims).total_bytes)
    fit = np.flatnonzero(used <= run.context.memory_bytes)
    return dataclasses.replace(run, dims=run.dims.take(fit)) if len(fit) else run


def write_residuals(runs: list[Priced], errors: np.ndarray) -> None:
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
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--thin", type=int, default=15, help="one run in n of the largest source")
    args = parser.parse_args()
    prepared = prepare_all(sorted(args.runs.glob("*.yaml")))
    sizes = Counter(run.source for run in prepared)
    count: Counter[str] = Counter()
    runs = []
    for run in prepared:
        count[run.source] += 1
        big = args.thin if sizes[run.source] > 1000 else 2 if sizes[run.source] > 200 else 1
        if run.measured_s and count[run.source] % big == 0:
            runs.append(_fitting(run))
    bench = Bench(runs)
    scale, errors = fit(bench, args.rounds)
    for name, value in scale.items():
        print(f"{name:28s} x {value:.3f}")
    for source in sorted({r.source for r in runs}):
        e = np.array([x for x, r in zip(errors, runs, strict=True) if r.source == source])
        mean = np.abs(np.expm1(e)).mean()
        print(f"{source:40s} {len(e):4d} mean {mean:.3f} bias {e.mean():+.3f}")
    if args.write:
        write(scale, errors, len(runs))
        write_residuals(runs, errors)


if __name__ == "__main__":
    main()
