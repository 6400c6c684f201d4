"""How else a plan could survive failures and stay even, priced as differences to the plan.

Other checkpoint intervals, other ways to write, spare hosts; other layouts of the layers, even
experts, copies against stragglers. Prices are the plan's own cost and run functions with one
thing changed; entries are `planner.design.rejected`'s.

Parts: `other_recovery`, `other_balance`, `stage_flop`.
"""

from collections.abc import Mapping
from dataclasses import replace

from costmodels.breakdown import Breakdown
from costmodels.units import scalar
from planner.design.evened import Evened
from planner.design.one_plan import OnePlan
from planner.design.rejected import NOTHING_S, Alternative, rejected, said, step_s
from planner.job import Failure
from planner.workloads import training
from planner.workloads.training.documents import layer_kinds

__all__ = ["other_balance", "other_recovery", "stage_flop"]

LEAST_SHARE = 1e-3
"""Stragglers below this share of a step are not worth a word."""


def other_recovery(plan: OnePlan) -> list[Alternative]:
    """Return half and double the interval, the other way to write, and other counts of spares.

    Costs are differences of goodput and, where the job gives the run's length, of the mean time
    to train and of money. What changes nothing (an interval that the write already bounds) is
    left out.
    """
    failure, interval_s = plan.job.failure, plan.figure("checkpoint_interval_s")
    more = failure.spare_nodes + 1
    tried: dict[str, dict[str, object]] = {
        "half the interval": {"checkpoint_interval_s": interval_s / 2.0},
        "double the interval": {"checkpoint_interval_s": interval_s * 2.0},
        "blocking writes" if failure.checkpoint_async else "asynchronous writes": {
            "checkpoint_async": not failure.checkpoint_async
        },
        f"{more} spare host{'s' if more > 1 else ''}": {"spare_nodes": more},
    }
    if failure.spare_nodes:
        tried["no spare host"] = {"spare_nodes": 0}
    if failure.checkpoint_interval_s is not None:
        tried["the best interval"] = {"checkpoint_interval_s": None}
    price = training.cost(plan.context, plan.dims())
    base = _run(plan, failure, price)
    made = []
    for choice, update in tried.items():
        run = _run(plan, failure.model_copy(update=update), price)
        cost = {key: run[key] - base[key] for key in base}
        if any(cost.values()):
            made.append(rejected(choice, _run_words(cost), **cost))
    return made


def _run(plan: OnePlan, failure: Failure, price: Breakdown) -> dict[str, float]:
    """Goodput of the run and, where the job gives its length, mean time and money."""
    job = plan.job.model_copy(update={"failure": failure})
    run = training.economics(job, plan.context, plan.dims(), price)
    figures = {"goodput": scalar(run.run.goodput)}
    if run.time_to_train_s is not None:
        figures["time_to_train_s"] = scalar(run.time_to_train_s)
        figures["cost_usd"] = scalar(run.cost_usd)
    return figures


def _run_words(cost: Mapping[str, float]) -> str:
    points = f"goodput {cost['goodput'] * 100:+.3g} points"
    if "cost_usd" not in cost:
        return points
    verdict = ", it would pay: the job decides" if cost["cost_usd"] < 0 else ""
    usd = cost["cost_usd"]
    return f"{points}, {usd:+,.{0 if abs(usd) >= 100 else 2}f} USD{verdict}"


def stage_flop(plan: OnePlan, layout: tuple[int, ...] | None = None) -> list[float]:
    """FLOP per token of every pipeline stage, first to last.

    Decoder layers by kind, the vision tower and the embedding on the first stage, the head and
    the multi-token-prediction layers on the last.
    """
    blocks = {block.name: block for block in plan.context.graph.blocks}
    flop = {name: sum(op.flop for op in block.ops) for name, block in blocks.items()}
    stages = [0.0] * plan.degree("pp")
    kinds = iter(layer_kinds(plan.job.workload.model))
    for chunk, layers in enumerate(layout or plan.layout):
        for _ in range(layers):
            stages[chunk % len(stages)] += flop[next(kinds).name]
    for name, block in blocks.items():
        if not block.layers:
            stages[0 if block.at == "first" else -1] += block.count * flop[name]
    return stages


