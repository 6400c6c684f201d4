"""Every candidate of a job on one cluster, with its bytes, to be priced again.

A search keeps the few best plans and forgets the rest. `explain` and `what-if` ask of the rest
too: what exceeds the memory by little, what is best when a figure changes. A pool weighs every
candidate once and prices rows when asked, with the search's own objective. Knows no figure and
no text.

Parts: `Pool`, `fill`, `weigh`, `objectives`, `pinned`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.recommend import Searched, _objective_of, search
from planner.search.columns import CHUNK, Found
from planner.workloads import training
from planner.workloads.training.spec import TrainingJob

__all__ = ["Pool", "Rows", "fill", "objectives", "pinned", "weigh"]

Rows = NDArray[np.intp]
KEPT = 400
"""Best rows handed on as a search's."""


@dataclass(frozen=True)
class Pool:
    """Candidates of a job on one cluster.

    Parameters
    ----------
    layout     : `layers_per_stage`, where the job pins it
    tally      : rows that fell to each rule
    used_bytes : footprint of every candidate
    rows       : candidates within the memory limit and the limits of the run, best first
    values     : their objectives
    priced     : candidates within the memory limit
    """

    job: TrainingJob
    context: training.Context
    dims: ParallelDims
    layout: tuple[int, ...] | None
    tally: dict[str, int]
    used_bytes: Column
    rows: Rows
    values: Column
    priced: int

    @property
    def best_value(self) -> float:
        """Objective of the best plan, infinite without one."""
        return float(self.values[0]) if len(self.values) else np.inf

    def plan(self, row: int) -> ParallelDims:
        """Return one candidate as columns of length one."""
        return self.dims.take(np.array([row]))

    def between(self, least_bytes: float, most_bytes: float, most: int) -> Rows:
        """Candidates of more than `least_bytes`, up to `most_bytes`: the `most` smallest."""
        inside = (self.used_bytes > least_bytes) & (self.used_bytes <= most_bytes)
        rows = np.flatnonzero(inside)
        if len(rows) > most:
            smallest = np.argsort(self.used_bytes[rows], kind="stable")[:most]
            rows = np.sort(rows[smallest])
        return rows

    def objectives(
        self,
        rows: Rows,
        job: TrainingJob | None = None,
        context: training.Context | None = None,
    ) -> Column:
        """Price rows, for this job and context or for changed ones; infinite past a limit."""
        return objectives(
            self.job if job is None else job,
            self.context if context is None else context,
            self.dims,
            self.layout,
            rows,
        )

    def searched(self) -> Searched:
        """Return the pool as what a search of the cluster found."""
        least = int(np.argmin(self.used_bytes)) if len(self.dims) else -1
        found = Found(
            rows=self.rows[:KEPT],
            objective=self.values[:KEPT],
            priced=self.priced,
            dropped=len(self.dims) - self.priced,
            least_bytes=float(self.used_bytes[least]) if least >= 0 else np.inf,
            least_row=least,
            bound=self.best_value,
            status="optimal",
        )
        return Searched(self.context, self.dims, self.layout, self.tally, found)


def objectives(
    job: TrainingJob,
    context: training.Context,
    dims: ParallelDims,
    layout: tuple[int, ...] | None,
    rows: Rows,
) -> Column:
    """Price rows as the search does, in chunks; infinite where a row breaks a limit of the run."""
    price = _objective_of(job, context, dims, layout)
    parts = [price(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def weigh(
    job: TrainingJob, cluster: Cluster, *, more_memory: float = 1.0
) -> tuple[training.Context, ParallelDims, Column, dict[str, int]]:
    """List every candidate with its footprint, savings included, and what fell to which rule.

    Parameters
    ----------
    more_memory : the savings are those that plans need within this many times the memory limit
    """
    context = training.make(job, cluster)
    dims, tally = training.candidates(job, context)
    dims, used_bytes = training.with_savings(
        context,
        dims,
        job.strategy.layers_per_stage,
        context.memory_limit_bytes * more_memory,
        offload=job.strategy.offload is None,
        partial=job.strategy.recompute is None,
    )
    return context, dims, used_bytes, tally


def fill(job: TrainingJob, cluster: Cluster) -> Pool:
    """List, weigh and price every candidate that fits.

    Where nothing fits, the offloading that the search falls back on is pinned.
    """
    context, dims, used_bytes, tally = weigh(job, cluster)
    layout = job.strategy.layers_per_stage
    fit = np.flatnonzero(used_bytes <= context.memory_limit_bytes)
    values = objectives(job, context, dims, layout, fit)
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    made = Pool(job, context, dims, layout, tally, used_bytes, fit[order], values[order], len(fit))
    if len(order) or job.strategy.offload is not None:
        return made
    hardware = job.hardware.model_copy(update={"devices": cluster.devices})
    results = search(job.model_copy(update={"hardware": hardware}))
    here = [r for r in results if r.best and r.context.cluster.profile.name == cluster.profile.name]
    if not here or here[0].best is None:
        return made
    offload = training.strategy_of(here[0].context, here[0].best, 0, here[0].layout)["offload"]
    return fill(pinned(job, offload=offload), cluster)


def pinned(job: TrainingJob, **keys: object) -> TrainingJob:
    """Return the job with keys of its strategy pinned; lists become tuples."""
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in keys.items()}
    strategy = job.strategy.model_copy(update=values)
    return job.model_copy(update={"strategy": strategy})
