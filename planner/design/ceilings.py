"""What one machine can and cannot do: the three ceilings of a job, computed, not asked for.

A ceiling sets what the job needs against what one machine has. The model is held by the memory of
one device, the run must end within the user's patience on one machine, and the corpus must lie in
one machine. Other kinds of job bring a function like `of_training`; what reads `Ceilings` stays.
Knows a job and one machine; no plan and no network.

Parts: `Ceiling`, `Ceilings`, `RunLength`, `of_training`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from costmodels.units import DAY_S
from planner.cluster.choices import cluster_of
from planner.dims import ALL_LAYERS, CODES, ParallelDims
from planner.job import Job
from planner.models.count import count
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["PATIENCE_S", "Ceiling", "Ceilings", "RunLength", "of_training"]

PATIENCE_S = 30.0 * DAY_S
"""How long a run may take where the job gives no deadline: 30 days (assumed)."""
TOKEN_BYTES = 4.0
"""Bytes of a token on disk: a 32-bit index."""
DISK_BYTES_PER_DEVICE = 3.84e12
"""Local disk of a machine, per device (assumed for every machine: the DGX H100's 8 x 3.84 TB)."""
TOKENS_PER_PARAMETER = 20.0
"""Length of a pretraining run that gives none (Hoffmann et al. 2022, for dense models)."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One resource: what the job needs and what there is, in the unit that `unit` names."""

    name: str
    need: float
    have: float
    unit: str

    @property
    def times(self) -> float:
        """Needs over what there is."""
        return self.need / self.have

    @property
    def binds(self) -> bool:
        """Whether the job needs more than there is."""
        return self.need > self.have

    @property
    def pressure(self) -> float:
        """Return 1 - have / need, at least 0: the share of the need that one cannot give."""
        return max(0.0, 1.0 - self.have / self.need) if self.need > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RunLength:
    """Tokens of the run and how they are known; None: not known."""

    tokens: float | None
    because: str


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The ceilings of a job and the figures behind them.

    Parameters
    ----------
    model          : bytes on one device against its limit
    throughput     : seconds of the run on one machine against deadline or patience
    data           : bytes of the corpus against one machine's memory and disk
    patience       : in words, where the seconds allowed come from
    device_run_s   : seconds of the run on one device, at the rate of large matrix products; of one
                     token where only a token rate is asked for
    memory_bytes   : the machine's own memory, without its disk
    machine_devices : devices of one machine
    devices_needed : fewest that could hold the model and end in time, all else free
    """

    model: Ceiling
    throughput: Ceiling
    data: Ceiling
    run: RunLength
    patience: str
    device_run_s: float
    memory_bytes: float
    machine_devices: int
    devices_needed: int

    @property
    def binding(self) -> tuple[Ceiling, ...]:
        """Those that bind, the most exceeded first."""
        bound = (c for c in (self.throughput, self.model, self.data) if c.binds)
        return tuple(sorted(bound, key=lambda c: -c.times))


def of_training(job: Job[TrainingSpec], context: training.Context) -> Ceilings:
    """Compute the ceilings of a training job against one device and one machine of its kind.

        model       least bytes of a plan on one device     against  memory_bytes (1 - reserve)
        throughput  tokens * FLOP per token / (devices * rate)  against  deadline, else 30 days
        data        4 bytes a token                         against  memory and disk of a machine

    Notes
    -----
    The rate is what large matrix products reach on the chip, so the time is the least that the
    run can take. Where tokens are not given, a pretraining run is taken as 20 tokens for each
    active parameter; of other tasks neither time nor data are judged, but for a token rate that
    the job asks for. Offloading could hold a model that this calls too large for a device.
    """
    profile = context.cluster.profile
    machine = profile.host.devices
    run = _run_length(job)
    tokens, have_s, patience = _patience(job, run)
    device_s = tokens * context.graph.flop_per_token() / context.rates.matmul.flop_per_s
    memory_bytes = profile.host.memory_bytes_per_device.value * machine
    model = Ceiling("model", _least_bytes(job, context), context.memory_limit_bytes, "bytes")
    throughput = Ceiling("throughput", device_s / machine, have_s, "s")
    data = Ceiling(
        "data",
        (run.tokens or 0.0) * TOKEN_BYTES,
        memory_bytes + machine * DISK_BYTES_PER_DEVICE,
        "bytes",
    )
    return Ceilings(
        model=model,
        throughput=throughput,
        data=data,
        run=run,
        patience=patience,
        device_run_s=device_s,
        memory_bytes=memory_bytes,
        machine_devices=machine,
        devices_needed=max(
            1,
            math.ceil(model.times),
            math.ceil(throughput.times * machine),
            math.ceil(data.times) * machine if data.binds else 1,
        ),
    )


def _run_length(job: Job[TrainingSpec]) -> RunLength:
    spec = job.workload
    if spec.tokens is not None:
        return RunLength(spec.tokens, "the job's tokens")
    if spec.task == "pretrain":
        tokens = TOKENS_PER_PARAMETER * count(spec.model).active
        return RunLength(tokens, "assumed: 20 tokens for each active parameter, none are given")
    return RunLength(None, "not given")


def _patience(job: Job[TrainingSpec], run: RunLength) -> tuple[float, float, str]:
    """Return tokens to process, the seconds that they may take, and who says so.

    A token rate that is asked for is judged by itself, on one token, where the run's length is
    not known; else the stricter of the two holds.
    """
    rate = job.constraints.min_tokens_per_s
    if run.tokens is None:
        told = "what the token rate asked for allows"
        return (1.0, 1.0 / rate, told) if rate else (0.0, PATIENCE_S, "not judged")
    deadline_s = job.constraints.deadline_s
    have_s, told = PATIENCE_S, "a patience of 30 days, assumed"
    if deadline_s is not None:
        have_s, told = deadline_s, "the deadline"
    if rate is not None and run.tokens / rate < have_s:
        have_s, told = run.tokens / rate, "what the token rate asked for allows"
    return run.tokens, have_s, told


def _least_bytes(job: Job[TrainingSpec], context: training.Context) -> float:
    """Bytes of the most frugal plan on one device: one sequence at a time, best recomputation."""
    one = cluster_of(job.hardware.model_copy(update={"slice": None}), context.cluster.profile, 1)
    modes = context.stack.supports.recompute
    ones = dict.fromkeys(
        ("devices", "tp", "cp", "pp", "vpp", "dp", "ep", "etp", "zero_group", "micro_batch"), 1.0
    )
    dims = ParallelDims.from_columns(
        {
            **ones,
            **dict.fromkeys(("sp", "cp_comm", "zero", "offload"), 0.0),
            "schedule": float(CODES["schedule"].index("1f1b")),
            "microbatches": float(job.workload.global_batch),
            "recompute": np.array([float(CODES["recompute"].index(mode)) for mode in modes]),
            "recompute_layers": ALL_LAYERS,
        }
    )
    used = training.memory_of(replace(context, cluster=one), dims).total_bytes
    return float(np.min(np.asarray(used)))
