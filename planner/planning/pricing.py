"""Candidates priced: what the job's metric makes of them, and a value that it cannot be below.

Rows are weighed before they are priced; what memory savings add (see `training.savings`) becomes
rows of its own. Knows one cluster; ranks nothing.

Parts: `Candidates`, `objective_of`, `bound_of`, `arithmetic_bound`, `worth_of_a_step`,
`longest_step_s`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.cluster import Cluster
from planner.dims import ALL_LAYERS, RECOMPUTE, ParallelDims
from planner.job import Job
from planner.objective import NEEDS_RUN, objective
from planner.search.columns import Priced
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = [
    "Candidates",
    "arithmetic_bound",
    "bound_of",
    "longest_step_s",
    "objective_of",
    "worth_of_a_step",
]

Rows = NDArray[np.intp]
LONGEST, STEPS_TRIED = 1e4, 4096
"""Longest step tried over the shortest there can be, and how many are tried."""
NONE, FULL = float(RECOMPUTE.index("none")), float(RECOMPUTE.index("full"))


class Candidates:
    """The candidates of a cluster, and the rows that were made of them so far.

    Parameters
    ----------
    limit_bytes : what a plan may use
    """

    def __init__(
        self,
        job: Job[TrainingSpec],
        context: training.Context,
        dims: ParallelDims,
        limit_bytes: float,
    ) -> None:
        self.job, self.context, self.limit_bytes = job, context, limit_bytes
        self._listed, self._made = dims, dims.part(0, 0)
        self.bounds = self._bounds()

    def __len__(self) -> int:
        """Count the candidates and the rows made of them."""
        return len(self._listed) + len(self._made)

    @property
    def dims(self) -> ParallelDims:
        """The candidates, then the rows made of them."""
        return self._listed.joined(self._made) if len(self._made) else self._listed

    def take(self, rows: Rows) -> ParallelDims:
        """Select rows, listed ones first."""
        first = len(self._listed)
        listed, made = rows[rows < first], rows[rows >= first] - first
        chosen = self._listed.take(listed)
        if not len(made):
            return chosen
        places = np.argsort(np.concatenate([np.flatnonzero(rows < first),
                                             np.flatnonzero(rows >= first)]))  # fmt: skip
        return chosen.joined(self._made.take(made)).take(places)

    def add(self, more: ParallelDims) -> Rows:
        """Add rows and return their numbers."""
        before = len(self)
        if len(more):
            self._made = self._made.joined(more)
        return np.arange(before, len(self))

    def _bounds(self) -> Column:
        """Bound the objective of every candidate, and of what savings may make of it."""
        dims = self._listed
        supports = self.context.stack.supports
        savings = supports.partial_recompute or supports.recompute_modules
        if self.job.strategy.recompute is None and savings:
            # of one that recomputes all layers, rows that recompute less may be made
            whole = (dims.recompute == FULL) & (dims.recompute_layers >= ALL_LAYERS)
            dims = dataclasses.replace(dims, recompute=np.where(whole, NONE, dims.recompute))
        return bound_of(self.job, self.context, dims)

    def hopeful_ones(self) -> "Candidates":
        """Return the candidates alone whose bounds keep the limits of the run."""
        few = self._listed.take(np.flatnonzero(np.isfinite(self.bounds)))
        return Candidates(self.job, self.context, few, self.limit_bytes)

    def hopeful(self, rows: Rows, best: float) -> Rows:
        """Rows, of those given, that some order of the mesh could bring below an objective."""
        first = len(self._listed)
        rows = rows[(rows >= first) | (self.bounds[np.minimum(rows, first - 1)] < best)]
        return rows[bound_of(self.job, self.context, self.take(rows)) < best]

    def price(self, rows: Rows, worst: float) -> Priced:
        """Weigh candidates and what savings make of them; price what fits and can be no worse."""
        dims, used = training.with_savings(
            self.context,
            self._listed.take(rows),
            self.limit_bytes,
            offload=self.job.strategy.offload is None,
            partial=self.job.strategy.recompute is None,
        )
        names = np.concatenate([rows, self.add(dims.part(len(rows), len(dims)))])
        fits = np.flatnonzero(used <= self.limit_bytes)
        least, dropped = int(np.argmin(used)), len(dims) - len(fits)
        if np.isfinite(worst):
            fits = fits[bound_of(self.job, self.context, dims.take(fits)) <= worst]
        return Priced(
            names[fits],
            objective_of(self.job, self.context, dims)(fits) if len(fits) else np.zeros(0),
            dropped,
            float(used[least]),
            int(names[least]),
        )


def worth_of_a_step(job: Job[TrainingSpec], context: training.Context) -> float:
    """Return what a second of a step is at least worth in the metric's unit; 0: unknown.

    A run takes longer where its steps do. Of runs of steps in close succession, what the shorter
    of two neighbours takes is spread over the longer one: no step between them is worth less.
    Whatever a step does, its devices draw their idle power and their hosts'.
    """
    metric, spec = job.objective.metric, job.workload
    if metric in ("step_time", "latency"):
        return 1.0
    if metric == "throughput":
        return context.cluster.devices / float(spec.global_batch * spec.sequence_length)
    if metric == "energy" and not context.cluster.pools:
        step_tokens = float(spec.global_batch * spec.sequence_length)
        return (1.0 if spec.tokens is None else spec.tokens / step_tokens) * _idle_w(
            context.cluster
        )
    if metric not in ("time_to_train", "cost"):
        return 0.0
    steps_s = _steps_tried_s(context)
    run = training.economics_of_step(job, context, steps_s)
    whole_s = steps_s if run.time_to_train_s is None else run.time_to_train_s
    whole = np.asarray(run.cost_usd if metric == "cost" else whole_s)
    return float(np.min(whole[:-1] / steps_s[1:]))


def _idle_w(cluster: Cluster) -> float:
    """Return the watts that a cluster draws at least, its site's overhead included."""
    power = cluster.profile.power
    each_w = power.idle_w.value + power.host_w_per_device.value
    return cluster.devices * each_w * power.overhead.value


