"""Ranking inside groups of runs that differ only in strategy: Kendall's tau and top-1 regret."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

__all__ = ["Entry", "Ranking", "rankings"]

LEAST = 4
"""Distinct jobs that a ranking needs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One timed run: `job` identifies it up to its software release."""

    source: str
    group: str
    job: str
    measured_s: float
    predicted_s: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a group's order is predicted: tau in [-1, 1], regret of the predicted best."""

    source: str
    group: str
    jobs: int
    tau: float
    regret: float


def rankings(entries: Iterable[Entry], noise: Mapping[str, float]) -> list[Ranking]:
    """Rank every group of four distinct jobs or more whose spread is above the source's noise.

    Runs of one job (other releases of the software) are merged to their median. Kendall's tau-b
    compares pairs; regret is the measured time of the job that the prediction puts first, over
    the measured best, less one.
    """
    groups: dict[tuple[str, str], dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        groups[entry.source, entry.group][entry.job].append(entry)
    made = []
    for (source, group), jobs in groups.items():
        if len(jobs) < LEAST:
            continue
        measured = np.array([median(e.measured_s for e in same) for same in jobs.values()])
        predicted = np.array([median(e.predicted_s for e in same) for same in jobs.values()])
        if measured.max() / measured.min() - 1.0 <= noise.get(source, 0.0):
            continue
        regret = float(measured[int(np.argmin(predicted))] / measured.min() - 1.0)
        made.append(Ranking(source, group, len(jobs), _tau(measured, predicted), regret))
    return made


def _tau(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b, which counts ties on neither side."""
    upper = np.triu_indices(len(a), 1)
    first = np.sign(a[:, None] - a[None, :])[upper]
    second = np.sign(b[:, None] - b[None, :])[upper]
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / size) if size else 0.0
