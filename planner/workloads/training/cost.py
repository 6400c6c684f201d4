"""The price of a training step: every second named, and the footprint of the fullest device.

`cost` is the only way to price a plan, one or a column of them; `times_of` and `memory_of` are
its two halves, for a search that drops by memory before it prices. Terms are summed left to
right.
"""

import dataclasses

import numpy as np

from costmodels.breakdown import Breakdown, Term
from costmodels.overlap import exposed_s, hidden_s
from costmodels.units import Column, Num
from planner.dims import ParallelDims
from planner.fold import Folding, fold
from planner.workloads.training import (
    consistency,
    footprint,
    pace,
    sharing,
    stages,
    states,
    stretch,
)
from planner.workloads.training.context import Context
from planner.workloads.training.pace import STAGE_COLUMNS

__all__ = [
    "cost",
    "least_rest_s",
    "memory_of",
    "stage_bytes",
    "stage_seconds",
    "stages_s",
    "straggler_share",
    "times_of",
]

MEMORY_COLUMNS = tuple(n for n in ParallelDims.names() if n not in ("cp_comm", "apart", "outer"))
"""What decides a footprint: all but how context-parallel ranks and sites exchange."""


def cost(context: Context, dims: ParallelDims) -> Breakdown:
    """Price every plan: exposed and hidden seconds by name, and bytes of the fullest device.

    Notes
    -----
    step = m t + bubble + sharing of gradients and weights + optimizer + stragglers, with t the
    slowest stage's time for one microbatch and m the microbatches.
    """
    return Breakdown(times_of(context, dims).terms, memory_of(context, dims).memory)


def times_of(context: Context, dims: ParallelDims, elsewhere_s: Num = 0.0) -> Breakdown:
    """Price the step's seconds alone.

    Parameters
    ----------
    elsewhere_s : seconds of one microbatch on the stages that other pools hold (`stages_s`)
    """
    folded = pace.fold_stages(context, dims)
    slots = stretch.slots_at(context, folded.few)
    few_parameters = states.parameters_of(context, folded.few, slots)
    paced = pace.pace_of(context, folded.few, slots, few_parameters, folded.gather(elsewhere_s))
    fullest = few_parameters.fullest().spread(folded)
    terms = [
        Term(t.name, t.kind, folded.spread(t.time_s), t.source, folded.spread(t.hidden_s))
        for t in paced.terms
    ]
    shared = sharing.share(
        context, dims, fullest, folded.spread(paced.forward_s), folded.spread(paced.backward_s),
        folded.spread(paced.layers),
    )  # fmt: skip
    compute_s = folded.spread(paced.forward_s + paced.backward_s)
    step_compute_s = compute_s * dims.microbatches
    shared = consistency.loosened(
        context, dims, fullest, shared, step_compute_s, folded.spread(paced.layers)
    )
    source = "sharing.share; collectives"
    terms += [
        Term("gradient reduction", "dp", shared.reduce_exposed_s, source, shared.reduce_hidden_s),
        Term("parameter gathering", "dp", shared.gather_exposed_s, source, shared.gather_hidden_s),
    ]
    on_host = folded.spread(1.0 * footprint.offloaded(slots.offload, "optimizer").max(axis=0))
    terms += consistency.outer_terms(context, dims, fullest, step_compute_s, on_host)
    if context.beside is not None and context.beside.copies > 1.0:
        terms.append(
            Term("gradient reduction across pools", "dp", shared.across_exposed_s,
                 "sharing.across_s; link between the pools", shared.across_hidden_s)
        )  # fmt: skip
    terms += _step_terms(context, dims, few_parameters, slots, folded)
    terms.append(_swapped(context, dims, slots, folded, compute_s))
    if context.cluster.profile.host.new_memory_bytes_per_s is not None:
        terms.append(_new_memory(context, dims))
    terms.append(_stragglers(context, dims, Breakdown(tuple(terms)).total_s))
    return Breakdown(tuple(terms))


