"""What binds a plan: its memory, its slowest link, its bubble, its largest terms, the rules.

Each answer is an evaluation: the plan or the pool of candidates priced with one thing changed.
Knows no files and no questions of the user.

Parts: `binds`.
"""

import numpy as np

from planner.cluster import Cluster
from planner.design.evened import evened, moved
from planner.design.one_plan import COMMUNICATION
from planner.explain.chosen import CLEARLY, Chosen, step_s
from planner.explain.freed import freed
from planner.explain.levers import link
from planner.explain.pool import Pool, fill, objectives
from planner.job import Hardware, HardwareSet
from planner.plan.findings import Finding, amount, finding, gigabytes
from planner.workloads import training
from planner.workloads.training.groups import segments
from planner.workloads.training.staging import mode_said

__all__ = ["axes_by_level", "binds"]

MORE_MEMORY = 1.1
OVER = 2.0
"""Candidates over the memory limit are priced up to this many times of it."""
MOST_OVER = 131_072
"""Candidates over the memory limit that are priced at most, the smallest first."""
LARGEST = 3
SPANS = {"tp": "tp", "cp": "cp", "ep": "ep", "pp": "pp", "dp": "everyone"}


def binds(chosen: Chosen, pool: Pool) -> list[Finding]:
    """Say what holds the plan's step where it is, memory first."""
    found = [
        *_differs(chosen),
        *_beaten(chosen, pool),
        _memory(chosen),
        *_more_memory(chosen, pool),
        *_over_memory(chosen, pool),
        *_link(chosen),
        *_bubble(chosen),
        *_stages(chosen),
        *_largest(chosen),
    ]
    return found + freed(chosen, pool)


def _differs(chosen: Chosen) -> list[Finding]:
    """Tell of a file whose step time is not this version's price of its strategy."""
    now, then = chosen.one.step_s, chosen.printed_s
    if then is None or abs(now - then) <= 1e-9 * now:
        return []
    because = (
        "this version prices the file's strategy otherwise: the file was edited or another"
        " version wrote it; all figures here are of this version"
    )
    return [finding("the file's price", because, {"printed_s": then, "step_time_s": now})]


def _beaten(chosen: Chosen, pool: Pool) -> list[Finding]:
    """Tell where the search of the plan's own job finds a better plan."""
    if not chosen.worse_than(pool):
        return []
    because, numbers = chosen.beside_best(pool)
    return [finding("not the best plan of its job", because, numbers)]


def _memory(chosen: Chosen) -> Finding:
    """Slack of the fullest device, and what fills it."""
    one = chosen.one
    used, limit = one.figure("memory_bytes"), one.figure("memory_limit_bytes")
    held = _entries(chosen, "memory")
    largest = max(held, key=lambda item: _number(item["bytes"]))
    stages = [_number(stage["bytes"]) for stage in _entries(chosen, "memory_by_stage")]
    fullest = int(np.argmax(stages))
    where = f"stage {fullest} of {len(stages)} is the fullest; " if len(stages) > 1 else ""
    share = used / limit
    verdict = (
        f"over the limit by {gigabytes(used - limit)}"
        if used > limit
        else f"{share:.1%} of the limit is used"
    )
    because = f"{verdict}; {where}most of it is {largest['name']}"
    numbers = {
        "slack_bytes": limit - used,
        "memory_bytes": used,
        "memory_limit_bytes": limit,
        "largest_bytes": _number(largest["bytes"]),
    }
    return finding("memory of the fullest device", because, numbers)


def _more_memory(chosen: Chosen, pool: Pool) -> list[Finding]:
    """Best plan of a search with a tenth more memory."""
    what, more = "with 10% more memory", _roomier(chosen)
    with_more = fill(chosen.job.model_copy(update={"hardware": more}))
    if not chosen.worse_than(with_more):
        return [finding(what, "the search finds no better plan", {"gain_s": 0.0})]
    said, numbers = chosen.beside_best(with_more)
    over = {"over_bytes": float(numbers["memory_bytes"]) - pool.context.memory_limit_bytes}
    return [finding(what, f"the search finds a better plan: {said}", {**numbers, **over})]


def _roomier(chosen: Chosen) -> Hardware:
    """Return the job's hardware with more memory on every device."""
    hardware = chosen.job.hardware
    each = {cluster.name: cluster for cluster in chosen.cluster.each}

    def more(given: HardwareSet, cluster: Cluster) -> HardwareSet:
        memory_bytes = cluster.profile.memory_bytes.value * MORE_MEMORY
        return given.model_copy(update={"memory_bytes": memory_bytes})

    if hardware.pools is None:
        return hardware.model_copy(update={"set": more(hardware.set, chosen.cluster)})
    pools = tuple(
        pool.model_copy(update={"set": more(pool.set, each[pool.name])}) for pool in hardware.pools
    )
    return hardware.model_copy(update={"pools": pools})


