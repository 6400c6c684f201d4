"""The `prediction`, `strategy` and `scaling` of a plan of a JAX function, as plan.json holds them.

Every number is read from the breakdown that chose the plan, or follows from it by a formula of
`costmodels`.
"""

from collections.abc import Mapping

import numpy as np

from costmodels.units import GB
from hardware_profiles.lookup import measured, peak_flop_per_s
from planner.cluster.choices import cluster_of
from planner.errors import NoFeasiblePlan
from planner.functions.context import FunctionContext, on_cluster
from planner.functions.layouts import data_degree
from planner.functions.search import Candidate, solved
from planner.operator_graph import OperatorGraph
from planner.plan.comparable import Likeness, interval, number_format
from planner.plan.prediction import interval_figures, run_figures, time_terms
from planner.workloads.training.run import economics_of

__all__ = ["model_flop", "prediction", "scaling", "strategy_of", "trained"]

WORKING = ("compute", "hbm", "host")
EXCHANGES = ("tp", "dp")
FACTORS = (0.25, 0.5, 1.0, 2.0)
"""Other device counts of the scaling curve, over the plan's: each takes a solve."""
SENT = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "all-to-all": 1.0}
"""Bytes that a rank of a ring sends over (p - 1)/p of a collective's message."""


def strategy_of(found: Candidate) -> dict[str, object]:
    """Return the strategy: predicting it gives the same price."""
    split = data_degree(found)
    return {
        "dp": split,
        "micro_batch": max(1, found.imported.graph.samples // split),
        "microbatches": found.passes,
        "consistency": "synchronous",
        "sharding": found.sharding,
    }


def model_flop(graph: OperatorGraph) -> float:
    """Count what a pass needs: products forward and for every gradient, nothing run again."""
    total = 0.0
    for op in graph.operators:
        if op.kind in ("product", "grouped", "attention"):
            gradients = sum(not graph.tensors[o.tensor].given for o in op.operands)
            total += op.repeats * op.flop * (1.0 + gradients)
    return total


def trained(found: Candidate) -> float:
    """Count the parameters."""
    return float(
        sum(np.prod(shape, dtype=np.float64) for shape, _ in found.imported.shapes.values())
    )


def prediction(context: FunctionContext, found: Candidate) -> dict[str, object]:
    """Return the figures of a candidate."""
    price, spec = found.price, context.job.workload
    assert price is not None
    cluster, step_s = context.cluster, float(price.total_s)
    steps = None if spec.tokens is None else float(np.ceil(spec.tokens / spec.global_batch))
    stored = context.stored
    written = trained(found) * (stored.activation + 4.0 * (stored.activation < 4.0) + stored.moment)
    run = economics_of(context.job, cluster, price, steps, written)
    rate = spec.global_batch / step_s / cluster.devices
    flop = model_flop(found.imported.graph) * found.passes / step_s / cluster.devices
    sure = interval(
        Likeness(
            family=context.stack.family.name,
            chip=cluster.profile.family,
            precision=number_format(cluster.profile, spec.precision),
            devices=float(cluster.devices),
            function=True,
            relative=not measured(cluster.profile),
        )
    )
    used = float(price.total_bytes)
    return {
        "step_time_s": step_s,
        **interval_figures(sure, step_s, run),
        "tokens_per_s_per_device": rate,
        "samples_per_s_per_device": rate,
        "model_flop_per_s_per_device": flop,
        "mfu": flop / peak_flop_per_s(cluster.profile, spec.precision).value,
        **run_figures(run, context.job.constraints.confidence),
        "time": time_terms(price),
        "memory": [
            {"name": m.name, "kind": m.kind, "bytes": float(m.bytes), "source": m.source}
            for m in price.memory
        ],
        "memory_bytes": used,
        "memory_limit_bytes": context.memory_limit_bytes,
        "fits": used <= context.memory_limit_bytes,
        "memory_by_stage": [{"stage": 0, "bytes": used}],
        "traffic": _traffic(context, found),
    }


def _traffic(context: FunctionContext, found: Candidate) -> list[dict[str, object]]:
    """Bytes that one device sends in a step, by axis and outermost level that the axis crosses."""
    assert found.picks is not None
    sent: dict[str, float] = {}
    for one in found.made.collectives(found.picks):
        ranks = found.degrees[one.axis]
        factor = SENT.get(one.kind, 0.0) * (ranks - 1) / ranks
        sent[one.axis] = sent.get(one.axis, 0.0) + factor * one.message_bytes * one.times
    stride, made = 1, []
    for axis, ranks in found.degrees.items():
        if sent.get(axis):
            index = int(np.asarray(context.cluster.outermost((float(ranks), float(stride)))))
            level = context.cluster.levels[index].name
            made.append({"axis": axis, "level": level, "bytes": sent[axis]})
        stride *= ranks
    return made


def scaling(context: FunctionContext, found: Candidate) -> dict[str, object]:
    """Price the same mesh with more and fewer ranks on its outermost axis; the batch stays."""
    last = next(reversed(list(found.degrees)), "x")
    points: dict[int, Candidate] = {}
    for factor in FACTORS:
        ranks = found.degrees.get(last, 1) * factor
        if factor == 1.0:
            points[context.cluster.devices] = found
        elif ranks >= 1 and ranks == int(ranks):
            other = {**found.degrees, last: int(ranks)}
            devices = int(context.cluster.devices * factor)
            one = _at(context, other, devices, found.passes)
            if one is not None:
                points[devices] = one
    shown = sorted(points.items())
    first_devices, first = shown[0]
    rows = []
    for devices, one in shown:
        speedup = first_devices * first.step_s / one.step_s
        rows.append(
            {
                "devices": devices,
                "step_time_s": one.step_s,
                "speedup": speedup,
                "efficiency": speedup / devices,
                "comm_to_compute": _ratio(one),
            }
        )
    slow = [int(str(row["devices"])) for row in rows if float(str(row["comm_to_compute"])) >= 1.0]
    return {
        "points": rows,
        "p_star": min(shown, key=lambda point: point[1].step_s)[0],
        "comm_dominated_at": min(slow, default=None),
        "note": "strong scaling: global batch fixed, ranks of the outermost axis varied, each"
        " operator's sharding solved anew",
    }


def _at(
    context: FunctionContext, mesh: Mapping[str, int], devices: int, count: int
) -> Candidate | None:
    hardware = context.job.hardware.model_copy(update={"slice": None})
    cluster = cluster_of(hardware, context.cluster.profile, devices)
    there = on_cluster(context.job, cluster, context.function, context.inputs)
    there.graphs.update(context.graphs)
    one = solved(there, mesh, count)
    return None if one.price is None else one


def _ratio(found: Candidate) -> float:
    assert found.price is not None
    moved = worked = 0.0
    for term in found.price.terms:
        if term.kind in EXCHANGES:
            moved += float(term.time_s) + float(term.hidden_s)
        elif term.kind in WORKING:
            worked += float(term.time_s)
    return moved / max(worked, 1e-30)


def infeasible(context: FunctionContext, tried: tuple[Candidate, ...]) -> NoFeasiblePlan:
    """Return the exception that says why nothing fits."""
    limit = context.memory_limit_bytes
    most = max(tried, key=lambda c: c.passes * 1e6 + len(c.degrees))
    held = trained(most) * (
        context.stored.parameter + context.stored.gradient + context.stored.master
        + context.stored.moment
    )  # fmt: skip
    unknown = sum(c.status == "unknown" for c in tried)
    said = f"; {unknown} were too large to solve" if unknown else ""
    return NoFeasiblePlan(
        f"{len(tried)} meshes and numbers of microbatches, none fits in {limit / GB:.1f} GB a"
        f" device{said}; parameters and their states alone are {held / GB:.1f} GB on"
        f" {context.cluster.devices} devices together. More devices would make it fit, or a"
        " function that keeps less (jax.checkpoint)"
    )
