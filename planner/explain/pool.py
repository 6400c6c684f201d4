"""The candidates of a search, to be priced again: what `explain` and `what-if` ask of all of them.

A search keeps the few best plans and forgets the rest. Questions after the search ask of the rest
too: what exceeds the memory by little, what is best when a figure changes. A pool takes the
search's own candidates, weighs and prices them with the search's own functions. Knows no figure
and no text.

Parts: `Pool`, `fill`, `objectives`, `pinned`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.dims import ParallelDims
from planner.errors import NoFeasiblePlan
from planner.plan import infeasible
from planner.planning.pooled import search
from planner.planning.pricing import objective_of
from planner.planning.searched import Searched, best_of
from planner.search.columns import CHUNK
from planner.workloads import training
from planner.workloads.training.spec import TrainingJob

__all__ = ["Pool", "Rows", "fill", "objectives", "pinned"]

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Pool:
    """What a search found: its best cluster's candidates, and the results of all clusters."""

    job: TrainingJob
    results: Sequence[Searched]
    searched: Searched

    @property
    def context(self) -> training.Context:
        """The job on the best cluster."""
        return self.searched.context

    @property
    def dims(self) -> ParallelDims:
        """Every candidate, those that do not fit too."""
        return self.searched.dims

    @property
    def best(self) -> ParallelDims | None:
        """The best plan as columns of length one, None where nothing is feasible."""
        return self.searched.best

    @property
    def best_value(self) -> float:
        """Objective of the best plan, infinite without one."""
        return self.searched.objective

    def plan(self, row: int) -> ParallelDims:
        """Return one candidate as columns of length one."""
        return self.dims.take(np.array([row]))

    def used_bytes(self) -> Column:
        """Footprint of every candidate."""
        limit = self.context.memory_limit_bytes
        _, used = training.with_savings(
            self.context, self.dims, limit, offload=False, partial=False
        )
        return used

    def ranked(self) -> tuple[Rows, Column]:
        """Candidates that fit and their objectives, best first; last those that break a limit."""
        rows = np.flatnonzero(self.used_bytes() <= training.limit_bytes(self.context, self.dims))
        values = objectives(self.job, self.context, self.dims, rows)
        order = np.argsort(values, kind="stable")
        return rows[order], values[order]

    def infeasible(self) -> NoFeasiblePlan:
        """Say why there is no best plan."""
        return infeasible.explain(self.job, list(self.results))


def fill(job: TrainingJob) -> Pool:
    """Search a job; the pool is of its best cluster, of its first where nothing is feasible."""
    results = search(job)
    return Pool(job, results, best_of(results) or results[0])


def objectives(
    job: TrainingJob,
    context: training.Context,
    dims: ParallelDims,
    rows: Rows,
) -> Column:
    """Price rows as the search does, in chunks; infinite where a row breaks a limit of the run."""
    price = objective_of(job, context, dims)
    parts = [price(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def pinned(job: TrainingJob, **keys: object) -> TrainingJob:
    """Return the job with keys of its strategy pinned; lists become tuples."""
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in keys.items()}
    strategy = job.strategy.model_copy(update=values)
    return job.model_copy(update={"strategy": strategy})
