"""What the search of a cluster found, and what a search may take.

Parts: `DEFAULTS`, `Progress`, `SearchOptions`, `Searched`, `best_of`, `system_of`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hardware_profiles.load import load
from planner.dims import ParallelDims
from planner.job import Job
from planner.search.columns import Found
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["DEFAULTS", "Progress", "SearchOptions", "Searched", "best_of", "system_of"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search may take, and whom it tells.

    Parameters
    ----------
    memory   : drop what exceeds a device's memory; without, to say by how much nothing fits
    deadline : `time.monotonic` at which it ends with what it has; None: it ends by itself
    progress : told a phase, what is done of it and how much it is
    """

    memory: bool = True
    deadline: float | None = None
    progress: Progress | None = None

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def says(self, phase: str) -> Callable[[int, int], None] | None:
        """Return what tells how far a phase is."""
        progress = self.progress
        if progress is None:
            return None
        return lambda done, total: progress(phase, done, total)


DEFAULTS = SearchOptions()
"""A search within memory that ends by itself."""


@dataclass(frozen=True)
class Searched:
    """One cluster, searched.

    `dims` are its candidates, or only the best of them where there are many clusters; `found`
    counts rows of `dims`; `candidates` is how many there were. `dealt` counts the meshes whose
    stages were searched one by one; None: stages are alike. A plan over several pools stands
    in a context of its own, so `dims` is the best one alone and `rivals` are the next ones.
    `eligible`: may be the answer; a pool alone is not, where the job asks for all.
    """

    context: training.Context
    dims: ParallelDims
    tally: dict[str, int]
    found: Found
    candidates: int
    rivals: tuple[tuple[training.Context, ParallelDims], ...] = ()
    eligible: bool = True
    dealt: int | None = None

    @property
    def best(self) -> ParallelDims | None:
        """The best plan, or None."""
        return self.dims.take(self.found.rows[:1]) if len(self.found.rows) else None

    @property
    def objective(self) -> float:
        """Objective of the best plan, infinite without one."""
        return float(self.found.objective[0]) if len(self.found.rows) else np.inf


def best_of(results: list[Searched]) -> Searched | None:
    """Cluster with the best plan; the first where several tie."""
    best = min((s for s in results if s.eligible), key=lambda s: s.objective, default=None)
    return best if best is not None and np.isfinite(best.objective) else None


def system_of(job: Job[TrainingSpec], name: str) -> str:
    """Return the system of the job whose profile has a name; a path is a system, but no name."""
    return next((s for s in job.hardware.systems if load(s).name == name), name)
