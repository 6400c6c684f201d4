"""The six stages: ceiling, axis, topology, mode, metric, tax; each follows from the one before.

Each answer is a choice, a reason that starts from the stage before, and the figures behind it.
The ceiling is computed against one machine (`planner.design.ceilings`), the rest is read from the
plan. When communication takes as long as the work that it enables, the last stage says so and
sends the reader back to the first with fewer devices. Prices no plan; looks along the scaling
curve only when the loop closes.

Parts: `fill`, and one function a stage.
"""

import math
from collections.abc import Mapping, Sequence

from planner.cluster import BETWEEN
from planner.design import ceilings
from planner.design.ceilings import Ceiling, Ceilings
from planner.design.one_plan import OnePlan
from planner.design.scaling import scaling
from planner.job import Job, Metric
from planner.workloads import training
from planner.workloads.training.groups import segments
from planner.workloads.training.spec import TrainingSpec

__all__ = ["fill"]

Answer = dict[str, object]
Numbers = Mapping[str, float | str]

AXIS_OF = {"model": "model", "throughput": "training", "data": "data"}
"""The axis that a ceiling of a training job forces (section 1.8, stage 2)."""
METRICS: Mapping[Metric, tuple[str, str]] = {
    "step_time": ("throughput", "step_time_s"),
    "throughput": ("throughput", "tokens_per_s_per_device"),
    "time_to_train": ("throughput", "time_to_train_s"),
    "cost": ("cost", "cost_usd"),
    "energy": ("cost", "energy_j"),
    "devices": ("cost", "cost_usd"),
    "latency": ("latency", "step_time_s"),
    "reliability": ("reliability", "goodput"),
}
"""Which of the four metrics an objective is, and the figure of the prediction that shows it."""


def fill(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
) -> dict[str, object]:
    """Answer the six stages for a plan.

    Returns
    -------
    ceiling, axis, topology, mode, metric, tax : each `choice`, `because` and `numbers`, whose
    keys end in their unit; `_times` is a need over what there is
    """
    plan = OnePlan(job, context, strategy, prediction)
    found = ceilings.of_training(job, context)
    return {
        "ceiling": _ceiling(plan, found),
        "axis": _axis(plan, found),
        "topology": _topology(plan),
        "mode": _mode(plan, found),
        "metric": _metric(plan),
        "tax": _tax(plan),
    }


def _answer(choice: str, because: str, numbers: Numbers) -> Answer:
    return {"choice": choice, "because": because, "numbers": dict(numbers)}


def _ceiling(plan: OnePlan, found: Ceilings) -> Answer:
    """Stage 1: which resource of one machine runs out first, if any does."""
    numbers: dict[str, float | str] = {
        "model_bytes": found.model.need,
        "device_limit_bytes": found.model.have,
        "model_times": found.model.times,
    }
    if found.run.tokens is not None:
        numbers |= {
            "one_machine_run_s": found.throughput.need,
            "patience_s": found.throughput.have,
            "throughput_times": found.throughput.times,
            "corpus_bytes": found.data.need,
            "one_machine_bytes": found.data.have,
            "data_times": found.data.times,
            "tokens": found.run.tokens,
        }
    elif found.throughput.need:
        numbers["throughput_times"] = found.throughput.times
    numbers |= {"tokens_basis": found.run.because, "devices_needed": found.devices_needed}
    if found.binding:
        choice = ", ".join(c.name for c in found.binding)
    elif found.throughput.need == 0.0:
        choice = "none: one device holds the model"
    else:
        choice = f"none: one {'device' if found.devices_needed == 1 else 'machine'} is enough"
    said = [_sentence(c, found) for c in (found.throughput, found.model, found.data)]
    said.append(_enough(plan, found))
    return _answer(choice, " ".join(s for s in said if s), numbers)


def _sentence(ceiling: Ceiling, found: Ceilings) -> str:
    """Say one ceiling as a need over what there is."""
    times = f"{ceiling.times:.3g} times"
    if ceiling.name == "model":
        return f"The model takes {times} the memory of one device."
    if ceiling.need == 0.0:
        told = "The run's tokens are not given: its time and its data are not judged."
        return told if ceiling.name == "throughput" else ""
    if ceiling.name == "data":
        return f"The corpus is {times} what one machine's memory and disk hold."
    machine = f"one machine ({found.machine_devices} devices)"
    return f"On {machine} the run takes at least {times} {found.patience}."


