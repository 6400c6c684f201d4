"""The six slots of a distributed design, filled and justified, with what was rejected.

Partition, communication, consistency, coordination, fault tolerance, load balancing: each has the
plan's choice, a reason from its numbers, and the alternatives with their price as differences to
the plan. Reads the plan and the runners-up; prices are `planner.design.rejected`'s,
`planner.design.rejected_consistency`'s and `planner.design.rejected_upkeep`'s.

Parts: `fill`, and one function a slot.
"""

from collections.abc import Mapping, Sequence

from costmodels.units import GB
from planner.design import ceilings, rejected, rejected_consistency, rejected_upkeep
from planner.design.evened import Evened, evened, moved
from planner.design.one_plan import OnePlan
from planner.design.rejected import Alternative
from planner.job import Job
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.staging import layers_by_stage

__all__ = ["fill"]

Answer = dict[str, object]
CUTS = ("dp", "tp", "cp", "pp", "vpp", "ep", "etp")
PRICED = ("step_time_s", "memory_bytes")
SHOWN = 5


def fill(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
    alternatives: Sequence[Mapping[str, object]],
    alone: Sequence[Mapping[str, object]] = (),
) -> dict[str, object]:
    """Fill the six slots for a plan.

    Parameters
    ----------
    alternatives : runners-up of the search, as `planner.plan.alternatives.runners_up` writes them
    alone        : the frontier's entries of other choices of pools, where the job has pools

    Returns
    -------
    partition, communication, consistency, coordination, fault_tolerance, load_balancing : each
    `choice`, `because`, and `alternatives` with `choice`, `cost` and `because`. A cost is a
    mapping of differences to the plan, named with their unit; negative is less than the plan's.
    Communication has `numbers` too: message sizes and algorithms by axis
    """
    plan = OnePlan(job, context, strategy, prediction)
    return {
        "partition": _partition(plan, alternatives),
        "communication": _communication(plan),
        "consistency": _consistency(plan, alternatives),
        "coordination": _coordination(plan),
        "fault_tolerance": _fault_tolerance(plan),
        "load_balancing": _load_balancing(plan, alone),
    }


def _answer(choice: str, because: str, alternatives: Sequence[Alternative]) -> Answer:
    return {"choice": choice, "because": because, "alternatives": list(alternatives)}


def _cuts(strategy: Mapping[str, object]) -> str:
    """Say the degrees above 1, the sharding and what saves memory: ``dp 32, tp 2, zero 1``."""
    said = [f"{key} {strategy[key]}" for key in CUTS if strategy[key] != 1]
    if strategy["zero"] and strategy["zero_group"] != 1:
        said.append(f"zero {strategy['zero']} over {strategy['zero_group']}")
    recompute = strategy["recompute"]
    if isinstance(recompute, Mapping) and "selective" in recompute:
        said.append(f"recompute {', '.join(recompute['selective'])} of every layer")
    elif isinstance(recompute, Mapping):
        said.append(f"recompute {recompute['full']} layers of a stage")
    elif recompute != "none":
        said.append(f"recompute {recompute}")
    if isinstance(strategy["offload"], Sequence):
        said += [f"{state} on the host" for state in strategy["offload"]]
    return ", ".join(said) or "nothing is split"


def _partition(plan: OnePlan, others: Sequence[Mapping[str, object]]) -> Answer:
    """Slot 1: who holds what; the runners-up of the search are the alternatives."""
    binding = ceilings.of_training(plan.job, plan.context).binding
    names = ", ".join(c.name for c in binding)
    force = f"The ceiling is {names}" if names else "No ceiling forces a split"
    dp = plan.degree("dp")
    share = plan.figure("memory_bytes") / plan.figure("memory_limit_bytes")
    of = f"of {plan.devices // dp:,} device{'s' if plan.devices > dp else ''}"
    if plan.context.parts and plan.context.parts[0].context.stretch is None:
        each = (f"{p['dp']} on {p['devices']} devices of {p['pool']}" for p in plan.pools)
        of = f"({', '.join(each)})"
    because = (
        f"{force}: the examples go to {dp:,} replica{'s' if dp > 1 else ''} {of}; the fullest"
        f" device uses {share:.0%} of its limit."
    )
    made = []
    for other in others[:SHOWN]:
        strategy, prediction = other["strategy"], other["prediction"]
        assert isinstance(strategy, Mapping)
        assert isinstance(prediction, Mapping)
        cost = {key: float(prediction[key]) - plan.figure(key) for key in PRICED}
        made.append(rejected.rejected(_cuts(strategy), str(other["why_worse"]), **cost))
    return _answer(_cuts(plan.strategy), because, made)


