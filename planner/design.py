"""The six slots of a distributed design, filled and justified."""

from collections.abc import Mapping, Sequence

from planner.job import Job
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["fill"]


def fill(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
    alternatives: Sequence[Mapping[str, object]],
) -> dict[str, object]:
    """Fill the six slots for a plan."""
    return {}
