"""A job in a few words, searched once, as the plan that the checklist and the design read."""

from collections.abc import Callable
from functools import cache

import pytest

from planner import spec
from planner.design.one_plan import OnePlan
from planner.plan.prediction import prediction
from planner.planning.homogeneous import search
from planner.planning.searched import best_of
from planner.workloads import training


@cache
def _plan(text: str) -> OnePlan:
    job = spec.load(text)
    best = best_of(search(job))
    assert best is not None, "the test's job has no plan"
    dims = best.best
    assert dims is not None
    made = prediction(job, best.context, dims)
    strategy = training.strategy_of(best.context, dims, 0)
    return OnePlan(job, best.context, strategy, made)


@pytest.fixture
def plan_of() -> Callable[..., OnePlan]:
    """Return a function from the parts of a job to its best plan."""

    def make(
        model: str,
        devices: int,
        *,
        workload: str = "",
        hardware: str = "",
        strategy: str = "",
        rest: str = "",
        system: str = "dgx-h100",
        batch: int = 512,
        length: int = 4096,
    ) -> OnePlan:
        text = (
            f"workload: {{kind: training, model: {model}, sequence_length: {length},"
            f" global_batch: {batch}, {workload}}}\n"
            f"hardware: {{system: {system}, devices: {devices}, {hardware}}}\n"
            f"strategy: {{{strategy}}}\n{rest}\n"
        )
        return _plan(text)

    return make