def _communication(plan: OnePlan) -> Answer:
    """Slot 2: who talks to whom, by axis; the cheapest exchange that the partition allows."""
    sent = plan.axis_bytes()
    if not sent:
        return _answer("none", "One rank holds everything: nothing is exchanged.", [])
    whole = sum(sent.values())
    most = max(sent, key=lambda axis: sent[axis])
    because = (
        f"The partition makes a device send {whole / GB:.3g} GB a step, {sent[most] / whole:.0%}"
        f" of it on {most}; all of it takes {plan.comm_to_compute:.3g} times the work, and"
        f" {plan.communication_s / plan.step_s:.1%} of the step waits for it."
    )
    made = training.carried(plan.context, plan.dims())
    choice = "; ".join(f"{axis}: {_exchange(plan, axis, made)}" for axis in sent)
    stated = plan.strategy.get("consistency", "synchronous")
    if isinstance(stated, Mapping) and "local_sgd" in stated:
        choice += f"; sites: {rejected_consistency.said(stated)}"
    prices = {a: rejected.algorithm_prices(plan, a) for a in sent if a in ("tp", "dp")}
    others = rejected.other_algorithms(prices) + rejected.other_exchanges(plan)
    numbers = {key: value for one in made for key, value in _carried(one).items()}
    return _answer(choice, because, others) | {"numbers": numbers}


def _exchange(plan: OnePlan, axis: str, made: Sequence[training.Carried]) -> str:
    """Say what an axis in use does, in messages of what size, and by which algorithm."""
    if axis == "cp":
        return f"{plan.strategy['cp_comm']}"
    if axis == "ep" and plan.degree("ep") == 1:
        return "tokens gathered and scattered over the ranks of an expert"
    if axis in ("ep", "pp"):
        return "all-to-all" if axis == "ep" else "sends to the next stage"
    said = [
        f"{one.what} of {one.message_bytes * 1e3 / GB:.3g} MB"
        f"{f' ({one.among})' if one.among else ''} by {one.algorithm}"
        for one in made
        if one.axis == axis
    ]
    return ", ".join(said) or "gradients between pools, in a ring"


def _carried(one: training.Carried) -> dict[str, object]:
    """Figures of one kind of collective, by the name of its ranks."""
    name = "_".join([one.axis, *one.among.split()])
    return {f"{name}_message_bytes": one.message_bytes, f"{name}_algorithm": one.algorithm}


def _consistency(plan: OnePlan, others: Sequence[Mapping[str, object]]) -> Answer:
    """Slot 3: how closely the replicas agree, beside the best plan whose replicas are equal."""
    stated = plan.strategy.get("consistency", "synchronous")
    beside = next((other for other in others if _is_synchronous(other)), None)
    if stated == "synchronous":
        beside = None
    because = rejected_consistency.because(plan, beside)
    return _answer(
        rejected_consistency.said(stated), because, rejected_consistency.others(plan, beside)
    )


def _is_synchronous(other: Mapping[str, object]) -> bool:
    strategy = other["strategy"]
    return isinstance(strategy, Mapping) and strategy.get("consistency") == "synchronous"


def _coordination(plan: OnePlan) -> Answer:
    """Slot 4: who decides, and that the data does not pass through it."""
    if plan.devices == 1:
        return _answer("none", "One process needs no coordinator.", [])
    because = (
        f"One coordinator starts and watches {plan.hosts:,} host{'s' if plan.hosts > 1 else ''};"
        " the tensors go peer to peer. When it is lost the run goes back to its last checkpoint,"
        " as for any other host."
    )
    others = rejected.hub(plan) + rejected.gossip(plan)
    return _answer("central control, peer-to-peer data", because, others)


