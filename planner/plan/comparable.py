"""What a plan has in common with the measured runs, and the interval that follows for its time.

An interval rests on the errors of runs whose whole source was left out of the fit
(`hardware_profiles.residuals`). What is unlike those runs widens it: experts, a chip, a number
format or a stack that no run had, more devices. Knows plans and measured errors; prices nothing.

Parts: `Likeness`, `likeness`, `number_format`, `unlike`, `scale`, `Interval`, `interval`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hardware_profiles.lookup import compute_class, measured
from hardware_profiles.residuals import Cell, Residuals, load_residuals
from hardware_profiles.schema import HardwareProfile
from planner.dims import ParallelDims
from planner.workloads import training

__all__ = ["Interval", "Likeness", "interval", "likeness", "number_format", "scale", "unlike"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What decides which runs a plan is comparable to.

    Parameters
    ----------
    family, chip : of stacks (megatron), of chips (hopper)
    precision    : number format that layer products are computed in on the chip
    experts, lora, offload : whether the job has them
    function     : any JAX function, not a transformer of the planner's own
    relative     : no measurement of the machine is in the fit, its constants are a relative's
    """

    family: str
    chip: str
    precision: str
    devices: float
    experts: bool = False
    lora: bool = False
    offload: bool = False
    function: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """Factors on the predicted time between which the measured one lies, and what says so."""

    low: float
    high: float
    coverage: float
    basis: str

    def around(self, value: float) -> list[float]:
        """Return the interval of a figure that grows as the step time does."""
        return [value * self.low, value * self.high]

    def chance(self, factor: float) -> float:
        """Return the probability that the measured time is at most `factor` of the predicted.

        Normal in the logarithm on either side of the prediction, through both ends.
        """
        if factor <= 0.0:
            return 0.0
        end = self.low if factor < 1.0 else self.high
        return NormalDist().cdf(self._tail * math.log(factor) / abs(math.log(end)))

    def factor(self, chance: float) -> float:
        """Return what factor of the predicted time is kept with a probability in (0, 1).

        The inverse of the method `chance`.
        """
        deviations = NormalDist().inv_cdf(chance) / self._tail
        end = self.low if deviations < 0.0 else self.high
        return math.exp(deviations * abs(math.log(end)))

    @property
    def _tail(self) -> float:
        """Standard deviations from the prediction to either end."""
        return NormalDist().inv_cdf(0.5 + self.coverage / 2.0)


def likeness(context: training.Context, dims: ParallelDims) -> Likeness:
    """Return what one plan (`dims` of length one) is comparable by; of pools, the first's chip."""
    profile, spec = context.cluster.profile, context.spec
    return Likeness(
        family=context.stack.family.name,
        chip=profile.family,
        precision=number_format(profile, spec.precision),
        devices=float(dims.devices[0]),
        experts=spec.model.moe is not None,
        lora=spec.adapters is not None,
        offload=bool(dims.offload[0]),
        relative=not measured(profile),
    )


def number_format(profile: HardwareProfile, precision: str) -> str:
    """Return what products of a precision are computed in on a chip; 16 bits are one format."""
    return "bf16" if (used := compute_class(profile, precision)) == "fp16" else used


def unlike(plan: Likeness, cells: Iterable[Cell]) -> dict[str, float]:
    """Return what sets a plan apart from the runs of `cells`: 1 each, `doublings` a count."""
    seen = tuple(cells)
    chips, families = {c.chip for c in seen}, {c.family for c in seen}
    most = max((c.devices for c in seen if c.family == plan.family), default=plan.devices)
    new_chip, new_family = plan.chip not in chips, plan.family not in families
    formats = {c.precision for c in seen if c.chip == plan.chip}
    pairs = {(c.family, c.chip) for c in seen}
    found = {
        "experts": plan.experts,
        "lora": plan.lora,
        "offload": plan.offload,
        "function": plan.function,
        "relative": plan.relative,
        "chip": new_chip,
        "stack": new_family,
        "precision": not new_chip and plan.precision not in formats,
        "stack on chip": not (new_chip or new_family) and (plan.family, plan.chip) not in pairs,
        "doublings": max(0.0, math.log2(plan.devices / most)),
    }
    return {name: float(value) for name, value in found.items() if value}


def scale(plan: Likeness, found: Mapping[str, float], residuals: Residuals) -> float:
    """Return the typical absolute log error of a plan: its family's, times what is unlike."""
    made = residuals.scale.value
    if plan.family in residuals.families:
        made *= residuals.families[plan.family].value
    for name, much in found.items():
        made *= residuals.wider[name].value ** much
    return made


def interval(plan: Likeness, residuals: Residuals | None = None) -> Interval:
    """Return the interval of a plan's step time; by default from the shipped errors."""
    known = residuals or load_residuals()
    found = unlike(plan, known.cells)
    spread = scale(plan, found, known)
    return Interval(
        low=float(np.exp(-spread * known.above.value)),
        high=float(np.exp(spread * known.below.value)),
        coverage=known.coverage,
        basis=_basis(plan, found, known),
    )


_SAID = {
    "experts": "experts",
    "lora": "low-rank adapters",
    "offload": "states on the host, which no run had",
    "function": "a function of your own, which no run was",
    "relative": "a machine that nothing was measured on",
    "chip": "no run on this kind of chip",
    "stack": "no run of this family of stacks",
    "precision": "no run in {precision} on this kind of chip",
    "stack on chip": "no {family} run on this kind of chip",
    "doublings": "{times:.3g}x the devices of any {family} run",
}


def _basis(plan: Likeness, found: Mapping[str, float], known: Residuals) -> str:
    """Say in one sentence which runs the interval rests on and what widens it."""
    same = [c for c in known.cells if c.family == plan.family]
    near = [c for c in same if c.chip == plan.chip and c.experts == plan.experts]
    rests = near or same or list(known.cells)
    runs = sum(c.runs for c in rests)
    sources = len({name for c in rests for name in c.sources})
    kind = f"{plan.chip}, {'experts' if plan.experts else 'dense'}"
    of = f"{plan.family}, {kind}" if near else f"{plan.family}" if same else "every stack"
    plural = "s" if sources > 1 else ""
    text = f"{known.coverage:.0%} of {runs:,} runs of {sources} left-out source{plural}: {of}"
    times = 2.0 ** found.get("doublings", 0.0)
    wider = [
        _SAID[name].format(precision=plan.precision, family=plan.family, times=times)
        for name in found
        if known.wider[name].value > 1.0 and not (near and name == "experts")
    ]
    return text + (f"; wider for {', '.join(wider)}" if wider else "")
