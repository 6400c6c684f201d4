"""Training of decoder-only transformers: everything that the planner asks of a kind of job."""

from planner.workloads.training.bound import bound_s
from planner.workloads.training.candidates import candidates
from planner.workloads.training.consistency import columns_of
from planner.workloads.training.context import Context, make
from planner.workloads.training.learning import doubts, searched_kinds, updates, updates_factor
from planner.workloads.training.neighbours import neighbours
from planner.workloads.training.pool_pins import pipelines, pool_strategy
from planner.workloads.training.pool_shares import Shares, side_by_side
from planner.workloads.training.pool_stages import Chains, end_to_end
from planner.workloads.training.pools import (
    PoolPlan,
    cost,
    limit_bytes,
    memory_of,
    own_row,
    pool_figures,
    rebuilt,
    slowest,
    stage_memory,
    times_of,
)
from planner.workloads.training.run import Economics, economics
from planner.workloads.training.savings import with_savings
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.strategy import strategy_of

__all__ = [
    "NAME",
    "Chains",
    "Context",
    "Economics",
    "PoolPlan",
    "Shares",
    "Spec",
    "bound_s",
    "candidates",
    "columns_of",
    "cost",
    "doubts",
    "economics",
    "end_to_end",
    "limit_bytes",
    "make",
    "memory_of",
    "neighbours",
    "own_row",
    "pipelines",
    "pool_figures",
    "pool_strategy",
    "rebuilt",
    "searched_kinds",
    "side_by_side",
    "slowest",
    "stage_memory",
    "strategy_of",
    "times_of",
    "updates",
    "updates_factor",
    "with_savings",
]

NAME = "training"
Spec = TrainingSpec