def _fault_tolerance(plan: OnePlan) -> Answer:
    """Slot 5: checkpoints and spares; halves, doubles and their kin are the alternatives."""
    failure = plan.job.failure
    how = "asynchronous" if failure.checkpoint_async else "blocking"
    spares = f"{failure.spare_nodes} spare host{'' if failure.spare_nodes == 1 else 's'}"
    choice = (
        f"checkpoint and restart: {how} writes every"
        f" {plan.figure('checkpoint_interval_s'):.4g} s of work, {spares}"
    )
    failures, taken = plan.given("failures_expected"), plan.given("preemptions_expected")
    preempted = f"{taken:.3g} preemptions and " if taken else ""
    often = (
        f"A host fails every {plan.figure('mtbf_s'):.3g} s"
        if failures is None
        else f"{preempted}{failures:.3g} failures are expected in the run"
    )
    best = "best" if failure.checkpoint_interval_s is None else "pinned"
    because = (
        f"{often} and a write takes {plan.figure('checkpoint_s'):.3g} s: the {best} interval"
        f" leaves {plan.figure('goodput'):.1%} of the time to the run."
    )
    return _answer(choice, because, rejected_upkeep.other_recovery(plan))


def _than_even(even: Evened, plan: OnePlan) -> str:
    """Say what stages alike would do to the slowest stage, or to the memory."""
    if not even.fits:
        return "stages alike would not fit in memory"
    return (
        f"with stages alike stage {even.slowest} would be the slowest, {even.slowest_s:.3g} s a"
        f" microbatch against {even.plan_slowest_s:.3g} s of stage {even.plan_slowest}"
    )


def _load_balancing(plan: OnePlan, alone: Sequence[Mapping[str, object]]) -> Answer:
    """Slot 6: how even the work is, by stage, by expert and by rank."""
    if plan.context.parts:
        return _over_pools(plan, alone)
    parts = ["even microbatches"]
    said = [f"every replica has {plan.degree('microbatches'):,} equal microbatches"]
    pp, even = plan.degree("pp"), evened(plan)
    if pp > 1:
        layers = layers_by_stage(plan.layout, pp)
        least, most = min(layers), max(layers)
        parts.append(f"{least} layers a stage" if least == most else f"{least} to {most} a stage")
        flop = rejected_upkeep.stage_flop(plan)
        more = max(flop) * pp / sum(flop) - 1.0
        said.append(f"the fullest stage has {more:.1%} more FLOP than the mean")
        if even is not None:
            said.append(f"stages are dealt one by one: {moved(plan)}")
            said.append(_than_even(even, plan))
    if plan.job.workload.model.moe is not None:
        parts.append("experts by the router")
        said.append(
            f"the busiest expert rank is taken at {plan.context.imbalance:.3g} times the mean"
        )
    share = plan.named_s("stragglers") / plan.step_s
    said.append(f"stragglers take {share:.1%} of the step")
    because = "; ".join(said)
    alternatives = rejected_upkeep.other_balance(plan, even)
    return _answer(", ".join(parts), f"{because[0].upper()}{because[1:]}.", alternatives)


def _over_pools(plan: OnePlan, alone: Sequence[Mapping[str, object]]) -> Answer:
    """Slot 6 over pools of unlike devices: what each takes, and what each alone would reach."""
    batch, layers = plan.job.workload.global_batch, plan.job.workload.model.layers
    chained = plan.context.parts[0].context.stretch is not None
    parts, said = [], []
    for pool in plan.pools:
        took = float(str(pool["layers" if chained else "sequences"]))
        of = f"{layers} layers" if chained else f"{batch:,} sequences"
        parts.append(f"{pool['pool']} {took:,.0f} of {of}")
        each = took / float(str(pool["stages" if chained else "devices"]))
        per = f"{each:.3g} {'layers a stage' if chained else 'sequences a device'}"
        said.append(
            f"{pool['pool']} ({pool['devices']:,} x {pool['system']}) takes {per}, its step"
            f" {float(str(pool['step_time_s'])):.4g} s"
        )
    waits = max(1.0 - float(str(pool["step_time_s"])) / plan.step_s for pool in plan.pools)
    how = (
        "One pipeline crosses the pools, and faster stages hold more layers"
        if chained
        else "Shares are whole sequences, as many as make the slowest pool the fastest"
    )
    because = (
        f"{how}: {'; '.join(said)}; the pool that is done first waits {waits:.1%} of the step."
    )
    made = []
    for entry in alone:
        more_s = float(str(entry["step_time_s"])) - plan.step_s
        if entry.get("pool") != plan.context.cluster.name:
            choice = f"{entry['pool']} alone"
            made.append(rejected.rejected(choice, rejected.said(more_s), step_time_s=more_s))
    return _answer(", ".join(parts), because, made)
