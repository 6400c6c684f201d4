"""Pipelines dealt stage by stage, mesh after mesh, once the uniform plans are ranked.

The columns of a search price plans whose stages are alike. Here the meshes are taken in order of
what no staging of theirs can beat (`training.staging_bound_s`); of each, layers and recomputation
of every stage are searched together, exactly (`interval_search`), and the best walks are priced
by the plan's own cost. It ends where no mesh left can be better by more than `CLOSE`, or after
`MOST_MESHES`. The bound that comes back is over all meshes, dealt or not.

Knows meshes, tables and objectives; no formula.

Parts: `refined`, `Refined`.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column
from planner.dims import ALL_LAYERS, RECOMPUTE, ParallelDims, modules_of
from planner.fold import fold
from planner.job import Job
from planner.search.interval_search import Search, Tables
from planner.strategy import RecomputeModules
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.staging import StageChoice, Staging

__all__ = ["Refined", "refined"]

CLOSE = 0.005
"""Share of the best objective by which a mesh left alone may still be better."""
MOST_MESHES = 200
"""Meshes that are dealt at most, but for those like the best of them."""
MOST_ARCS = 2e8
"""Steps from one state of dealing to the next, over all meshes, from which on no more are dealt:
models whose layers are of three kinds or more have many."""
KIND = ("tp", "cp", "pp", "ep", "etp", "micro_batch", "consistency")
"""What meshes of one kind have in common; they are all dealt where the best is of that kind."""
PRICED = 6
"""Walks of a mesh that are priced: the best of those that its search came across."""
GAIN = 1e-4
"""Share of the objective by which a staged plan must be better than one whose stages are alike."""
FIRST, TOGETHER = 4, 32
"""Meshes whose tables are priced in one go: the first, doubling up to the most."""
LOOSE = 1.5
"""Where no plan is known, stages may be slower than the least by this factor."""

FULL = RECOMPUTE.index("full")
ObjectiveOf = Callable[[training.Context, ParallelDims], Column]


@dataclass(frozen=True)
class Refined:
    """What dealing found.

    Parameters
    ----------
    context   : with the stagings found in its table
    dims      : a plan of each mesh that came out better than all before it, in order
    objective : of each
    dealt     : meshes whose stagings were searched
    bound     : no staging of any mesh has a lower objective
    """

    context: training.Context
    dims: ParallelDims
    objective: Column
    dealt: int
    bound: float


def refined(
    job: Job[TrainingSpec],
    context: training.Context,
    dims: ParallelDims,
    best: float,
    scale: float,
    longest_s: float,
    objective_of: ObjectiveOf,
    deadline: float | None = None,
    leader: ParallelDims | None = None,
) -> Refined:
    """Deal the layers of the most promising meshes of `dims` to their stages.

    Parameters
    ----------
    best         : the lowest objective known, inf: none
    scale        : an objective is no less than `scale` times the step time
    longest_s    : no plan with a longer step keeps the limits of the run
    objective_of : objective of plans: the only price
    leader       : the best plan known, of one row; its kind is dealt whatever is left undealt
    """
    dealing = _Dealing(job, context, best, scale, longest_s, objective_of, leader)
    meshes = _meshes(dims, training.orders_are_free(job))
    bound = dealing.run(meshes, deadline) if len(meshes) else np.inf
    if len(meshes) and (modules := _modules(job, leader)):
        dealing.pin(RecomputeModules.model_validate({"selective": modules}))
        bound = min(bound, dealing.run(meshes, deadline))
    dealing.regroup()
    return dealing.made(dims, bound)


def _modules(job: Job[TrainingSpec], leader: ParallelDims | None) -> tuple[str, ...]:
    """Return the single modules that the best plan known recomputes by the search's own choice.

    Stacks that have them take one list for all stages: they are dealt once more, with these on all.
    """
    if leader is None or not len(leader) or job.strategy.recompute is not None:
        return ()
    return modules_of(int(leader.recompute[0]))


def _meshes(dims: ParallelDims, any_order: bool) -> ParallelDims:
    """Return the pipelines of a space, each once, whatever their stages recompute."""
    piped = dims.take(np.flatnonzero((dims.pp > 1) & (dims.staging == 0)))
    if any_order:  # each order is listed where it matters
        piped = dataclasses.replace(piped, order=np.zeros(len(piped)))
    few = fold(piped, [n for n in dims.names() if n not in training.OPEN]).few
    zero = np.zeros(len(few))
    return dataclasses.replace(
        few, recompute=zero, recompute_layers=zero + ALL_LAYERS, lean=zero, staging=zero
    )


@dataclass(frozen=True, slots=True)
class _Mesh:
    """A mesh, its tables, and what a step of it adds to its pace at least."""

    dims: ParallelDims
    tables: training.StageTables
    rest_s: float


def _alike(dims: ParallelDims, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Part rows by their numbers of stages, in the order in which those come."""
    shapes: dict[tuple[float, float], list[int]] = {}
    for row in rows:
        shapes.setdefault((float(dims.pp[row]), float(dims.vpp[row])), []).append(int(row))
    return [np.array(each) for each in shapes.values()]