def _enough(plan: OnePlan, found: Ceilings) -> str:
    """Say how many devices would do, and what the plan has."""
    needed, here = found.devices_needed, f"the plan has {plan.devices:,}"
    if not found.binding:
        if plan.hosts == 1:
            return f"Nothing forces the job off one machine; {here}."
        return f"Nothing forces the job off one machine; {here} because the job asks for them."
    away = plan.strategy["offload"]
    if isinstance(away, Sequence) and away and plan.devices < math.ceil(found.model.times):
        host = f"with {' and '.join(map(str, away))} on the host"
        return f"It takes at least {needed:,} devices where they hold all of it; {here}, {host}."
    if needed <= found.machine_devices and not found.data.binds:
        inside = f"{needed} devices of one machine hold it: nothing has to cross machines"
        return f"{inside}; {here}."
    longer = ", so the run takes longer" if plan.devices < needed and found.throughput.binds else ""
    return f"It takes at least {needed:,} devices; {here}{longer}."


def _axis(plan: OnePlan, found: Ceilings) -> Answer:
    """Stage 2: the axes that the ceiling forces, and how the plan spreads them."""
    numbers: dict[str, float | str] = {
        "dp": plan.degree("dp"),
        "devices_per_replica": plan.devices // plan.degree("dp"),
        "zero": plan.degree("zero"),
        "zero_group": plan.degree("zero_group"),
    }
    forced = [AXIS_OF[c.name] for c in found.binding]
    if plan.devices == 1:
        return _answer("none", "No ceiling is lifted by spreading: the plan has one device.", {})
    how = {axis: _spread(plan, axis) for axis in AXIS_OF.values()}
    if not forced:
        because = f"No ceiling forces an axis; more devices only save time: {how['training']}."
        return _answer("training", because, numbers)
    said = "; ".join(f"{c.name} binds, so {how[AXIS_OF[c.name]]}" for c in found.binding)
    return _answer(", ".join(forced), f"{said[0].upper()}{said[1:]}.", numbers)


def _spread(plan: OnePlan, axis: str) -> str:
    """Say how the strategy spreads one axis."""
    dp = plan.degree("dp")
    if axis == "training" and dp == 1:
        return "training is not spread: one replica takes all devices (dp 1)"
    if axis == "training":
        where = f" over {len(plan.pools)} pools" if plan.pools else ""
        return f"training is spread over {dp:,} replicas{where} (dp {dp})"
    if axis == "data" and dp == 1:
        return "the one replica reads the corpus in turn"
    if axis == "data":
        return f"each of {dp:,} replicas reads its own share of the corpus"
    cuts = [f"{key} {plan.degree(key)}" for key in ("tp", "cp", "pp", "ep") if plan.degree(key) > 1]
    if plan.degree("zero") and plan.degree("zero_group") > 1:
        cuts.append(f"zero {plan.degree('zero')} over {plan.degree('zero_group')} ranks")
    return f"the model and its state are split ({', '.join(cuts) or 'not at all: offloaded'})"


def _topology(plan: OnePlan) -> Answer:
    """Stage 3: the simplest topology that the axes allow."""
    if plan.devices == 1:
        return _answer("one device", "No axis is spread, so there is nothing to connect.", {})
    levels = plan.context.cluster.levels
    crossed = _crossed(plan)
    numbers: dict[str, float | str] = {"hosts": plan.hosts, "node_devices": levels[0].devices}
    numbers |= {f"{axis}_level": level for axis, level in crossed.items()}
    said = "; ".join(
        f"{', '.join(a for a in crossed if crossed[a] == level)}"
        f" {level if level == BETWEEN else f'across the {level}'}"
        for level in dict.fromkeys(crossed.values())
    )
    axes = f"The axes exchange peer to peer ({said})"
    wide = [level.name for level in levels if level.wide]
    if wide:
        because = (
            f"{axes}; {wide[0]} joins sites that are far apart: each site has its coordinator and"
            " the sites are peers."
        )
        return _answer("hybrid", because, numbers)
    hosts = f"{plan.hosts:,} host{'s' if plan.hosts > 1 else ''}"
    because = (
        f"{axes} on one site under one owner: one coordinator starts and watches {hosts}, and no"
        " tensor passes through it."
    )
    return _answer("centralized", because, numbers)


def _crossed(plan: OnePlan) -> dict[str, str]:
    """Return the outermost level of the network that each axis in use crosses.

    Over several pools, of the one that sets the step; gradients, or the activations between
    stages, then cross from pool to pool.
    """
    context, dims = plan.context, plan.dims()
    crossed: dict[str, str] = {}
    if context.parts:
        chained = context.parts[0].context.stretch is not None
        crossed = {"stages" if chained else "gradients": context.cluster.levels[-1].name}
        context, dims = training.slowest(context, dims)
    cluster = context.cluster
    for axis in ("tp", "cp", "ep", "pp", "dp"):
        if getattr(dims, axis)[0] > 1.0:
            parts = segments(dims, axis)
            index = int(cluster.outermost(*parts).reshape(-1)[0])  # type: ignore[union-attr]
            crossed[axis] = cluster.levels[index].name
    return crossed


