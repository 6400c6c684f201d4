"""Prepared runs, priced again under other constants: what a fit asks hundreds of times.

Runs that share a context (model, machine, device count, stack, number format) are priced
together, as columns; of those that no changed constant touches, none is priced. Knows runs and
constants; nothing of how constants are found.

Parts: `Bench`, `thinned`, `source_weights`, `per_source`.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from hardware_profiles.load import load
from hardware_profiles.overrides import with_overrides
from hardware_profiles.schema import HardwareProfile
from hardware_profiles.stack import Stack
from planner.cluster.choices import cluster_of
from planner.dims import ParallelDims
from planner.fitting.constants import FAMILIES, Constant, scaled_profile, scaled_stack
from planner.validate.prepared import Priced
from planner.workloads import training
from planner.workloads.training.context import rates_of

__all__ = ["Bench", "per_source", "source_weights", "thinned"]


@dataclass(frozen=True)
class _Group:
    """Runs that share a context: their numbers, their open rows, and where each run's start."""

    first: Priced
    runs: NDArray[np.intp]
    dims: ParallelDims
    starts: NDArray[np.intp]

    @property
    def files(self) -> tuple[str, str]:
        """Files whose constants its price depends on."""
        context = self.first.context
        return context.cluster.profile.name, FAMILIES + context.stack.family.name


class Bench:
    """Timed runs, prepared once and priced under any constants.

    Attributes
    ----------
    runs       : those of the given runs that were timed, each with the rows that fit in memory
    measured_s : their step times
    """

    def __init__(self, runs: Sequence[Priced], constants: Sequence[Constant]) -> None:
        self.runs = [run.that_fit() for run in runs if run.measured_s]
        self.measured_s = np.array([run.measured_s for run in self.runs], np.float64)
        self.constants = tuple(constants)
        self._groups = _grouped(self.runs)

    def touched(self, constant: Constant) -> NDArray[np.bool_]:
        """Tell which runs a constant can move."""
        touched = np.zeros(len(self.runs), bool)
        for group in self._groups:
            touched[group.runs] = not set(constant.files).isdisjoint(group.files)
        return touched

    def only(self, keep: NDArray[np.bool_]) -> "Bench":
        """Return the bench of some of its runs."""
        some = object.__new__(Bench)
        some.runs = [run for run, kept in zip(self.runs, keep, strict=True) if kept]
        some.measured_s = self.measured_s[keep]
        some.constants = self.constants
        some._groups = _grouped(some.runs)
        return some

    def log_errors(
        self,
        factors: Mapping[str, float],
        moved: Constant | None = None,
        here: Column | None = None,
    ) -> Column:
        """Logarithm of predicted over measured step time, run by run.

        Parameters
        ----------
        factors : of every constant, by name
        moved, here : where only `moved` differs from the factors that gave the errors `here`, the
                  runs that it does not touch are taken from there
        """
        out = np.zeros(len(self.runs)) if here is None else here.copy()
        profiles: dict[str, HardwareProfile] = {}
        stacks: dict[str, Stack] = {}
        for group in self._groups:
            if moved is not None and set(moved.files).isdisjoint(group.files):
                continue
            system, stack = group.first.job.hardware.systems[0], group.first.context.stack
            if system not in profiles:
                profiles[system] = scaled_profile(load(system), self.constants, factors)
            if stack.name not in stacks:
                stacks[stack.name] = scaled_stack(stack, self.constants, factors)
            context = _under(group.first, profiles[system], stacks[stack.name])
            step_s = np.asarray(training.times_of(context, group.dims).total_s)
            least_s = np.minimum.reduceat(step_s, group.starts)
            out[group.runs] = np.log(least_s / self.measured_s[group.runs])
        return out


def _under(run: Priced, profile: HardwareProfile, stack: Stack) -> training.Context:
    """Return a run's context under another profile and stack; `hardware.set` still holds."""
    hardware, old = run.job.hardware, run.context
    changed = with_overrides(profile, hardware.set.given())
    cluster = cluster_of(hardware, changed, old.cluster.devices)
    rates = rates_of(
        cluster,
        old.spec.precision,
        run.job.software.gemm_efficiency,
        old.stack.attention_kernels,
    )
    return dataclasses.replace(old, cluster=cluster, rates=rates, stack=stack)


def _shared(run: Priced) -> str:
    """Return what two runs must agree in to be priced as columns of one context."""
    job, context = run.job, run.context
    own = job.workload.model_dump_json(exclude={"global_batch"})
    stack = f"{context.stack.name} {context.switches} {job.software.gemm_efficiency}"
    stack += f" {context.stack.attention_kernels}"
    pinned = f"{context.algorithms} {context.stagings}"
    return f"{own} {job.hardware.model_dump_json()} {stack} {pinned}"


def _grouped(runs: Sequence[Priced]) -> list[_Group]:
    together: dict[str, list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        together[_shared(run)].append(number)
    groups = []
    for numbers in together.values():
        dims, starts = runs[numbers[0]].dims, [0]
        for number in numbers[1:]:
            starts.append(len(dims))
            dims = dims.joined(runs[number].dims)
        groups.append(_Group(runs[numbers[0]], np.array(numbers), dims, np.array(starts)))
    return groups


def thinned(runs: Sequence[Priced], most: int) -> list[Priced]:
    """Keep at most `most` timed runs of one layer and group of replicas of one source, in order.

    Two runs are of one layer where they agree in all but the number of layers, stages and
    microbatches: a sweep over those times few layers again and again. Evenly spaced, no draw.
    """
    layers: dict[str, list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        if run.measured_s:
            layers[_layer(run)].append(number)
    kept: set[int] = set()
    for numbers in layers.values():
        count = min(most, len(numbers))
        kept |= {numbers[(2 * i + 1) * len(numbers) // (2 * count)] for i in range(count)}
    return [runs[number] for number in sorted(kept)]


def _layer(run: Priced) -> str:
    work = run.job.workload.model_dump(
        mode="json", exclude={"global_batch": True, "model": {"name", "layers"}}
    )
    dims = run.dims.row(0)
    mesh = [dims[key] for key in ("tp", "cp", "dp", "ep", "zero_group", "micro_batch", "recompute")]
    where = (run.job.hardware.systems, run.job.software.preset)
    return f"{run.source} {work} {mesh} {where}"


def source_weights(runs: Sequence[Priced], power: float = 0.3) -> Column:
    """Weigh each run by its source's number of runs to the power -`power`; the mean is 1.

    0 weighs runs alike, 1 weighs sources alike.
    """
    weight = per_source([run.source for run in runs], power)
    return np.asarray(weight / weight.mean())


def per_source(sources: Sequence[str], power: float) -> Column:
    """Return, for each observation of these sources, its source's number of them to -`power`."""
    sizes = Counter(sources)
    return np.array([sizes[source] ** -power for source in sources])
