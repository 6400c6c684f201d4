"""Training of decoder-only transformers: everything that the planner asks of a kind of job."""

from planner.workloads.training.bound import bound_s
from planner.workloads.training.candidates import candidates
from planner.workloads.training.carried import Carried, carried
from planner.workloads.training.consistency import columns_of
from planner.workloads.training.context import Context, make
from planner.workloads.training.cost import stage_bytes, stage_seconds, straggler_share
from planner.workloads.training.learning import doubts, searched_kinds, updates, updates_factor
from planner.workloads.training.least import least_s
from planner.workloads.training.neighbours import neighbours, regrouped
from planner.workloads.training.orders import orders_are_free, unlike_orders
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
from planner.workloads.training.run import Economics, economics, economics_of_step
from planner.workloads.training.savings import with_savings
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.stage_bound import (
    StagingBound,
    average_bound_s,
    staging_bound_s,
)
from planner.workloads.training.stage_prices import OPEN, stage_choices, whole_modes
from planner.workloads.training.stage_tables import StageTables, stage_tables, staging_of_rows
from planner.workloads.training.strategy import strategy_of

__all__ = [
    "NAME",
    "OPEN",
    "Carried",
    "Chains",
    "Context",
    "Economics",
    "PoolPlan",
    "Shares",
    "Spec",
    "StageTables",
    "StagingBound",
    "average_bound_s",
    "bound_s",
    "candidates",
    "carried",
    "columns_of",
    "cost",
    "doubts",
    "economics",
    "economics_of_step",
    "end_to_end",
    "least_s",
    "limit_bytes",
    "make",
    "memory_of",
    "neighbours",
    "orders_are_free",
    "own_row",
    "pipelines",
    "pool_figures",
    "pool_strategy",
    "rebuilt",
    "regrouped",
    "searched_kinds",
    "side_by_side",
    "slowest",
    "stage_bytes",
    "stage_choices",
    "stage_memory",
    "stage_seconds",
    "stage_tables",
    "staging_bound_s",
    "staging_of_rows",
    "straggler_share",
    "strategy_of",
    "times_of",
    "unlike_orders",
    "updates",
    "updates_factor",
    "whole_modes",
    "with_savings",
]

NAME = "training"
Spec = TrainingSpec