def other_balance(plan: OnePlan, even: Evened | None) -> list[Alternative]:
    """Return other layouts, and what even experts and no stragglers would be worth.

    Parameters
    ----------
    even : the plan with stages alike, where its own are not
    """
    made = [*([] if even is None else [_even_stages(plan, even)]), *_other_layouts(plan)]
    if plan.context.imbalance > 1.0:
        more_s = step_s(plan, replace(plan.context, imbalance=1.0)) - plan.step_s
        because = f"{said(more_s)}, if routing could be forced even at no loss in learning"
        made.append(rejected("experts in perfect balance", because, step_time_s=more_s))
    waiting_s = plan.named_s("stragglers")
    if waiting_s > LEAST_SHARE * plan.step_s:
        because = (
            f"saves at most {waiting_s / plan.step_s:.1%} of a step and takes twice the devices:"
            " in lockstep a copy of a rank's work needs a rank that does nothing else"
        )
        made.append(rejected("a second copy of slow ranks", because, step_time_s=-waiting_s))
    return made


def _even_stages(plan: OnePlan, even: Evened) -> Alternative:
    """Say what stages that are alike would cost."""
    more_s = even.step_s - plan.step_s
    more_bytes = even.memory_bytes - plan.figure("memory_bytes")
    because = said(more_s) if even.fits else f"{said(more_s)}; it exceeds the memory limit"
    entry = rejected("stages alike", because, step_time_s=more_s, memory_bytes=more_bytes)
    strategy = {"layers_per_stage": list(even.layers), "recompute": even.recompute, "stages": None}
    return {**entry, "strategy": strategy}


def _other_layouts(plan: OnePlan) -> list[Alternative]:
    """Move one layer away from the first, the last and the fullest stage to the least full one."""
    if plan.context.parts or plan.degree("pp") == 1:
        return []
    stages = stage_flop(plan)
    names: dict[int, str] = {stages.index(max(stages)): "fullest"}
    names |= {len(stages) - 1: "last", 0: "first"}
    made = []
    for giver, name in sorted(names.items()):
        layout = _moved(plan.layout, stages, giver)
        if layout is not None:
            made.append(_layout_entry(plan, name, layout))
    return made


def _layout_entry(plan: OnePlan, name: str, layout: tuple[int, ...]) -> Alternative:
    """Price a layout; the entry holds it as `strategy`, for pinning where it is better."""
    context, code = plan.context.staged(replace(plan.staging, layers=layout))
    price = training.cost(context, plan.dims(staging=code))
    more_s = scalar(price.total_s) - plan.step_s
    more_bytes = scalar(price.total_bytes) - plan.figure("memory_bytes")
    because = said(more_s)
    if scalar(price.total_bytes) > plan.figure("memory_limit_bytes"):
        because += "; it exceeds the memory limit"
    elif more_s < -NOTHING_S:
        because += ": worth pinning as layers_per_stage"
    choice = f"a layer less on the {name} stage"
    entry = rejected(choice, because, step_time_s=more_s, memory_bytes=more_bytes)
    return {**entry, "strategy": {"layers_per_stage": list(layout)}}


def _moved(layout: tuple[int, ...], stages: list[float], giver: int) -> tuple[int, ...] | None:
    """Return a layout with one layer moved from `giver` to the least full other stage."""
    count = len(stages)
    others = [stage for stage in range(count) if stage != giver]
    taker = min(others, key=lambda s: (stages[s], s in (0, count - 1)))  # the ends have more to do
    chunk = max(range(giver, len(layout), count), key=lambda c: layout[c])
    into = min(range(taker, len(layout), count), key=lambda c: layout[c])
    if layout[chunk] < 2:
        return None
    moved = list(layout)
    moved[chunk] -= 1
    moved[into] += 1
    return tuple(moved)
