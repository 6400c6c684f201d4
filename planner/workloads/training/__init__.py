"""Training of decoder-only transformers: everything that the planner asks of a kind of job."""

from planner.workloads.training.bound import bound_s
from planner.workloads.training.candidates import candidates
from planner.workloads.training.consistency import columns_of
from planner.workloads.training.context import Context, make
from planner.workloads.training.cost import cost, memory_of, stage_bytes, times_of
from planner.workloads.training.learning import doubts, updates, updates_factor
from planner.workloads.training.neighbours import neighbours
from planner.workloads.training.run import Economics, economics
from planner.workloads.training.savings import with_savings
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.strategy import strategy_of

__all__ = [
    "NAME",
    "Context",
    "Economics",
    "Spec",
    "bound_s",
    "candidates",
    "columns_of",
    "cost",
    "doubts",
    "economics",
    "make",
    "memory_of",
    "neighbours",
    "stage_bytes",
    "strategy_of",
    "times_of",
    "updates",
    "updates_factor",
    "with_savings",
]

NAME = "training"
Spec = TrainingSpec
