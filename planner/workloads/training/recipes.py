"""The recipes by which the runtime that a job names runs it: by model, machine and precision.

Parts: `recipes_for`.
"""

from hardware_profiles.runtime import Recipe, recipes_of
from planner.workloads.training.spec import TrainingJob

__all__ = ["recipes_for"]


def recipes_for(job: TrainingJob, machine: str) -> tuple[Recipe, ...]:
    """Return the recipes of a job on the machine of a profile's name, in order; later ones win."""
    work = job.workload
    return recipes_of(job.software.runtime, work.model.name, machine, work.precision)