def _over_memory(chosen: Chosen, pool: Pool) -> list[Finding]:
    """Best of the candidates that miss the memory limit, and by how much it misses."""
    what, limit = "the memory limit", pool.context.memory_limit_bytes
    used = pool.used_bytes()
    every = np.flatnonzero(used > training.limit_bytes(pool.context, pool.dims))
    if not len(every):
        return [finding(what, "every candidate fits")]
    over = every[used[every] <= limit * OVER]
    over = over[np.argsort(used[over], kind="stable")[:MOST_OVER]]
    few = "" if len(over) == len(every) else f"{len(over):,} smallest of the "
    scope = f"of the {few}{len(every):,} candidates over it"
    values = objectives(chosen.job, pool.context, pool.dims, over)
    if not len(values) or np.min(values) >= chosen.objective * CLEARLY:
        return [finding(what, f"{scope} none is better than the plan", {"gain_s": 0.0})]
    row = int(over[int(np.argmin(values))])
    said, numbers = chosen.beside(pool.context, pool.plan(row))
    missing = float(used[row]) - limit
    because = f"{scope} the best misses by {gigabytes(missing)}: {said}"
    return [finding(what, because, {**numbers, "over_bytes": missing})]


def axes_by_level(chosen: Chosen) -> dict[str, list[str]]:
    """Axes that cross each network level as their outermost, innermost level first."""
    levels = chosen.cluster.levels
    crossing: dict[str, list[str]] = {level.name: [] for level in levels}
    context, dims = chosen.context, chosen.dims
    if context.parts:
        crossing[levels[-1].name].append("dp")
        context, dims = training.slowest(context, dims)
    for axis, span in SPANS.items():
        outermost = context.cluster.outermost(*segments(dims, span))
        index = int(np.asarray(outermost).reshape(-1)[0])
        if index >= 0:
            crossing[levels[index].name].append(axis)
    return crossing


def _link(chosen: Chosen) -> list[Finding]:
    """Network level that costs most: the step with and without its time."""
    now = chosen.one.step_s
    costs = {}
    for level in chosen.cluster.levels:
        free = link(chosen.cluster, level.name, bandwidth=1e9, latency=0.0)
        costs[level.name] = now - step_s(chosen, chosen.job, free)
    name = max(costs, key=lambda level: costs[level])
    exposed = {kind: chosen.one.seconds(kind) for kind in COMMUNICATION}
    hidden = chosen.one.seconds(*COMMUNICATION, hidden=True)
    if costs[name] <= 0.0:
        because = "no link costs time that shows"
        return [finding("the network", because, {"hidden_s": hidden})]
    axes = [axis for axis in axes_by_level(chosen)[name] if exposed[axis] > 0]
    carried = ", ".join(f"{axis} {amount(exposed[axis])}" for axis in axes)
    because = f"a step would be {amount(costs[name])} shorter if it took no time"
    because += f"; exposed seconds of the axes that reach so far: {carried}" if carried else ""
    numbers = {
        "exposed_s": costs[name],
        "step_share": costs[name] / now,
        "all_exposed_s": sum(exposed.values()),
        "all_hidden_s": hidden,
    }
    return [finding(f"the link of {name}", because, numbers)]


def _bubble(chosen: Chosen) -> list[Finding]:
    one = chosen.one
    bubble = one.seconds("bubble")
    if one.degree("pp") == 1:
        return []
    because = (
        f"{one.degree('pp')} stages, {one.degree('microbatches')} microbatches,"
        f" {chosen.strategy['schedule']}, {one.degree('vpp')} virtual stages a rank"
    )
    return [
        finding(
            "the pipeline bubble", because, {"bubble_s": bubble, "step_share": bubble / one.step_s}
        )
    ]


def _stages(chosen: Chosen) -> list[Finding]:
    """Say what the plan's stages have of their own, and what stages alike would cost."""
    even = evened(chosen.one)
    if even is None:
        return []
    now, limit = chosen.one.step_s, chosen.context.memory_limit_bytes
    alike = f"Stages alike, recompute {mode_said(even.recompute)},"
    if even.fits:
        alike += f" cost {even.step_s - now:+.3g} s a step"
    else:
        alike += f" exceed the memory limit by {gigabytes(even.memory_bytes - limit)}"
    because = (
        f"{moved(chosen.one)}. {alike}: their slowest, stage {even.slowest}, takes"
        f" {amount(even.slowest_s)} a microbatch; the plan's, stage {even.plan_slowest},"
        f" {amount(even.plan_slowest_s)}"
    )
    numbers = {
        "even_step_time_s": even.step_s,
        "gain_s": even.step_s - now,
        "even_memory_bytes": even.memory_bytes,
        "slowest_stage_s": even.plan_slowest_s,
        "even_slowest_stage_s": even.slowest_s,
    }
    return [finding("stages of their own", because, numbers)]


def _largest(chosen: Chosen) -> list[Finding]:
    terms = sorted(_entries(chosen, "time"), key=lambda term: -_number(term["exposed_s"]))
    now = chosen.one.step_s
    return [
        finding(
            str(term["name"]),
            f"number {rank} of the terms; by {term['source']}",
            {
                "exposed_s": _number(term["exposed_s"]),
                "step_share": _number(term["exposed_s"]) / now,
            },
        )
        for rank, term in enumerate(terms[:LARGEST], 1)
    ]


def _entries(chosen: Chosen, key: str) -> list[dict[str, object]]:
    entries = chosen.prediction[key]
    assert isinstance(entries, list)
    return entries


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
