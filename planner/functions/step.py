"""The price of a whole step: what the sharding problem prices, and what only the whole knows.

To the problem's own cost come the gaps that the host's launches leave, the fixed time of an
optimizer step and stragglers, as the template prices them; to its memory what frameworks hold,
and the operator at work. All but the memory grow with the problem's seconds, so the least cost
of a problem is the least step, and a bound of the one gives a bound of the other.

Parts: `step`, `bound_s`, `reserved_bytes`.
"""

from collections.abc import Sequence

import numpy as np

from costmodels import roofline
from costmodels.breakdown import Breakdown, Memory, Term
from costmodels.units import Num
from planner.functions.context import FunctionContext
from planner.operator_graph import Operator, OperatorGraph
from planner.sharding.layouts import Layouts, local_elements
from planner.sharding.problem import ShardingProblem
from planner.sharding.working import working_bytes

__all__ = ["bound_s", "reserved_bytes", "step"]

KINDS = {"weights": "states", "gradients": "states", "optimizer states": "states",
         "frozen weights": "states", "activations": "activations"}  # fmt: skip


def step(context: FunctionContext, made: ShardingProblem, picks: Sequence[int]) -> Breakdown:
    """Price a step: terms in seconds, bytes of one device."""
    cost = made.problem.cost(picks)
    terms = (*cost.terms, *_around(context, made, cost.total_s))
    memory = [Memory(m.name, KINDS.get(m.name, "buffers"), m.bytes, m.source) for m in cost.memory]
    working = working_bytes(made, picks)
    again = _layer_again_bytes(made, picks)
    family = context.stack.family
    kept = sum(float(m.bytes) for m in memory if m.kind == "activations")
    memory += [
        Memory("operator at work", "activations", working, "sharding.working"),
        Memory("layer run again", "activations", again, "results of a rematerialised layer"),
        *_reserve(context, made),
        Memory("fragmentation", "reserve", family.fragmentation.value * (kept + working + again),
               f"stack {family.fragmentation.basis}"),
    ]  # fmt: skip
    return Breakdown(terms, tuple(memory))


def bound_s(context: FunctionContext, made: ShardingProblem, least_s: float) -> float:
    """Return the least step that a problem of least cost `least_s` can come to."""
    least_s = max(0.0, least_s)
    total: Num = least_s
    for term in _around(context, made, least_s):
        total = total + term.time_s
    return float(np.asarray(total))


def _around(context: FunctionContext, made: ShardingProblem, busy_s: Num) -> tuple[Term, ...]:
    """Terms that follow from the seconds of the operators and their exchanges."""
    family = context.stack.family
    launch = family.launch_s_compiled if context.switches.compile else family.launch_s
    host_s = made.passes * _launches(made.graph) * launch.value
    joined = roofline.smooth_max(busy_s, host_s, family.launch_power.value)
    gaps = Term("launch gaps", "host", joined - busy_s, f"launches of the host; {launch.basis}")
    fixed = Term("fixed time of a step", "host", family.step_s.value, family.step_s.basis)
    hosts = context.cluster.devices / context.cluster.profile.host.devices
    share = family.jitter.value * np.log2(np.maximum(1.0, hosts))
    late = (joined + fixed.time_s) * share
    said = f"stack jitter for each doubling of hosts; {family.jitter.basis}"
    return gaps, fixed, Term("stragglers", "other", late, said)


def _launches(graph: OperatorGraph) -> float:
    """Kernels of one pass: forward, and as many products backward as there are gradients."""
    total = 0.0
    for op in graph.operators:
        back = _gradients(graph, op) if op.kind in ("product", "grouped") else 1.0
        total += op.launches * op.repeats * (1.0 + (back if op.backward > 0 else 0.0))
    return total


def _gradients(graph: OperatorGraph, op: Operator) -> float:
    return float(sum(not graph.tensors[o.tensor].given for o in op.operands))


def reserved_bytes(context: FunctionContext, made: ShardingProblem) -> float:
    """Bytes that frameworks and communication hold on every device."""
    return sum(float(m.bytes) for m in _reserve(context, made))


def _reserve(context: FunctionContext, made: ShardingProblem) -> tuple[Memory, ...]:
    family = context.stack.family
    buffers = family.group_bytes.value * len(made.mesh) + context.stack.bucket_bytes.value
    return (
        Memory("communication buffers", "buffers", buffers, f"stack {family.group_bytes.basis}"),
        Memory("framework", "reserve", family.base_bytes.value, f"stack {family.base_bytes.basis}"),
    )


def _layer_again_bytes(made: ShardingProblem, picks: Sequence[int]) -> float:
    """Return the results of a layer that is computed again for its backward pass, all at once."""
    operators = {op.name: op for op in made.graph.operators}
    layer: dict[str, float] = {}
    again: set[str] = set()
    for node, pick in zip(made.nodes, picks, strict=True):
        if node.kind == "operator" and node.region:
            op = operators[node.name]
            result = _local(made, op.result.tensor, node.source.gradient, pick)
            layer[op.region] = layer.get(op.region, 0.0) + result
            if op.kind == "product" and op.backward > _gradients(made.graph, op):
                again.add(op.region)
    return max((layer[region] for region in again), default=0.0)


def _local(made: ShardingProblem, name: str, layouts: Layouts, pick: int) -> float:
    tensor = made.graph.tensors[name]
    entries = local_elements(tensor, made.mesh, layouts[pick : pick + 1])
    return float(entries[0]) * tensor.element_bytes
