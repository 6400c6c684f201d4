"""The six slots of a distributed design, filled and justified, with what was rejected.

Partition, communication, consistency, coordination, fault tolerance, load balancing: each has the
plan's choice, a reason from its numbers, and the alternatives with their price as differences to
the plan. Reads the plan and the runners-up; the prices are `planner.rejected`'s.

Parts: `fill`, and one function a slot.
"""

from collections.abc import Mapping, Sequence

from planner import ceilings, rejected
from planner.job import Job
from planner.one_plan import OnePlan
from planner.rejected import Alternative
from planner.workloads import training
from planner.workloads.training.graph import layer_kinds
from planner.workloads.training.spec import TrainingSpec

__all__ = ["fill", "fullest_over_mean"]

Answer = dict[str, object]
CUTS = ("dp", "tp", "cp", "pp", "ep", "etp")
SHOWN = 5


def fill(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
    alternatives: Sequence[Mapping[str, object]],
) -> dict[str, object]:
    """Fill the six slots for a plan.

    Parameters
    ----------
    alternatives : runners-up of the search, as `planner.alternatives.runners_up` writes them

    Returns
    -------
    partition, communication, consistency, coordination, fault_tolerance, load_balancing : each
    `choice`, `because`, and `alternatives` with `choice`, `cost` and `because`. A cost is a
    mapping of differences to the plan, named with their unit; negative is cheaper
    """
    plan = OnePlan(job, context, strategy, prediction)
    return {
        "partition": _partition(plan, alternatives),
        "communication": _communication(plan),
        "consistency": _consistency(plan),
        "coordination": _coordination(plan),
        "fault_tolerance": _fault_tolerance(plan),
        "load_balancing": _load_balancing(plan),
    }


def _answer(choice: str, because: str, alternatives: Sequence[Alternative]) -> Answer:
    return {"choice": choice, "because": because, "alternatives": list(alternatives)}


def _cuts(strategy: Mapping[str, object]) -> str:
    """Say the degrees above 1 and the sharding: ``dp 32, tp 2, zero 1``."""
    said = [f"{key} {strategy[key]}" for key in CUTS if strategy[key] != 1]
    if strategy["zero"]:
        said.append(f"zero {strategy['zero']}")
    if strategy["recompute"] != "none":
        said.append(f"recompute {strategy['recompute']}")
    return ", ".join(said) or "nothing is split"


def _partition(plan: OnePlan, others: Sequence[Mapping[str, object]]) -> Answer:
    """Slot 1: who holds what; the runners-up of the search are the alternatives."""
    found = ceilings.of_training(plan.job, plan.context)
    binding = ", ".join(c.name for c in found.binding)
    share = plan.figure("memory_bytes") / plan.figure("memory_limit_bytes")
    force = f"{binding} binds" if binding else "no ceiling binds"
    because = (
        f"{force}: {plan.degree('dp'):,} replicas share the examples and"
        f" {plan.devices // plan.degree('dp'):,} devices hold each; the fullest uses {share:.0%} of"
        f" its limit"
    )
    made: list[Alternative] = []
    for other in others[:SHOWN]:
        strategy, prediction = other["strategy"], other["prediction"]
        assert isinstance(strategy, Mapping) and isinstance(prediction, Mapping)
        cost = {
            key: float(prediction[key]) - plan.figure(key) for key in ("step_time_s", "memory_bytes")
        }
        made.append({"choice": _cuts(strategy), "cost": cost, "because": str(other["why_worse"])})
    return _answer(_cuts(plan.strategy), because + ".", made)


def _communication(plan: OnePlan) -> Answer:
    """Slot 2: who talks to whom, by axis; the cheapest exchange that the partition allows."""
    sent = plan.axis_bytes()
    if not sent:
        return _answer("none", "One rank holds everything: nothing is exchanged.", [])
    choice = "; ".join(f"{axis}: {_exchange(plan, axis)}" for axis in sent)
    whole = sum(sent.values())
    most = max(sent, key=lambda axis: sent[axis])
    because = (
        f"The partition makes a device send {whole:.3g} bytes a step, {sent[most] / whole:.0%} of"
        f" it on {most}; all of it takes {plan.comm_to_compute:.3g} times the work."
    )
    others = rejected.other_algorithms(plan) + rejected.other_exchanges(plan)
    return _answer(choice, because, others + rejected.other_sharding(plan))


