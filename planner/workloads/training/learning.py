"""What a plan's consistency costs in learning: its updates to the target over synchronous ones.

The laws are `costmodels.staleness`'s; here they get their inputs from the job: parameters that a
token uses, sites, H, staleness, batch. Plans are compared at the careful end of what a law leaves
open, so that synchronous training wins unless the network says otherwise. Knows no seconds.

Parts: `LAWS`, `searched_kinds`, `Updates`, `updates`, `updates_factor`, `doubts`.
"""

from dataclasses import dataclass

import numpy as np

from costmodels import staleness
from costmodels.units import Num
from planner.dims import ParallelDims
from planner.workloads.training.consistency import (
    ASYNCHRONOUS,
    LOCAL,
    STALE,
    SYNCHRONOUS,
    outer_bytes,
)
from planner.workloads.training.context import Context

__all__ = ["Updates", "doubts", "searched_kinds", "updates", "updates_factor"]

CRITICAL_DOUBT = 2.0
"""Factor within which a critical batch is known; the careful end takes the smaller one."""


@dataclass(frozen=True, slots=True)
class Updates:
    """Updates to the target over those of synchronous training at the same global batch.

    `factor` is the careful end, which plans are priced with; `law` what the law says, `least`
    the other end. All are at least 1, and 1 for synchronous rows.
    """

    factor: Num
    law: Num
    least: Num


def searched_kinds(context: Context) -> tuple[int, ...]:
    """Return the kinds of consistency that the job gives what it takes to price.

    A statistical model, `workload.learning`, says its law: diloco for local updates,
    critical_batch for staleness, both for both. Sites alone (a network level of wide-area
    latency) call for local updates, whose law needs the model's size only.
    """
    learning = context.spec.learning
    law = learning.law if learning else "diloco"
    if learning is None and not any(level.wide for level in context.cluster.levels):
        return (SYNCHRONOUS,)
    local = (LOCAL,) if law in ("diloco", "both") else ()
    stale = (STALE, ASYNCHRONOUS) if law in ("critical_batch", "both") else ()
    return (SYNCHRONOUS, *local, *stale)


def parameters_of(context: Context) -> float:
    """Parameters that a token uses: of experts, those that it is sent to."""
    moe = context.spec.model.moe
    share = min(1.0, moe.top_k / moe.experts) if moe else 1.0
    return sum(
        block.count * (block.weights(expert=False) + share * block.weights(expert=True))
        for block in context.graph.blocks
    )


def critical_tokens(context: Context) -> float:
    """Critical batch at the loss that the run is to reach, as given or by the loss law."""
    learning = context.spec.learning
    if learning is not None and learning.critical_batch_tokens is not None:
        return learning.critical_batch_tokens
    target = learning.target_loss if learning is not None else None
    loss = staleness.dp_loss(parameters_of(context)) if target is None else target
    return float(staleness.critical_batch_tokens(loss))


def updates_factor(context: Context, dims: ParallelDims) -> Num:
    """Return `updates(...).factor`; the number 1 where all rows are synchronous."""
    return updates(context, dims).factor if (dims.consistency > 0).any() else 1.0


def updates(context: Context, dims: ParallelDims) -> Updates:
    """Price the learning of every row.

    Notes
    -----
    Asynchronous replicas are taken to lag by dp - 1 steps: each of them adds its gradient to
    parameters that all others have moved since. That is the longest delay, so careful.
    """
    parameters = parameters_of(context)
    batch = float(context.spec.global_batch * context.spec.sequence_length)
    critical = critical_tokens(context)
    kind = dims.consistency
    loss = staleness.local_log_loss(parameters, dims.sites, dims.apart)
    doubt = staleness.local_doubt(parameters, dims.sites, dims.apart, outer_bytes(dims))
    lag = np.where(kind == ASYNCHRONOUS, dims.dp - 1.0, dims.apart)

    def of(local_loss: Num, critical_batch: float) -> Num:
        local = staleness.tokens_factor(np.maximum(0.0, local_loss))
        stale = staleness.stale_factor(lag, batch, critical_batch)
        return np.where(kind == LOCAL, local, np.where(kind >= STALE, stale, 1.0))

    return Updates(
        of(loss + doubt, critical / CRITICAL_DOUBT),
        of(loss, critical),
        of(loss - doubt, critical * CRITICAL_DOUBT),
    )


def doubts(context: Context, dims: ParallelDims) -> list[str]:
    """Say where one plan is outside what the law of its consistency was fitted to."""
    kind, apart = int(dims.consistency[0]), float(dims.apart[0])
    if kind == SYNCHRONOUS:
        return []
    found = []
    parameters, most = parameters_of(context), staleness.LAW_PARAMETERS[1]
    if kind == LOCAL:
        if parameters > most:
            found.append(f"{parameters / 1e9:.3g} billion parameters, fitted up to {most / 1e9:g}")
        if dims.sites[0] > staleness.LAW_SITES[1]:
            found.append(f"{dims.sites[0]:g} sites, fitted up to {staleness.LAW_SITES[1]:g}")
        if apart != staleness.LAW_STEPS:
            found.append(f"H {apart:g}, fitted at {staleness.LAW_STEPS:g}; its slope is assumed")
    else:
        lag = float(dims.dp[0]) - 1.0 if kind == ASYNCHRONOUS else apart
        found.append("the form of the price of staleness is assumed")
        if lag > staleness.MOST_STALE:
            most = staleness.MOST_STALE
            found.append(f"gradients {lag:g} steps old; no run at scale is known above {most:g}")
    if context.spec.model.moe is not None:
        found.append("a mixture of experts, fitted to dense models")
    if context.spec.task != "pretrain":
        found.append(f"{context.spec.task}, fitted to pretraining")
    if not found:
        return []
    said = "what this consistency costs in learning is outside its law"
    return [f"{said} ({'; '.join(found)}): the price takes a wider range and its careful end"]
