"""From the step to the run: failures, checkpoints, time to train, money, energy.

Joins the price of a step with the job's failure section and the machine's figures. Knows the
run; every formula is in `costmodels.run`, `costmodels.reliability` and `costmodels.energy`.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from costmodels import energy
from costmodels.breakdown import Breakdown
from costmodels.run import Run, run
from costmodels.units import Num
from planner.cluster import Cluster
from planner.dims import ParallelDims
from planner.job import Job
from planner.workloads.training.context import Context
from planner.workloads.training.learning import updates_factor
from planner.workloads.training.spec import TrainingSpec

__all__ = ["Economics", "economics", "economics_of"]

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
    return economics_of(job, context.cluster, price, steps, checkpoint_bytes(context), updates)


def economics_of(
    job: Job[W],
    cluster: Cluster,
    price: Breakdown,
    steps: Num | None,
    written_bytes: float,
    updates: Num = 1.0,
) -> Economics:
    """Price the run of a training job of any kind.

    Parameters
    ----------
    steps         : of the whole run, None where its length is not given
    written_bytes : what a checkpoint writes
    updates       : steps that one synchronous step's progress takes
    """
    failure, profile = job.failure, cluster.profile
    reliability, power = profile.reliability, profile.power
    step_s = price.total_s

    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    hosts = float(cluster.hosts)
    made = run(
        hosts=hosts,
        checkpoint_bytes=written_bytes,
        checkpoint_bytes_per_s=given(
            failure.checkpoint_bytes_per_s, reliability.checkpoint_bytes_per_s.value
        ),
        host_mtbf_s=given(failure.node_mtbf_s, reliability.host_mtbf_s.value),
        restart_s=given(failure.restart_s, reliability.restart_s.value),
        replacement_s=given(failure.replacement_s, reliability.replacement_s.value),
        work_s=None if steps is None else steps * step_s,
        step_s=step_s,
        asynchronous=failure.checkpoint_async,
        checkpoint_interval_s=failure.checkpoint_interval_s,
        spare_hosts=float(failure.spare_nodes),
        preemption_mean_s=given(failure.preemption_mean_s, np.inf),
        notice_s=given(failure.notice_s, 0.0),
        confidence=job.constraints.confidence,
    )
    billed = energy.billed_devices(
        float(cluster.devices), float(profile.host.devices), float(failure.spare_nodes)
    )
    whole_s = step_s * updates if steps is None else steps * step_s / made.goodput
    finish_s = made.time_to_train_quantile_s
    step_j = energy.step_energy_j(
        price, float(cluster.devices), power.device_w.value, power.idle_w.value,
        power.host_w_per_device.value, power.overhead.value,
    )  # fmt: skip
    energy_j = step_j * updates
    if steps is not None:
        energy_j = energy.run_energy_j(
            step_j, steps, made.shares, whole_s, float(cluster.devices),
            billed - float(cluster.devices), power.idle_w.value,
            power.host_w_per_device.value, power.overhead.value,
        )  # fmt: skip
    rate = cluster.usd_per_device_hour
    return Economics(
        run=made,
        steps=steps,
        time_to_train_s=None if steps is None else whole_s,
        finish_s=finish_s,
        cost_usd=energy.cost_usd(billed, whole_s, rate),
        finish_cost_usd=energy.cost_usd(billed, whole_s if finish_s is None else finish_s, rate),
        energy_j=energy_j,
    )


def checkpoint_bytes(context: Context) -> float:
    """Bytes of a checkpoint: 16-bit weights, fp32 masters and moments of what is trained.

    Frozen weights are read again from where they came and are not written.
    """
    trained = sum(block.count * block.weights(trainable=True) for block in context.graph.blocks)
    masters = 4.0 if context.switches.master_weights else 0.0
    return trained * (context.activation_bytes + masters + context.moment_bytes)
