"""How a time is taken: warm-up, many runs a sample, the median of samples, and what is odd named.

Knows calls and a clock; nothing of JAX or of what is timed.

Parts: `Effort` (how hard to try), `runs_of` (runs a sample), `sampled`, `read`, `BUSY_SPREAD`.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.calibrate.points import Reading

__all__ = ["BUSY_SPREAD", "FULL", "QUICK", "Effort", "read", "runs_of", "sampled"]

BUSY_SPREAD = 0.25
"""Median spread between repeats from which a machine is not quiet."""
_ODD = 0.5
_CLOCK_S = 1e-4
"""A sample is never shorter: a thousand times what reading the clock takes."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try.

    Parameters
    ----------
    sample_s : seconds that a sample should last
    repeats  : samples of a point
    """

    sample_s: float
    repeats: int


QUICK = Effort(0.03, 3)
FULL = Effort(0.08, 5)


def runs_of(once_s: float, effort: Effort) -> int:
    """Count the runs that make a sample of something that takes `once_s`."""
    return max(1, round(max(effort.sample_s, _CLOCK_S) / max(once_s, 1e-9)))


def sampled(
    call: Callable[[int], None],
    runs: int,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return seconds of one run, by sample: `call(runs)` timed `repeats` times."""
    samples = []
    for _ in range(repeats):
        start = clock()
        call(runs)
        samples.append((clock() - start) / runs)
    return samples


def read(samples: Sequence[float]) -> Reading:
    """Return the median of samples, with their spread and outliers.

    >>> read([1.0, 1.1, 1.2, 5.0, 1.1]).outliers
    1
    """
    ordered = sorted(samples)
    median = statistics.median(ordered)
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    odd = sum(abs(sample - median) > _ODD * median for sample in ordered)
    return Reading(median, middle[-1] / middle[0] - 1.0, odd, len(ordered))