def stages_s(context: Context, dims: ParallelDims, *, late: bool = True) -> Column:
    """Seconds of one microbatch on all stages of every plan together.

    `late`: with sends that outlast the compute beside them, which are no sum over layers.
    """
    slots = stretch.slots_at(context, dims)
    parameters = states.parameters_of(context, dims, slots)
    total = pace.stage_totals_s(context, dims, slots, parameters, late=late)
    return np.asarray(total.sum(axis=0))


def _stragglers(context: Context, dims: ParallelDims, step_s: Num) -> Term:
    """Jitter: the slowest of more devices is slower; a share for every doubling of hosts."""
    jitter = context.stack.family.jitter
    return Term(
        "stragglers", "other", step_s * straggler_share(context, dims),
        f"stack jitter for each doubling of hosts; {jitter.basis}",
    )  # fmt: skip


def straggler_share(context: Context, dims: ParallelDims) -> Column:
    """Share of the rest of a step that stragglers add."""
    hosts = dims.devices / context.cluster.profile.host.devices
    if context.beside is not None:
        hosts = hosts + context.beside.hosts
    doublings = consistency.felt_doublings(dims, hosts)
    return np.asarray(context.stack.family.jitter.value * doublings)


def least_rest_s(
    context: Context, dims: ParallelDims, forward_s: Column, backward_s: Column
) -> Column:
    """Bound from below what sharing and the optimizer add to the pace, whatever the staging.

    The fullest stage holds no less than an average one; what is done once a step is done for it.
    Replicas that agree otherwise than synchronously are taken to share at no cost.

    Parameters
    ----------
    forward_s, backward_s : no stage has more compute for communication to hide under
    """
    folded = fold(dims, STAGE_COLUMNS)
    slots = stages.slots_of(context.kinds, folded.few, context.stagings)
    mean = states.parameters_of(context, folded.few, slots).mean(slots.multiplicity)
    mean = mean.spread(folded)
    shared = sharing.share(context, dims, mean, forward_s, backward_s, np.ones(len(dims)))
    device_s, host_s = _update_s(context, dims, mean)
    on_host = footprint.offloaded(dims.offload, "optimizer")
    update_s = np.where(on_host, host_s, device_s) + context.stack.family.step_s.value
    shared_s = np.where(
        dims.consistency > 0, 0.0, shared.reduce_exposed_s + shared.gather_exposed_s
    )
    return np.asarray(shared_s + update_s)


def memory_of(context: Context, dims: ParallelDims) -> Breakdown:
    """Price the bytes of the fullest device alone; rows that agree in them are priced once."""
    folded = fold(dims, MEMORY_COLUMNS)
    held = _footprint(context, folded.few).memory()
    return Breakdown((), tuple(dataclasses.replace(m, bytes=folded.spread(m.bytes)) for m in held))


def _footprint(context: Context, dims: ParallelDims) -> footprint.Footprint:
    folded = fold(dims, STAGE_COLUMNS)
    slots = stretch.slots_at(context, folded.few)
    parameters = states.parameters_of(context, folded.few, slots)
    working = footprint.activations_of(context, folded.few, slots)
    held = states.state_bytes(context, dims, parameters.spread(folded))
    return footprint.footprint(context, dims, slots.spread(folded), held, working.spread(folded))


def stage_bytes(context: Context, dims: ParallelDims) -> list[float]:
    """Bytes of every pipeline stage of one plan, first to last."""
    each = stretch.every_slot(context, dims)
    held = states.state_bytes(context, dims, states.parameters_of(context, dims, each))
    working = footprint.activations_of(context, dims, each)
    total = footprint.footprint(context, dims, each, held, working).total()
    return [float(value) for value in total[:, 0]]


def stage_seconds(context: Context, dims: ParallelDims) -> list[float]:
    """Seconds of one microbatch on every pipeline stage of one plan, first to last."""
    each = stretch.every_slot(context, dims)
    parameters = states.parameters_of(context, dims, each)
    total = pace.stage_seconds(context, dims, each, parameters).total
    return [float(value) for value in np.broadcast_to(total, each.multiplicity.shape)[:, 0]]


