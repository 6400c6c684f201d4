"""A plan over pools of unlike devices, as plans that a framework can run.

Each pool of a plan side by side is an ordinary job with its own mesh and its own share of the
batch; that gradients are then reduced across the pools is said at the head of each file. One
pipeline over all pools is one job on all of them, with one tensor degree. A plan on one kind of
device passes as it is.

Parts: `by_pool`, `note_pools`.
"""

import re
from collections.abc import Mapping
from itertools import groupby

from planner.emit.text import Header, one_line
from planner.emit.view import PlanView
from planner.errors import SpecError

__all__ = ["by_pool", "note_pools"]

Section = Mapping[str, object]
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
"""Names of pools that may stand as a folder's; another is numbered."""


def by_pool(plan: Section) -> dict[str, Section]:
    """Return the plan of each pool by its folder; of one kind of device, the plan under "".

    Raises
    ------
    SpecError : the stages of the plan are not on the pools of its job
    """
    job, strategy = plan.get("job"), plan.get("strategy")
    if not isinstance(job, Mapping) or not isinstance(strategy, Mapping):
        return {"": plan}
    hardware, stages = job.get("hardware"), strategy.get("stages")
    pools = hardware.get("pools") if isinstance(hardware, Mapping) else None
    if not isinstance(pools, list | tuple) or not isinstance(stages, list | tuple):
        return {"": plan}
    named = {str(pool["name"]): pool for pool in pools if isinstance(pool, Mapping)}
    entries = [stage for stage in stages if isinstance(stage, Mapping)]
    groups = {name: list(run) for name, run in groupby(entries, key=lambda s: str(s.get("pool")))}
    for name in groups:
        if name not in named:
            raise SpecError(f"no pool {one_line(name)} in the job", key="strategy.stages")
    held = sum(_count(stage, "layers") for stage in entries)
    if len(groups) > 1 and held == _layers(job):
        return {"": _crossing(plan, job, strategy, named, groups)}
    made = {name: _of_pool(plan, job, strategy, named[name], run) for name, run in groups.items()}
    folders: dict[str, Section] = {}
    for index, (name, one) in enumerate(made.items()):
        others = ", ".join(one_line(other) for other in made if other != name)
        lost = (
            f"one job over pools of unlike devices (gradients are reduced with {others} each step)",
            "this pool alone, on its share of the batch",
        )
        folder = name if FOLDER.fullmatch(name) else f"pool-{index}"
        folders[folder] = {**one, "lost": [lost]}
    return folders


def _crossing(
    plan: Section,
    job: Section,
    strategy: Section,
    named: Mapping[str, Section],
    groups: Mapping[str, list[Section]],
) -> Section:
    """Return a pipeline over all pools as a plan of one kind of device."""
    stages = [stage for run in groups.values() for stage in run]
    tp = _count(stages[0], "tp")
    lost = [(
        f"stages on unlike devices ({', '.join(map(one_line, groups))}, in this order)",
        "one job on all of them; rank the hosts in this order",
    )]  # fmt: skip
    if any(stage.get("tp") != tp for stage in stages):
        said = ", ".join(f"{one_line(n)} {run[0].get('tp')}" for n, run in groups.items())
        lost.append((f"a tensor degree for each pool ({said})", f"tp {tp} everywhere"))
    own = {key: value for key, value in strategy.items() if key != "stages"}
    cp, dp = _count(strategy, "cp"), _count(strategy, "dp")
    own |= {"tp": tp, "sp": bool(strategy.get("sp")) and tp > 1, "pp": len(stages)}
    own |= {"zero_group": dp * cp, **_alike(stages)}
    own["layers_per_stage"] = [stage.get("layers") for stage in stages]
    for key in ("micro_batch", "microbatches"):
        own[key] = _count(stages[0], key)
    system = named[next(iter(groups))].get("system")
    hardware = {"system": system, "devices": tp * cp * dp * len(stages)}
    return {**plan, "job": {**job, "hardware": hardware}, "strategy": own, "lost": lost}


def _alike(stages: list[Section]) -> dict[str, object]:
    """Return what all stages recompute and offload; where they differ, the stages' own."""
    made: dict[str, object] = {}
    for key in ("recompute", "offload"):
        if all(stage.get(key) == stages[0].get(key) for stage in stages):
            made[key] = stages[0].get(key)
        else:
            made["stages"] = [
                {k: v for k, v in stage.items() if k in ("layers", "recompute", "offload")}
                for stage in stages
            ]
    return made


def _layers(job: Section) -> int:
    workload = job.get("workload")
    model = workload.get("model") if isinstance(workload, Mapping) else None
    return _count(model, "layers") if isinstance(model, Mapping) else 0


def _of_pool(
    plan: Section, job: Section, strategy: Section, pool: Section, stages: list[Section]
) -> Section:
    """Return the plan of one pool: its system, its share of the batch, its degrees."""
    first = stages[0]
    tp, devices = _count(first, "tp"), _count(pool, "devices")
    micro_batch, microbatches = _count(first, "micro_batch"), _count(first, "microbatches")
    cp = _count(strategy, "cp")
    dp = devices // (len(stages) * tp * cp)
    own = {key: value for key, value in strategy.items() if key != "stages"}
    own |= {
        "dp": dp,
        "tp": tp,
        "sp": bool(strategy.get("sp")) and tp > 1,
        "pp": len(stages),
        "zero_group": dp * cp,
        "micro_batch": micro_batch,
        "microbatches": microbatches,
        "layers_per_stage": [stage.get("layers") for stage in stages],
    }
    own |= _alike(stages)
    workload = job.get("workload")
    assert isinstance(workload, Mapping)
    hardware = {key: value for key, value in pool.items() if key != "name"}
    return {
        **plan,
        "job": {
            **job,
            "name": f"{job.get('name', 'job')}, pool {pool['name']}",
            "hardware": hardware,
            "workload": {**workload, "global_batch": dp * micro_batch * microbatches},
        },
        "strategy": own,
    }


def _count(section: Section, key: str) -> int:
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(f"a plan over pools gives {key} as a whole number", key="strategy.stages")
    return value


def note_pools(view: PlanView, header: Header) -> None:
    """Say at the head of a file what of a plan over pools it cannot hold."""
    for what, nearest in view.lost:
        header.not_expressible(what, nearest)
