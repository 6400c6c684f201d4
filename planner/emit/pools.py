"""A plan over pools of unlike devices, as one plan for each pool: no framework runs them as one.

Each pool of a plan side by side is an ordinary job with its own mesh and its own share of the
batch; that gradients are then reduced across the pools is said at the head of each file. A plan
on one kind of device passes as it is.

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
    made: dict[str, Section] = {}
    for name, run in groupby(entries, key=lambda stage: str(stage.get("pool"))):
        if name not in named:
            raise SpecError(f"no pool {one_line(name)} in the job", key="strategy.stages")
        made[name] = _of_pool(plan, job, strategy, named[name], list(run))
    others = list(made)
    return {
        name if FOLDER.fullmatch(name) else f"pool-{others.index(name)}": {
            **one,
            "beside": [other for other in others if other != name],
        }
        for name, one in made.items()
    }


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
    for key in ("recompute", "offload"):
        if all(stage.get(key) == first.get(key) for stage in stages):
            own[key] = first.get(key)
        else:
            own["stages"] = [
                {k: v for k, v in stage.items() if k in ("layers", "recompute", "offload")}
                for stage in stages
            ]
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
    """Say at the head of a pool's file that it is one of several."""
    if view.beside:
        others = ", ".join(one_line(name) for name in view.beside)
        header.not_expressible(
            f"one job over pools of unlike devices (gradients are reduced with {others} each step)",
            "this pool alone, on its share of the batch",
        )
