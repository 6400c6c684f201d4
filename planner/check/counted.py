"""One plan as the planner prices it on the stack of the checked step, and the grid of its step.

Parts: `Counted`, `counted`; `fullest_of` and `dense_of_the_step`, parameters of the plan's fullest
stage and of the step, whose stages are all alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from costmodels.units import scalar
from planner.cluster.choices import clusters
from planner.dims import ParallelDims
from planner.errors import SpecError
from planner.spec import load_mapping
from planner.workloads import training
from planner.workloads.training import states
from planner.workloads.training.stages import Slots, slots_of

__all__ = ["Counted", "counted", "dense_of_the_step", "fullest_of"]

STACK = "jax-explicit"


@dataclass(frozen=True)
class Counted:
    """A plan as the planner prices it, and the grid of its step.

    Parameters
    ----------
    sizes, roles : axes of the grid, and those that make up each role of the plan
    """

    context: training.Context
    dims: ParallelDims
    sizes: Mapping[str, int]
    roles: Mapping[str, tuple[str, ...]]

    def at(self, name: str) -> float:
        """Return a degree or choice of the plan."""
        return scalar(getattr(self.dims, name))

    def axes(self, *roles: str) -> frozenset[str]:
        """Axes of the grid that make up some roles together."""
        return frozenset(axis for role in roles for axis in self.roles[role])

    def ring(self, axes: frozenset[str]) -> float:
        """Share of a message that a ring over some axes sends in a turn: (n - 1)/n."""
        ranks = prod(self.sizes[axis] for axis in axes)
        return (ranks - 1.0) / ranks

    @property
    def slots(self) -> Slots:
        """Stages of the plan."""
        return slots_of(self.context.kinds, self.dims, self.context.stagings)

    @property
    def tokens(self) -> float:
        """Tokens of a microbatch on one device: micro_batch * sequence / cp."""
        return self.at("micro_batch") * self.context.tokens / self.at("cp")

    @property
    def ticks(self) -> float:
        """Times that a stage runs in a step: m + p - 1, those with nothing of its own included."""
        return self.at("microbatches") + self.at("pp") - 1.0


def counted(
    plan: Mapping[str, object], sizes: Mapping[str, int], roles: Mapping[str, tuple[str, ...]]
) -> Counted:
    """Price a plan (`job` and `strategy`, as plan.json has them) on the stack of the step.

    Raises
    ------
    SpecError : the strategy is not pinned to one plan on one machine
    """
    job, strategy = plan["job"], plan["strategy"]
    assert isinstance(job, Mapping)
    software = {**job.get("software", {}), "preset": STACK}
    parsed = load_mapping({**job, "strategy": strategy, "software": software})
    found = clusters(parsed.hardware)
    context = training.make(parsed, found[0])
    dims, tally = training.candidates(parsed, context)
    if len(found) != 1 or len(dims) != 1:
        fell = ", ".join(f"{rule} {rows}" for rule, rows in tally.items() if rows)
        raise SpecError(
            f"a check is of one plan, this leaves {len(dims)} on {len(found)} machines ({fell})",
            key="strategy",
        )
    return Counted(context, dims, sizes, roles)


def fullest_of(plan: Counted) -> states.Fullest:
    """Parameters of the plan's fullest stage."""
    return states.parameters_of(plan.context, plan.dims, plan.slots).fullest()


def dense_of_the_step(plan: Counted) -> float:
    """Dense parameters on a device of the step: a stage's share of layers, and all tables."""
    one = replace(plan.dims, pp=np.ones(1), vpp=np.ones(1), staging=np.zeros(1))
    held = states.parameters_of(plan.context, one, slots_of(plan.context.kinds, one))
    tables = scalar(held.tables)
    return (scalar(held.fullest().dense) - tables) / plan.at("pp") + tables