def _step_terms(
    context: Context,
    dims: ParallelDims,
    parameters: states.Parameters,
    slots: stages.Slots,
    folded: Folding,
) -> list[Term]:
    """Optimizer step and host-link transfers, once a step; `parameters`, `slots` are folded."""
    family = context.stack.family
    on_host = footprint.offloaded(slots.offload, "optimizer")
    if on_host.any():
        device_s = _update_s(context, dims, parameters.fullest(~on_host).spread(folded))[0]
        host_s = _update_s(context, dims, parameters.fullest(on_host).spread(folded))[1]
        seconds = np.maximum(device_s, host_s)
    else:
        seconds = _update_s(context, dims, parameters.fullest().spread(folded))[0]
    seconds = seconds + family.step_s.value
    if context.stack.serial_broadcast:
        turns = np.where(dims.zero > 0, dims.shards - 1.0, 0.0)
        seconds = seconds + family.shard_rank_s.value * turns
    fetched: Num = np.zeros(len(dims))
    away = footprint.offloaded(slots.offload, "parameters")
    if away.any():
        fetched = footprint.fetched_bytes(context, dims, parameters.fullest(away).spread(folded))
    return [
        Term("optimizer step", "hbm", seconds,
             f"states over memory bandwidth; stack step_s {family.step_s.basis}"),
        Term("parameters from the host", "host", fetched / context.rates.host_bytes_per_s,
             "offloaded bytes over the host link"),
    ]  # fmt: skip


def _update_s(context: Context, dims: ParallelDims, parameters: states.Fullest) -> tuple[Num, Num]:
    """Seconds to update a stage's share of the states: on the device, on its host.

    The states are read and written, gradients read and cleared, weights written; more where the
    stack says so.
    """
    family, rates = context.stack.family, context.rates
    mine = parameters.dense / dims.shards + parameters.expert / dims.expert_shards
    state = context.master_bytes + context.moment_bytes
    if family.shards_master:
        state = state + context.parameter_bytes
    traffic = mine * (2.0 * state + 2.0 * context.gradient_bytes + context.activation_bytes)
    whole, stack = parameters.dense + parameters.expert, context.stack
    traffic = traffic + mine * stack.update_more_bytes.value
    traffic = traffic + whole * stack.bucket_copy_bytes.value
    memory_bytes_per_s = context.cluster.profile.memory_bytes_per_s.value
    down_up = mine * (context.gradient_bytes + context.activation_bytes)
    return (
        traffic / (memory_bytes_per_s * family.optimizer_efficiency.value),
        traffic / consistency.HOST_ADAM_BYTES_PER_S + down_up / rates.host_bytes_per_s,
    )


def _new_memory(context: Context, dims: ParallelDims) -> Term:
    """Memory of a step that its program gets anew: all but what outlives the step.

    seconds = (gradients + activations + buffers) / the rate at which the host gives memory
    """
    rate = context.cluster.profile.host.new_memory_bytes_per_s
    assert rate is not None
    held = memory_of(context, dims).memory
    fresh = sum(
        m.bytes for m in held if m.name == "gradients" or m.kind in ("activations", "buffers")
    )
    return Term(
        "new memory", "host", fresh / rate.value,
        f"gradients, activations and buffers over what the host gives; {rate.basis}",
    )  # fmt: skip


def _swapped(
    context: Context, dims: ParallelDims, slots: stages.Slots, folded: Folding, compute_s: Num
) -> Term:
    """Offloaded activations go to the host and come back beside the compute of a microbatch."""
    name, source = "activations to the host", "offloaded bytes over the host link, overlapped"
    on_host = footprint.offloaded(slots.offload, "activations")
    if not on_host.any():
        return Term(name, "host", np.zeros(len(dims)), source, np.zeros(len(dims)))
    kept = footprint.activations_of(context, folded.few, slots)
    moved = np.where(on_host, kept.one_layer * np.maximum(slots.layers, 1.0), 0.0).max(axis=0)
    moved_s = folded.spread(2.0 * moved / context.rates.host_bytes_per_s)
    shown = exposed_s(moved_s, compute_s, 1.0) * dims.microbatches
    hidden = hidden_s(moved_s, compute_s, 1.0) * dims.microbatches
    return Term(name, "host", shown, source, hidden)
