"""Limits of the run that a job cannot be judged by: a deadline or a budget needs a run."""

from planner.errors import SpecError
from planner.workloads.training.spec import TrainingJob

__all__ = ["check"]


def check(job: TrainingJob) -> None:
    """Raise SpecError where the whole run is limited or minimised, but `tokens` is not given."""
    if job.workload.tokens is not None:
        return
    for key in ("deadline_s", "max_cost_usd"):
        if getattr(job.constraints, key) is not None:
            raise SpecError("is of the whole run: give workload.tokens", key=f"constraints.{key}")
    if job.objective.metric == "time_to_train":
        message = "time_to_train is of the whole run: give workload.tokens"
        raise SpecError(message, key="objective.metric")