class _Dealing:
    """The best plan so far, and what was found on the way."""

    def __init__(
        self,
        job: Job[TrainingSpec],
        context: training.Context,
        best: float,
        scale: float,
        longest_s: float,
        objective_of: ObjectiveOf,
        leader: ParallelDims | None = None,
    ) -> None:
        self.job, self.context, self.best, self.leader = job, context, best, leader
        self.scale, self.objective_of = scale, objective_of
        self.most = scale * longest_s
        self.strategy = job.strategy
        self.modes = training.whole_modes(training.stage_choices(context, self.strategy, 2))
        self.found: list[tuple[ParallelDims, float]] = []
        self.dealt, self.arcs = 0, 0

    @property
    def hope(self) -> float:
        """What the bound of a mesh must be below: the best objective, and the run's limits."""
        return min(self.best, self.most)

    def pin(self, mode: RecomputeModules) -> None:
        """Let all stages recompute so from here on."""
        self.strategy = self.strategy.model_copy(update={"recompute": mode})
        self.modes = training.whole_modes(training.stage_choices(self.context, self.strategy, 2))

    def run(self, meshes: ParallelDims, deadline: float | None) -> float:
        """Deal meshes in order of their bounds; return the least bound of all."""
        context, limit = self.context, self.context.memory_limit_bytes
        meshes = self._ordered(meshes)
        if not len(meshes):
            return np.inf
        average = self.scale * training.average_bound_s(context, meshes, self.modes)
        rows = np.flatnonzero(average < self.hope)
        if not len(rows):
            return np.inf
        few = meshes.take(rows)
        bounds = training.staging_bound_s(context, few, self.modes, limit, self.hope / self.scale)
        order = np.argsort(bounds.step_s, kind="stable")
        least = np.inf
        start, count = 0, FIRST
        while start < len(order):
            some = order[start : start + count]
            bound = self.scale * float(bounds.step_s[some[0]])
            late = deadline is not None and time.monotonic() > deadline
            spent = start >= MOST_MESHES or self.arcs >= MOST_ARCS
            if bound >= self.hope * (1.0 - CLOSE) or spent or late:
                if start >= MOST_MESHES and not late:
                    self._like_the_best(few, order[start:], bounds)
                return min(least, bound)
            start, count = start + count, min(2 * count, TOGETHER)
            some = some[self.scale * bounds.step_s[some] < self.hope]
            for rows_alike in _alike(few, some):
                least = min(least, self._deal_all(few, rows_alike, bounds))
        return least

    def _like_the_best(
        self, few: ParallelDims, left: NDArray[np.intp], bounds: training.StagingBound
    ) -> None:
        """Deal what is left of the best mesh's kind: other virtual stages, shards and orders.

        Bounds of many meshes lie close together, and say little of which to deal first.
        """
        best = self.found[-1][0] if self.found else self.leader
        if best is None or not len(best):
            return
        same = self.scale * bounds.step_s[left] < self.hope
        for name in KIND:
            same &= getattr(few, name)[left] == getattr(best, name)[0]
        for rows in _alike(few, left[same]):
            self._deal_all(few, rows, bounds)

    def _ordered(self, meshes: ParallelDims) -> ParallelDims:
        """Return the meshes that may be better than the best, in every order that matters."""
        least = training.least_s(self.context, meshes)
        hopeful = meshes.take(self.scale * least < self.hope)
        if not training.orders_are_free(self.job):
            return hopeful
        return training.unlike_orders(self.context, hopeful)[0]

    def _deal_all(
        self, few: ParallelDims, rows: NDArray[np.intp], bounds: training.StagingBound
    ) -> float:
        """Deal meshes whose stages are as many; return the least bound of theirs."""
        context, chosen = self.context, few.take(rows)
        self.dealt += len(rows)
        loose = LOOSE * bounds.least_s[rows]
        slowest = np.where(np.isfinite(bounds.slowest_s[rows]), bounds.slowest_s[rows], loose)
        made = training.stage_tables(
            context, chosen, self.strategy, context.memory_limit_bytes, slowest,
            int(bounds.longest[rows].max()),
        )  # fmt: skip
        self.arcs += 0 if made is None else made[0].key.size * len(rows)
        least, dealt = np.inf, []
        for i, row in enumerate(rows):
            bound = self.scale * float(bounds.step_s[row])
            if made is not None and made[i].weight > 0.0:
                one = _Mesh(chosen.part(i, i + 1), made[i], float(bounds.rest_s[row]))
                proved, walks = self._walks(one, float(slowest[i]))
                bound = max(bound, proved)
                dealt += [(one.dims, staging) for staging in walks]
            least = min(least, bound)
        self._price(dealt)
        return least

    def _walks(self, one: "_Mesh", slowest_s: float) -> tuple[float, list[Staging]]:
        """Search one mesh; return what no staging of it is below, and the best stagings."""
        made = one.tables
        search = Search(made.weight)
        tables = Tables(made.start, made.cost, made.load, made.before, made.key)
        share = float(training.straggler_share(self.context, one.dims)[0])
        worth = self.scale * (1.0 + share)
        within = self.hope / worth - one.rest_s
        pace = search.descend(tables, 0.0, slowest_s, within)
        walks = [w for w in search.seen if w.cost + made.weight * w.load < within]
        walks.sort(key=lambda w: w.cost + made.weight * w.load)
        vpp = int(one.dims.vpp[0])
        stagings = (training.staging_of_rows(made, w.rows, vpp) for w in walks[:PRICED])
        return worth * (pace + one.rest_s), list(dict.fromkeys(stagings))

    def _price(self, dealt: list[tuple[ParallelDims, Staging]]) -> None:
        """Price stagings of meshes as plans; keep each that is better than the best by `GAIN`."""
        if not dealt:
            return
        context, plans = self.context, dealt[0][0].part(0, 0)
        for one, staging in dealt:
            context, plan = _plan(context, one, staging)
            plans = plans.joined(plan)
        used = np.asarray(training.memory_of(context, plans).total_bytes)
        values = np.full(len(plans), np.inf)
        fits = np.flatnonzero(used <= context.memory_limit_bytes)
        if len(fits):
            values[fits] = self.objective_of(context, plans.take(fits))
        for value, (one, staging) in zip(values, dealt, strict=True):
            if value < self.best * (1.0 - GAIN):
                self.best = float(value)
                self.context, plan = _plan(self.context, one, staging)
                self.found.append((plan, self.best))

    def regroup(self) -> None:
        """Try the best plan found with its states shared by other numbers of ranks."""
        if not self.found:
            return
        plan, _ = self.found[-1]
        near = training.regrouped(self.job, self.context, plan)
        if len(near):
            used = np.asarray(training.memory_of(self.context, near).total_bytes)
            near = near.take(np.flatnonzero(used <= self.context.memory_limit_bytes))
        if not len(near):
            return
        values = self.objective_of(self.context, near)
        least = int(np.argmin(values))
        if values[least] < self.best * (1.0 - GAIN):
            self.best = float(values[least])
            self.found.append((near.part(least, least + 1), self.best))

    def made(self, dims: ParallelDims, bound: float) -> Refined:
        """Return what was found."""
        plans = dims.part(0, 0)
        for plan, _ in self.found:
            plans = plans.joined(plan)
        values = np.array([value for _, value in self.found])
        return Refined(self.context, plans, values, self.dealt, min(bound, self.best))


def _plan(
    context: training.Context, one: ParallelDims, staging: Staging
) -> tuple[training.Context, ParallelDims]:
    """Return a mesh with a staging; where all stages choose alike, the plan's columns say so.

    Else the columns have the choice that saves most memory: the nearest plan of alike stages, for
    who cannot build them unlike.
    """
    choice = max(staging.stages, key=_saving)
    if len(set(staging.stages)) == 1:
        staging = Staging(staging.layers)
    context, code = context.staged(staging)
    columns = {
        "recompute": float(choice.recompute or 0), "recompute_layers": choice.recompute_layers,
        "staging": code,
    }  # fmt: skip
    return context, ParallelDims.from_columns({**one.row(0), **columns})


def _saving(choice: StageChoice) -> tuple[bool, float, int]:
    """Order choices by the memory that they save: some layers in full before other modes."""
    mode = choice.recompute or 0
    return mode == FULL, choice.recompute_layers, mode
