"""Join the processes of a job, and talk among them.

`jax.distributed` finds its way under Slurm, Open MPI, Kubernetes and on TPU pods by itself; by
hand, a coordinator's address, the number of processes and this one's number say the same, as
options or in the variables that JAX reads. One process alone needs none of it.

Parts: `Joining`, `join`, `everywhere`, `largest`, `alone`, `is_first`, `meet`.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from planner.errors import SpecError
from planner.jax_here import first_line

__all__ = ["Joining", "everywhere", "is_first", "join", "largest", "meet"]

_HEARTBEAT_S = 20
_START_S = 120
# Variables by which launchers that JAX knows tell a process that it is one of several.
_SEVERAL = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "JAX_NUM_PROCESSES")
_KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")


@dataclass(frozen=True, slots=True)
class Joining:
    """Who the processes are, where a launcher does not say: all three, or none."""

    coordinator: str | None = None
    processes: int | None = None
    process_id: int | None = None

    @property
    def given(self) -> bool:
        """Whether the user says it."""
        return self.coordinator is not None


def join(how: Joining, environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes, where there are any; SIGTERM still ends each of them.

    Raises
    ------
    SpecError : the options do not go together, or the others cannot be reached
    """
    parts = (how.coordinator, how.processes, how.process_id)
    if any(p is not None for p in parts) and any(p is None for p in parts):
        raise SpecError("--coordinator, --processes and --process-id go together: give all three")
    last = (how.processes or 1) - 1
    if not 0 <= (how.process_id or 0) <= last:
        raise SpecError(f"is from 0 to {last} (is {how.process_id})", key="--process-id")
    if not how.given and not several(environment):
        return
    at_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        jax.distributed.initialize(
            how.coordinator, how.processes, how.process_id,
            initialization_timeout=_START_S, heartbeat_timeout_seconds=_HEARTBEAT_S,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        said = first_line(error)
        raise SpecError(f"the processes of the job did not find each other: {said}") from None
    signal.signal(signal.SIGTERM, at_sigterm)  # JAX takes it for a notice and goes on


def several(environment: Mapping[str, str]) -> bool:
    """Whether a launcher says that there are several processes."""
    if any(environment.get(name, "1") not in ("", "1") for name in _SEVERAL):
        return True
    return "JAX_COORDINATOR_ADDRESS" in environment or all(
        name in environment for name in _KUBERNETES
    )


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return bool(jax.process_index() == 0)


def everywhere(values: "NDArray[np.generic]") -> "NDArray[np.generic]":
    """Return what every process holds, one row a process."""
    if jax.process_count() == 1:
        return np.asarray(values)[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(values)))


def largest(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the largest over all processes, one by one."""
    nanoseconds = np.round(np.asarray(values) * 1e9).astype(np.int64)
    high, low = nanoseconds >> 30, nanoseconds & ((1 << 30) - 1)
    pairs = everywhere(np.stack([high, low]).astype(np.int32)).astype(np.int64)
    return np.asarray(((pairs[:, 0] << 30) + pairs[:, 1]).max(axis=0) / 1e9)


def meet(name: str) -> None:
    """Wait for all processes."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
