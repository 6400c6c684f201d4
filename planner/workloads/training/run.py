"""From the step to the run: failures, checkpoints, time to train, money, energy.

Joins the price of a step with the job's failure section and the machine's figures. Knows the
run; every formula is in `costmodels.run`, `costmodels.reliability` and `costmodels.energy`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from costmodels import energy
from costmodels.breakdown import Breakdown, Term
from costmodels.run import Run, run
from costmodels.units import Num
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Failure, Job
from planner.workloads.training.context import Context
from planner.workloads.training.learning import updates_factor
from planner.workloads.training.pools import prices
from planner.workloads.training.spec import TrainingSpec

__all__ = ["Economics", "economics", "economics_of", "economics_of_step"]

W = TypeVar("W", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Economics:
    """What a run of the plan costs, as columns.

    `time_to_train_s` is the mean, `finish_s` the time that it keeps with the job's confidence;
    both None where the job gives no tokens. Money and energy are of the whole run where tokens
    are given, else of one step. Steps, and with them all of a run, and a step's money and energy,
    are multiplied by the updates that a looser consistency than synchronous takes.
    """

    run: Run
    steps: Num | None
    time_to_train_s: Num | None
    finish_s: Num | None
    cost_usd: Num
    finish_cost_usd: Num
    energy_j: Num


def economics(
    job: Job[TrainingSpec], context: Context, dims: ParallelDims, price: Breakdown
) -> Economics:
    """Price the run of every plan.

    Parameters
    ----------
    price : of a step (`cost.cost`), with the states that a checkpoint writes in its memory
    """
    spec = job.workload
    tokens_per_step = spec.global_batch * spec.sequence_length
    updates = updates_factor(context, dims)
    steps = (
        None if spec.tokens is None else np.ceil(np.ceil(spec.tokens / tokens_per_step) * updates)
    )
    spent = prices(context, dims, price)
    written = checkpoint_bytes(context)
    return economics_of(job, context.cluster, price, steps, written, updates, spent)


def economics_of_step(job: Job[TrainingSpec], context: Context, step_s: Num) -> Economics:
    """Price runs of synchronous steps of given lengths on the context's cluster."""
    spec = job.workload
    steps = None if spec.tokens is None else np.ceil(
        spec.tokens / (spec.global_batch * spec.sequence_length)
    )  # fmt: skip
    price = Breakdown((Term("step", "compute", step_s, "given"),))
    fleet = context.cluster.each
    return economics_of(
        job, context.cluster, price, steps, checkpoint_bytes(context), spent=(price,) * len(fleet)
    )


def economics_of(
    job: Job[W],
    cluster: Cluster,
    price: Breakdown,
    steps: Num | None,
    written_bytes: float,
    updates: Num = 1.0,
    spent: Sequence[Breakdown] = (),
) -> Economics:
    """Price the run of a training job of any kind.

    Parameters
    ----------
    steps         : of the whole run, None where its length is not given
    written_bytes : what a checkpoint writes
    updates       : steps that one synchronous step's progress takes
    spent         : a step as the devices of each pool spend it, where the cluster has pools
    """
    failure, fleet = job.failure, cluster.each
    step_s, host = price.total_s, _host(job.failure, fleet)
    made = run(
        hosts=float(cluster.hosts),
        checkpoint_bytes=written_bytes,
        checkpoint_bytes_per_s=host.checkpoint_bytes_per_s,
        host_mtbf_s=host.mtbf_s,
        restart_s=host.restart_s,
        replacement_s=host.replacement_s,
        work_s=None if steps is None else steps * step_s,
        step_s=step_s,
        asynchronous=failure.checkpoint_async,
        checkpoint_interval_s=failure.checkpoint_interval_s,
        spare_hosts=float(failure.spare_nodes),
        preemption_mean_s=_given(failure.preemption_mean_s, np.inf),
        notice_s=_given(failure.notice_s, 0.0),
        confidence=job.constraints.confidence,
    )
    whole_s = step_s * updates if steps is None else steps * step_s / made.goodput
    finish_s = made.time_to_train_quantile_s
    longest_s = whole_s if finish_s is None else finish_s
    cost_usd: Num = 0.0
    finish_cost_usd: Num = 0.0
    energy_j: Num = 0.0
    for one, step in zip(fleet, spent or (price,), strict=True):
        spares = float(failure.spare_nodes) if one is fleet[0] else 0.0  # of the first pool
        host_devices = float(one.profile.host.devices)
        billed = energy.billed_devices(float(one.devices), host_devices, spares)
        rate = one.usd_per_device_hour
        cost_usd = cost_usd + energy.cost_usd(billed, whole_s, rate)
        finish_cost_usd = finish_cost_usd + energy.cost_usd(billed, longest_s, rate)
        each_j = _energy_j(one, step, made, steps, whole_s, billed)
        energy_j = energy_j + (each_j * updates if steps is None else each_j)
    return Economics(
        run=made,
        steps=steps,
        time_to_train_s=None if steps is None else whole_s,
        finish_s=finish_s,
        cost_usd=cost_usd,
        finish_cost_usd=finish_cost_usd,
        energy_j=energy_j,
    )


@dataclass(frozen=True, slots=True)
class _Host:
    """Figures of a host of the job: the job's own, else the profile's."""

    checkpoint_bytes_per_s: float
    mtbf_s: float
    restart_s: float
    replacement_s: float


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _host(failure: Failure, fleet: Sequence[Cluster]) -> _Host:
    """Return the figures of a host; of unlike pools the slowest, and the mean rate of failures.

    1 / mtbf = sum over pools of hosts / mtbf, over all hosts
    """
    each = [cluster.profile.reliability for cluster in fleet]
    mtbf_s = each[0].host_mtbf_s.value
    if len(fleet) > 1:
        failing = sum(c.hosts / r.host_mtbf_s.value for c, r in zip(fleet, each, strict=True))
        mtbf_s = sum(c.hosts for c in fleet) / failing
    return _Host(
        _given(failure.checkpoint_bytes_per_s, min(r.checkpoint_bytes_per_s.value for r in each)),
        _given(failure.node_mtbf_s, mtbf_s),
        _given(failure.restart_s, max(r.restart_s.value for r in each)),
        _given(failure.replacement_s, max(r.replacement_s.value for r in each)),
    )


def _energy_j(
    cluster: Cluster, spent: Breakdown, made: Run, steps: Num | None, whole_s: Num, billed: Num
) -> Num:
    """Energy of the devices of one kind: of a step, or of the run where it has steps."""
    power, devices = cluster.profile.power, float(cluster.devices)
    step_j = energy.step_energy_j(
        spent, devices, power.device_w.value, power.idle_w.value,
        power.host_w_per_device.value, power.overhead.value,
    )  # fmt: skip
    if steps is None:
        return step_j
    return energy.run_energy_j(
        step_j, steps, made.shares, whole_s, devices, billed - devices, power.idle_w.value,
        power.host_w_per_device.value, power.overhead.value,
    )  # fmt: skip


def checkpoint_bytes(context: Context) -> float:
    """Bytes of a checkpoint: 16-bit weights, fp32 masters and moments of what is trained.

    Frozen weights are read again from where they came and are not written.
    """
    trained = sum(block.count * block.weights(trainable=True) for block in context.graph.blocks)
    masters = 4.0 if context.switches.master_weights else 0.0
    return trained * (context.activation_bytes + masters + context.moment_bytes)
