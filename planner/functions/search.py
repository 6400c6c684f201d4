"""Every mesh, and as few microbatches as memory allows: each operator's sharding, solved.

For a mesh, microbatches are doubled until a sharding fits, and on while that pays. A mesh whose
bound is above the best step is closed unsolved. Prices nothing itself (`step`), and solves
nothing (`planner.functions.operator_search`).

Parts: `Candidate`, `Found`, `search`, `solved`, `given`.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costmodels.breakdown import Breakdown
from planner.errors import SpecError
from planner.functions.context import FunctionContext
from planner.functions.meshes import degrees, passes
from planner.functions.operator_search import search as solve
from planner.functions.step import bound_s, reserved_bytes, step
from planner.importers.jaxpr import Imported
from planner.sharding.mesh import Mesh, mesh_of
from planner.sharding.problem import ShardingProblem, build
from planner.sharding.words import picks_of, sharding_of

__all__ = ["Candidate", "Found", "given", "search", "solved"]

Progress = Callable[[str, int, int], None]
ROUNDS = 3
"""Solves of one problem until what only the whole step knows fits beside it."""


@dataclass(frozen=True)
class Candidate:
    """One mesh with one number of microbatches, solved.

    Parameters
    ----------
    bound : no sharding on it takes a shorter step; inf where none fits
    price : of the picks; None where none was found
    """

    degrees: Mapping[str, int]
    passes: int
    imported: Imported
    made: ShardingProblem
    status: str
    bound: float
    picks: tuple[int, ...] | None = None
    price: Breakdown | None = None

    @property
    def step_s(self) -> float:
        """Seconds of a step, inf without a sharding."""
        return math.inf if self.price is None else float(self.price.total_s)

    @property
    def sharding(self) -> dict[str, object]:
        """The picks as a strategy holds them."""
        assert self.picks is not None
        return sharding_of(self.made, self.picks)


@dataclass(frozen=True)
class Found:
    """What was solved, the best first; `limited`: the time limit ended the search."""

    candidates: tuple[Candidate, ...]
    limited: bool = False

    @property
    def best(self) -> Candidate | None:
        """The best, or None."""
        first = min(self.candidates, key=lambda c: c.step_s, default=None)
        return None if first is None or first.price is None else first

    @property
    def bound(self) -> float:
        """No sharding on any mesh that was tried takes a shorter step."""
        return min((min(c.bound, c.step_s) for c in self.candidates), default=0.0)


def search(
    context: FunctionContext, deadline: float | None = None, progress: Progress | None = None
) -> Found:
    """Solve every mesh that the strategy allows."""
    strategy = context.job.strategy
    pinned = _pinned_mesh(strategy.sharding)
    meshes = [pinned] if pinned is not None else degrees(context.cluster)
    _check_mesh(meshes[0], context.cluster.devices)
    allowed = strategy.allowed("microbatches")
    found: list[Candidate] = []
    best = math.inf
    for number, mesh in enumerate(meshes):
        before = math.inf
        for count in passes(context.job.workload.global_batch) if allowed is None else allowed:
            if found and deadline is not None and time.monotonic() > deadline:
                return Found(tuple(found), limited=True)
            assert isinstance(count, int)
            one = solved(context, mesh, count, best, deadline)
            found.append(one)
            best = min(best, one.step_s)
            if one.status in ("infeasible", "unknown"):
                continue
            if allowed is None and one.step_s >= before:
                break  # more microbatches no longer pay; a closed mesh has no step
            before = one.step_s
        if progress is not None:
            progress("meshes", number + 1, len(meshes))
    return Found(tuple(found))


def _pinned_mesh(sharding: Mapping[str, object] | None) -> dict[str, int] | None:
    mesh = None if sharding is None else sharding.get("mesh")
    if sharding is None:
        return None
    if not isinstance(mesh, Mapping) or not all(isinstance(v, int) for v in mesh.values()):
        raise SpecError("is needed: ranks of every axis, innermost first, {x: 8, y: 4}",
                        key="strategy.sharding.mesh")  # fmt: skip
    return {str(axis): int(ranks) for axis, ranks in mesh.items()}


def _check_mesh(mesh: Mapping[str, int], devices: int) -> None:
    if math.prod(mesh.values()) != devices:
        raise SpecError(
            f"{' x '.join(map(str, mesh.values()))} is not the job's {devices} devices",
            key="strategy.sharding.mesh",
        )


def _problem(
    context: FunctionContext, mesh: Mapping[str, int], count: int, limit_bytes: float
) -> tuple[Imported, ShardingProblem]:
    batch = context.job.workload.global_batch
    if batch % count:
        raise SpecError(f"{count} does not divide global_batch {batch}",
                        key="strategy.microbatches")  # fmt: skip
    made = context.imported(batch // count)
    return made, build(
        made.graph, laid(context, mesh), context.figures, memory_limit_bytes=limit_bytes,
        passes=count,
    )  # fmt: skip


def laid(context: FunctionContext, mesh: Mapping[str, int]) -> Mesh:
    """Lay a mesh on the cluster; terms of the outermost axis are shown as data parallel."""
    outermost = next((axis for axis in reversed(list(mesh)) if mesh[axis] > 1), "")
    kinds = {axis: "dp" if axis == outermost else "tp" for axis in mesh}
    return tuple(
        dataclasses.replace(axis, overlap_frac=context.activation_overlap)
        for axis in mesh_of(context.cluster, mesh, kinds)
    )


def solved(
    context: FunctionContext,
    mesh: Mapping[str, int],
    count: int,
    best: float = math.inf,
    deadline: float | None = None,
) -> Candidate:
    """Solve one mesh and number of microbatches; unsolved where its bound is not below `best`."""
    limit = context.memory_limit_bytes
    imported, made = _problem(context, mesh, count, limit)
    floor = bound_s(context, made, _floor_s(made))
    if floor >= best:
        return Candidate(mesh, count, imported, made, "closed", floor)
    loose = 1.0 + context.stack.family.fragmentation.value
    room = (limit - reserved_bytes(context, made)) / loose
    bound = floor
    for turn in range(ROUNDS):
        left_s = None if deadline is None else max(0.1, deadline - time.monotonic())
        answer = solve(_limited(made, room), time_limit_s=left_s)
        solution = answer.solution
        if turn == 0 and math.isfinite(solution.bound):
            bound = max(floor, bound_s(context, made, solution.bound))
        if solution.picks is None:
            left = math.inf if solution.status == "infeasible" and turn == 0 else bound
            return Candidate(mesh, count, imported, made, solution.status, left)
        price = step(context, made, solution.picks)
        over = float(price.total_bytes) - limit
        if over <= 0:
            status = solution.status if turn == 0 else "feasible"
            return Candidate(mesh, count, imported, made, status, bound, solution.picks, price)
        room -= over
    return Candidate(mesh, count, imported, made, "infeasible", bound)


def _floor_s(made: ShardingProblem) -> float:
    """Return the least of every decision by itself: exchanges cost nothing or more."""
    return float(sum(d.time_s.min() for d in made.problem.decisions))


def _limited(made: ShardingProblem, room_bytes: float) -> ShardingProblem:
    limits = tuple(
        dataclasses.replace(limit, capacity=max(0.0, room_bytes)) for limit in made.problem.limits
    )
    return dataclasses.replace(made, problem=dataclasses.replace(made.problem, limits=limits))


def given(context: FunctionContext) -> Candidate | None:
    """Price the sharding that the strategy pins operator by operator; None where it does not.

    Raises
    ------
    SpecError : it is not one of the ways to shard this function
    """
    strategy = context.job.strategy
    if strategy.sharding is None or "operators" not in strategy.sharding:
        return None
    mesh = _pinned_mesh(strategy.sharding)
    assert mesh is not None
    _check_mesh(mesh, context.cluster.devices)
    count = strategy.pinned_count("microbatches") or 1
    imported, made = _problem(context, mesh, count, context.memory_limit_bytes)
    picks = picks_of(made, strategy.sharding)
    price = step(context, made, picks)
    return Candidate(mesh, count, imported, made, "optimal", float(price.total_s), picks, price)