def longest_step_s(job: Job[TrainingSpec], context: training.Context) -> float:
    """Return a step so long that no longer one keeps the job's limits; inf: it has none.

    0 where not even the least step that arithmetic allows keeps them.
    """
    limits, spec = job.constraints, job.workload
    longest = np.inf
    if limits.min_tokens_per_s is not None:
        longest = float(spec.global_batch * spec.sequence_length) / limits.min_tokens_per_s
    if limits.deadline_s is None and limits.max_cost_usd is None:
        return longest
    steps_s = _steps_tried_s(context)
    run = training.economics_of_step(job, context, steps_s)
    kept = np.ones(len(steps_s), bool)
    if limits.deadline_s is not None and run.finish_s is not None:
        kept &= run.finish_s <= limits.deadline_s
    if limits.max_cost_usd is not None:
        kept &= run.finish_cost_usd <= limits.max_cost_usd
    last = int(np.max(np.flatnonzero(kept), initial=-1))
    if last < 0:
        return 0.0
    return min(longest, float(np.append(steps_s, np.inf)[last + 1]))


def _steps_tried_s(context: training.Context) -> Column:
    """Return steps in close succession, from the shortest that there can be."""
    return training.bound_s(context) * np.geomspace(1.0, LONGEST, STEPS_TRIED)


def bound_of(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
    *,
    own_order: bool = False,
) -> Column:
    """Return a value that no row's objective is below, whatever the order of its mesh.

    Infinite where even the least step breaks a limit of the run.

    Parameters
    ----------
    own_order : of each row in its own order of the mesh alone
    """
    worth, counts = worth_of_a_step(job, context), job.objective.metric == "devices"
    longest_s = longest_step_s(job, context)
    if worth == 0.0 and not counts and np.isinf(longest_s):
        return np.zeros(len(dims))
    step_s = training.least_s(context, dims, own_order=own_order)
    if counts:
        least = objective("devices", {"step_time_s": step_s, "devices": dims.devices})
    else:
        least = worth * step_s * training.updates_factor(context, dims)
    return np.where(step_s > longest_s, np.inf, least)


def arithmetic_bound(job: Job[TrainingSpec], context: training.Context) -> float:
    """Return a value that no objective on the cluster is below; inf: no plan keeps the limits."""
    least_s = training.bound_s(context)
    if least_s > longest_step_s(job, context):
        return float(np.inf)
    if job.objective.metric == "devices":
        return float(context.cluster.devices)
    return worth_of_a_step(job, context) * least_s


def objective_of(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
) -> Callable[[NDArray[np.intp]], Column]:
    """Return the objective of given rows: infinite where a limit of the run is broken.

    A step counts for what it learns: its time is multiplied by the updates that the plan's
    consistency takes over synchronous ones.
    """
    limits = job.constraints
    run_limits = limits.deadline_s is not None or limits.max_cost_usd is not None
    tokens = float(job.workload.global_batch * job.workload.sequence_length)
    metric = job.objective.metric

    def of(rows: NDArray[np.intp]) -> Column:
        few = dims.take(rows)
        price = training.times_of(context, few)
        raw_s = np.asarray(price.total_s)
        step = raw_s * training.updates_factor(context, few)  # of a synchronous step's progress
        figures: dict[str, Column] = {
            "step_time_s": step,
            "device_seconds_per_token": step * few.devices / tokens,
            "devices": few.devices,
        }
        broken = np.zeros(len(rows), bool)
        if limits.min_tokens_per_s is not None:
            broken |= tokens / raw_s < limits.min_tokens_per_s
        if run_limits or metric in NEEDS_RUN:
            run = training.economics(job, context, few, price)
            whole = step if run.time_to_train_s is None else run.time_to_train_s
            figures |= {
                "cost_usd": np.asarray(run.cost_usd),
                "energy_j": np.asarray(run.energy_j),
                "time_to_train_s": np.asarray(whole),
                "goodput": np.broadcast_to(np.asarray(run.run.goodput), step.shape),
            }
            if limits.deadline_s is not None and run.finish_s is not None:
                broken |= run.finish_s > limits.deadline_s
            if limits.max_cost_usd is not None:
                broken |= run.finish_cost_usd > limits.max_cost_usd
        return np.where(broken, np.inf, objective(metric, figures))

    return of
