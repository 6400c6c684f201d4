"""The plan that is checked: as the job pins it, else searched.

Parts: `planned`.
"""

from collections.abc import Callable

from planner import recommend
from planner.workloads.training.spec import TrainingJob

__all__ = ["planned"]

PINS = ("tp", "cp", "pp", "micro_batch", "zero")
"""What a job pins where it leaves nothing of its mesh open."""


def planned(
    job: TrainingJob, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, object]:
    """Return a job's plan.json: priced where the job pins its mesh, else the best one.

    Raises
    ------
    SpecError      : the strategy is not one plan
    NoFeasiblePlan : nothing fits
    """
    if all(job.strategy.pinned(key) is not None for key in PINS):
        return recommend.predict(job)
    return recommend.plan(job, progress=progress)
