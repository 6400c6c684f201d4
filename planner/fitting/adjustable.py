"""Which figures of machines and stacks measured runs may put right, and how far.

Rates that training reaches, links, and what a stack's code costs and hides; no datasheet figure
and no figure that has one answer (bytes, counts). Knows runs and where figures stand; no error.

Parts: `adjustable`.
"""

from collections.abc import Sequence

from hardware_profiles.load import load
from hardware_profiles.lookup import compute_class
from planner.fitting import Constant, figure_at
from planner.validate.prepared import Priced

__all__ = ["adjustable"]

_MACHINE = (
    ("kernels.training.attention", "rate of attention in training", 0.25, 1.6),
    ("kernels.training.grouped_matmul", "rate of experts' products in training", 0.25, 1.6),
    ("kernels.training.memory", "memory bandwidth reached in training", 0.15, 1.6),
)
_STACK = (
    ("launch_s", "host time of a launch", 0.4, 1.0),
    ("launch_s_compiled", "host time of a launch, compiled", 0.4, 1.0),
    ("overlap.dp", "share of gradient and parameter traffic that hides", 0.3, 0.99),
    ("overlap_compiled.dp", "share of gradient and parameter traffic that hides, compiled", 0.3,
     0.99),
    ("overlap.tp", "share of tensor-parallel traffic that hides", 0.3, 0.99),
    ("overlap_compiled.tp", "share of tensor-parallel traffic that hides, compiled", 0.3, 0.99),
    ("jitter", "loss to stragglers for each doubling of hosts", 0.4, 1.0),
    ("step_s", "host time of an optimizer step", 0.4, 1e3),
)  # fmt: skip


def adjustable(runs: Sequence[Priced]) -> dict[str, tuple[Constant, str]]:
    """Return what may be adjusted of the machines and stacks of some runs, and its meaning."""
    made: dict[str, tuple[Constant, str]] = {}
    for system in sorted({run.job.hardware.systems[0] for run in runs}):
        profile = load(system)
        data = profile.model_dump()
        kinds = {
            compute_class(profile, kind)
            for run in runs
            if run.job.hardware.systems[0] == system
            for kind in (run.context.spec.precision, "bf16")
        }
        wanted = [*_products(data, sorted(kinds)), *_MACHINE]
        for index, level in enumerate(profile.network):
            wanted += [
                (f"network.{index}.efficiency", f"bandwidth reached in a {level.name}", 0.2, 0.98),
                (f"network.{index}.latency_s", f"latency in a {level.name}", 0.4, 1.0),
            ]
        _add(made, profile.name, data, wanted)
    for stack in sorted({run.context.stack.family.name for run in runs}):
        family = next(r.context.stack.family for r in runs if r.context.stack.family.name == stack)
        _add(made, f"families/{stack}", family.model_dump(), _STACK)
    return made


def _products(data: object, kinds: Sequence[str]) -> list[tuple[str, str, float, float]]:
    """Where the rate of matrix products stands: in training, or else as measured alone."""
    found = []
    for kind in kinds:
        meaning = f"rate of {kind} matrix products"
        if figure_at(data, f"kernels.training.matmul.{kind}"):
            path = f"kernels.training.matmul.{kind}"
            found.append((path, f"{meaning} in training", 0.15, 1.6))
        else:
            found.append((f"kernels.matmul.{kind}.efficiency", meaning, 0.15, 0.98))
    return found


def _add(
    made: dict[str, tuple[Constant, str]],
    file: str,
    data: object,
    wanted: Sequence[tuple[str, str, float, float]],
) -> None:
    for path, meaning, spread, top in wanted:
        figure = figure_at(data, path)
        value = float(str(figure["value"])) if figure else 0.0
        if value > 0.0:
            name = f"{file} {path}"
            constant = Constant(name, (file,), (path,), (value,), spread, max(top, value))
            made[name] = (constant, meaning)
