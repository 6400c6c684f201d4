"""The six stages: ceiling, axis, topology, mode, metric, tax; each follows from the one before.

Reads the plan's numbers and computes what one machine could do; prices nothing anew.

Parts: `fill`, and one function a stage.
"""

from collections.abc import Mapping

from planner import ceilings
from planner.ceilings import Ceilings
from planner.job import Job
from planner.one_plan import OnePlan
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["fill"]

Answer = dict[str, object]


def fill(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
) -> dict[str, object]:
    """Answer the six stages for a plan."""
    plan = OnePlan(job, context, strategy, prediction)
    found = ceilings.of_training(job, context)
    return {"ceiling": _ceiling(plan, found)}


def _answer(choice: str, because: str, numbers: Mapping[str, float | str]) -> Answer:
    return {"choice": choice, "because": because, "numbers": dict(numbers)}


def _ceiling(plan: OnePlan, found: Ceilings) -> Answer:
    names = ", ".join(c.name for c in found.binding)
    return _answer(names or "none: one machine is enough", "", {})