def _mode(plan: OnePlan, found: Ceilings) -> Answer:
    """Stage 4: how work arrives; a training run over a given corpus is a batch job."""
    steps = plan.given("steps")
    numbers: dict[str, float | str] = {"step_tokens": plan.step_tokens, "step_time_s": plan.step_s}
    if steps is not None:
        numbers |= {"steps": steps, "tokens": plan.job.workload.tokens or 0.0}
    corpus = "a given corpus" if found.run.tokens is None else f"{_tokens(found.run.tokens)} tokens"
    if found.run.tokens is not None and plan.job.workload.tokens is None:
        corpus += " (20 an active parameter, assumed)"
    where = "The device works" if plan.devices == 1 else "All ranks of the topology work in step"
    because = (
        f"{where} through {corpus}, {_tokens(plan.step_tokens)} at a time. Nobody waits for a"
        " single answer, so a step may be as large as learning allows."
    )
    return _answer("batch", because, numbers)


def _tokens(count: float) -> str:
    """Write a count of tokens: ``15 T``, ``8.39 M``."""
    for size, letter in ((1e12, " T"), (1e9, " B"), (1e6, " M")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:,.0f}"


def _metric(plan: OnePlan) -> Answer:
    """Stage 5: the one metric that is optimized; the others are limits to keep."""
    asked = plan.job.objective.metric
    choice, key = METRICS[asked]
    value = plan.given(key)
    if value is None:
        key, value = "step_time_s", plan.step_s
    limits = plan.job.constraints
    kept = (
        ("deadline", "deadline_s", limits.deadline_s),
        ("budget", "max_cost_usd", limits.max_cost_usd),
        ("token rate", "min_tokens_per_s", limits.min_tokens_per_s),
        ("memory", "memory_limit_bytes", plan.figure("memory_limit_bytes")),
    )
    given = {name: limit for _, name, limit in kept if limit is not None}
    numbers = {key: value, **given}
    names = ", ".join(word for word, _, limit in kept if limit is not None)
    because = (
        f"A batch job has no latency to keep: the objective is {asked}, which is {choice};"
        f" kept as limits: {names}."
    )
    if choice == "latency":
        because = f"The objective is {asked} though the mode is batch; kept as limits: {names}."
    return _answer(choice, because, numbers)


def _tax(plan: OnePlan) -> Answer:
    """Stage 6: what communication and failures take, and whether one is the new ceiling."""
    exposed = plan.communication_s / plan.step_s
    failure = 1.0 - plan.figure("goodput")
    ratio = plan.comm_to_compute
    numbers: dict[str, float | str] = {
        "communication_exposed_share": exposed,
        "communication_hidden_share": plan.hidden_s / plan.step_s,
        "comm_to_compute": ratio,
        "bubble_share": plan.seconds("bubble") / plan.step_s,
        "stragglers_share": plan.named_s("stragglers") / plan.step_s,
        **{f"{level}_bytes": sent for level, sent in plan.level_bytes().items()},
        "failure_share": failure,
        "mtbf_s": plan.figure("mtbf_s"),
        "checkpoint_interval_s": plan.figure("checkpoint_interval_s"),
    }
    failures = plan.given("failures_expected")
    if failures is not None:
        numbers["failures_expected"] = failures
    metric = METRICS[plan.job.objective.metric][0]
    said = (
        f"What {metric} pays: communication takes {exposed:.1%} of the step ({ratio:.3g} times the"
        f" work, with what is hidden) and failures {failure:.1%} of the run"
    )
    if failure >= 0.5 and ratio < 1.0:
        because = f"{said}: more of it is lost than used, so fewer hosts or spares come first."
        return _answer("failures are the new ceiling", because, numbers)
    if ratio < 1.0:
        choice = f"communication {exposed:.1%} of the step, failures {failure:.1%} of the run"
        return _answer(choice, f"{said}; neither is the ceiling.", numbers)
    curve = scaling(plan.job, plan.context, plan.dims())
    at, fastest = curve["comm_dominated_at"], curve["p_star"]
    assert isinstance(fastest, int)
    numbers["fastest_at_devices"] = fastest
    fewer = "with another split"
    if isinstance(at, int):
        numbers["comm_dominated_at_devices"] = at
        if at <= plan.devices:
            fewer = f"with fewer than {at:,} devices, or another split"
    because = (
        f"{said}: it takes longer than the work that it enables. Back to stage one {fewer}; more"
        f" devices buy little, though this split is fastest on {fastest:,}."
    )
    return _answer("communication is the new ceiling", because, numbers)