def _exchange(plan: OnePlan, axis: str) -> str:
    """Say what an axis in use does: its collective, and the algorithm where one is pinned."""
    pinned = dict(plan.context.algorithms).get(axis, "cheapest algorithm")
    if axis == "tp":
        split = "all-gather and reduce-scatter" if plan.strategy["sp"] else "all-reduce"
        return f"{split}, {pinned}"
    if axis == "dp":
        sharded = plan.degree("zero") > 0
        return f"{'reduce-scatter and all-gather' if sharded else 'all-reduce'}, {pinned}"
    if axis == "cp":
        return f"{plan.strategy['cp_comm']}"
    return "all-to-all" if axis == "ep" else "sends to the next stage"


def _consistency(plan: OnePlan) -> Answer:
    """Slot 3: how closely the replicas agree."""
    stated = plan.strategy.get("consistency", "synchronous")
    choice = stated if isinstance(stated, str) else next(iter(dict(stated)))  # type: ignore[call-overload]
    share = plan.seconds("dp") / plan.step_s
    because = (
        f"Every step ends with equal replicas, as on one device; waiting for the exchange takes"
        f" {share:.1%} of the step."
    )
    if plan.degree("dp") == 1:
        because = "There is one replica: nothing can differ."
    return _answer(str(choice), because, rejected.looser(plan))


def _coordination(plan: OnePlan) -> Answer:
    """Slot 4: who decides, and that the data does not pass through it."""
    if plan.devices == 1:
        return _answer("none", "One process needs no coordinator.", [])
    because = (
        f"One coordinator starts and watches {plan.hosts:,} host{'s' if plan.hosts > 1 else ''};"
        " the tensors go peer to peer. When it is lost the run stops at its last checkpoint, as"
        " for any other host."
    )
    others = rejected.central_data(plan) + rejected.gossip(plan)
    return _answer("central control, peer-to-peer data", because, others)


def _fault_tolerance(plan: OnePlan) -> Answer:
    """Slot 5: checkpoints and spares; halves, doubles and their kin are the alternatives."""
    failure = plan.job.failure
    how = "asynchronous" if failure.checkpoint_async else "blocking"
    interval_s, mtbf_s = plan.figure("checkpoint_interval_s"), plan.figure("mtbf_s")
    choice = (
        f"checkpoint and restart: {how} writes every {interval_s:.4g} s,"
        f" {failure.spare_nodes} spare hosts"
    )
    pinned = " as pinned" if failure.checkpoint_interval_s is not None else ""
    because = (
        f"A host fails every {mtbf_s:.3g} s of the run and a write takes"
        f" {plan.figure('checkpoint_s'):.3g} s, so the best interval{pinned} keeps"
        f" {plan.figure('goodput'):.1%} of the time."
    )
    return _answer(choice, because, rejected.other_recovery(plan))


def fullest_over_mean(plan: OnePlan) -> float:
    """FLOP of the fullest pipeline stage over the mean stage's; 1 where they are even.

    Decoder layers by kind, the embedding on the first stage, the head and the
    multi-token-prediction layers on the last.
    """
    blocks = {block.name: block for block in plan.context.graph.blocks}
    flop = {name: sum(op.flop for op in block.ops) for name, block in blocks.items()}
    stages = [0.0] * plan.degree("pp")
    kinds = iter(layer_kinds(plan.job.workload.model))
    for chunk, layers in enumerate(plan.layout):
        for _ in range(layers):
            stages[chunk % len(stages)] += flop[next(kinds).name]
    for name, block in blocks.items():
        if not block.layers:
            stages[0 if name == "embedding" else -1] += block.count * flop[name]
    return max(stages) * len(stages) / sum(stages)


def _load_balancing(plan: OnePlan) -> Answer:
    """Slot 6: how even the work is, by stage, by expert and by rank."""
    uneven = fullest_over_mean(plan) - 1.0
    layers = plan.layout
    said = [f"each replica has {plan.degree('microbatches'):,} equal microbatches"]
    parts = ["even microbatches"]
    if plan.degree("pp") > 1:
        spread = f"{min(layers)} to {max(layers)}" if min(layers) < max(layers) else f"{layers[0]}"
        parts.append(f"{spread} layers a chunk")
        said.append(f"the fullest stage has {uneven:.1%} more work than the mean")
    if plan.job.workload.model.moe is not None:
        parts.append("experts spread evenly")
        said.append(f"the busiest expert rank is taken {plan.context.imbalance:.3g} times the mean")
    share = plan.named_s("stragglers") / plan.step_s
    said.append(f"stragglers take {share:.1%} of the step")
    because = "; ".join(said)
    return _answer(
        ", ".join(parts), because[0].upper() + because[1:] + ".", rejected.other_balance(plan)
    )
