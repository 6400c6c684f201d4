"""The plan of a plan.json, rebuilt: its job, its strategy priced again by this version.

Reads `job`, `strategy` and the printed step time of the file and trusts nothing else in it; what
is wrong with a file edited by hand is a SpecError. Explains nothing.

Parts: `Chosen`, `rebuild`, `step_s`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from costmodels.units import scalar
from planner import spec
from planner.cluster import Cluster
from planner.design.one_plan import OnePlan
from planner.dims import ParallelDims
from planner.errors import SpecError
from planner.explain.pool import Pool, objectives
from planner.nearest import shown
from planner.plan import infeasible
from planner.plan.findings import changes, delta, figure, losses
from planner.plan.prediction import prediction
from planner.planning.pooled import search
from planner.planning.searched import SearchOptions, best_of
from planner.workloads import training
from planner.workloads.training.spec import TrainingJob

__all__ = ["CLEARLY", "Chosen", "rebuild", "step_s"]

CLEARLY = 1.0 - 1e-9
"""A plan is better where its objective is below this share of the other's: not by rounding."""


@dataclass(frozen=True)
class Chosen:
    """A plan, priced.

    Parameters
    ----------
    job        : the plan's job, with the pins that its user gave
    dims       : the strategy as columns of length one
    prediction : plan.json's, priced now
    objective  : what the job's metric makes of it, infinite where it breaks a limit of the run
    printed_s  : the step time in the file, None where there is none
    """

    job: TrainingJob
    context: training.Context
    dims: ParallelDims
    strategy: dict[str, object]
    prediction: dict[str, object]
    objective: float
    printed_s: float | None

    @property
    def cluster(self) -> Cluster:
        """The machines that the plan runs on."""
        return self.context.cluster

    @property
    def one(self) -> OnePlan:
        """The plan as the checklist reads it: figures by key, seconds by kind."""
        return OnePlan(self.job, self.context, self.strategy, self.prediction)

    def beside_best(self, pool: Pool) -> tuple[str, dict[str, float | int | str]]:
        """`beside` for the best plan of a pool."""
        assert pool.best is not None
        return self.beside(pool.context, pool.best)

    def worse_than(self, pool: Pool) -> bool:
        """Tell whether the best plan of a pool is better by the job's objective."""
        return pool.best_value < self.objective * CLEARLY

    def beside(
        self, context: training.Context, dims: ParallelDims
    ) -> tuple[str, dict[str, float | int | str]]:
        """Say how another plan differs from this one, by key and by term; and its figures."""
        made = prediction(self.job, context, dims)
        strategy = training.strategy_of(context, dims, 0)
        step, now = figure(made, "step_time_s"), self.one.step_s
        said = f"{changes(strategy, self.strategy)}: {losses(delta(made, self.prediction))}"
        return said, {
            "step_time_s": step,
            "gain_s": now - step,
            "gain_share": 1.0 - step / now,
            "memory_bytes": figure(made, "memory_bytes"),
        }


def step_s(chosen: Chosen, job: TrainingJob, cluster: Cluster) -> float:
    """Return a plan's seconds of a step on a changed machine."""
    context = training.rebuilt(chosen.context, job, cluster)
    price = training.cost(context, chosen.dims)
    return scalar(price.total_s)


def rebuild(plan: Mapping[str, object]) -> Chosen:
    """Read a plan and price its strategy.

    Raises
    ------
    SpecError      : the file does not hold a plan of a training job
    NoFeasiblePlan : the strategy breaks a rule of this version
    """
    job_part, strategy = _mapping(plan, "job"), _mapping(plan, "strategy")
    job = _load(job_part)
    one = job.hardware.fixed_devices is not None and len(job.hardware.systems) == 1
    if job.hardware.pools is None and not one:
        raise SpecError("a plan's job has one system and one device count", key="job.hardware")
    pinned = _load({**job_part, "strategy": strategy})
    free = pinned.constraints.model_copy(
        update={"deadline_s": None, "max_cost_usd": None, "min_tokens_per_s": None}
    )
    free_job = pinned.model_copy(update={"constraints": free})
    results = search(free_job, staged=False)
    best = best_of(results)
    if best is None:
        results = search(free_job, SearchOptions(memory=False))
        best = best_of(results)
    if best is None or best.best is None:
        raise infeasible.explain(pinned, results)
    return Chosen(
        job,
        best.context,
        best.best,
        training.strategy_of(best.context, best.best, 0),
        prediction(job, best.context, best.best),
        float(objectives(job, best.context, best.best, np.zeros(1, np.intp))[0]),
        _printed_s(plan),
    )


def _load(raw: Mapping[str, object]) -> TrainingJob:
    """Read a job inside a plan; what is wrong with it is at `job.` of the plan."""
    try:
        return spec.load_mapping(raw)
    except SpecError as error:
        inside = error.key if error.key.startswith("strategy") else f"job.{error.key}".rstrip(".")
        raise SpecError(
            error.message, key=inside, file=error.file or "the plan", line=error.line
        ) from None


def _mapping(plan: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = plan.get(key)
    if not isinstance(value, Mapping):
        said = "is missing" if value is None else f"is {shown(value)}"
        raise SpecError(f"{said}; a plan has a mapping here", key=key)
    return value


def _printed_s(plan: Mapping[str, object]) -> float | None:
    made = plan.get("prediction")
    value = made.get("step_time_s") if isinstance(made, Mapping) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"is {shown(value)}; allowed: a number", key="prediction.step_time_s")
    return float(value)
