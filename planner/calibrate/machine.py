"""What JAX found on this machine: devices, processes, hosts.

Parts: `Machine`, `discover`.
"""

import json
import os
import platform
import socket
from dataclasses import asdict, dataclass

import jax
import numpy as np

from planner.calibrate.launch import everywhere
from planner.errors import SpecError
from planner.jax_here import first_line

__all__ = ["Machine", "discover"]

_NAME_BYTES = 64
_SPARE_BYTES = 2e9
"""Left for the system and the programs where a processor's memory is shared by its devices."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a calibration runs on.

    Parameters
    ----------
    backend      : cpu, gpu, tpu: as JAX names it
    device_kind  : as JAX names the chip
    local        : devices of a process
    processes    : of a host
    hosts        : that the processes run on
    memory_bytes : that one device can hold
    cores        : of the host
    versions     : of JAX and of the backend
    """

    backend: str
    device_kind: str
    processor: str
    local: int
    processes: int
    hosts: int
    memory_bytes: float
    host_memory_bytes: float
    cores: int
    versions: str

    @property
    def devices(self) -> int:
        """Devices of all hosts."""
        return self.local * self.processes * self.hosts

    @property
    def host_devices(self) -> int:
        """Devices of one host."""
        return self.local * self.processes

    @property
    def key(self) -> str:
        """Name of the machine in a journal."""
        return json.dumps(asdict(self), sort_keys=True)


def discover() -> Machine:
    """Ask JAX, and the other processes, what there is.

    Raises
    ------
    SpecError : JAX offers no backend, or hosts and processes are not alike
    """
    try:
        local = jax.local_devices()
    except RuntimeError as error:
        raise SpecError(f"JAX offers no backend: {first_line(error)}") from None
    names = everywhere(_named(socket.gethostname()))
    counts = everywhere(np.array([len(local)]))
    _, processes = np.unique(names, axis=0, return_counts=True)
    if len(set(processes.tolist())) > 1 or len(set(counts.ravel().tolist())) > 1:
        raise SpecError(
            f"hosts must have as many processes each, and processes as many devices: processes by"
            f" host {processes.tolist()}, devices by process {counts.ravel().tolist()}"
        )
    host_bytes = _host_memory_bytes()
    held = _device_memory_bytes(local[0])
    on_host = len(local) * int(processes[0])
    return Machine(
        backend=local[0].platform,
        device_kind=local[0].device_kind,
        processor=_processor(),
        local=len(local),
        processes=int(processes[0]),
        hosts=len(processes),
        memory_bytes=held or max(0.0, host_bytes - _SPARE_BYTES) / on_host,
        host_memory_bytes=host_bytes,
        cores=_cores(),
        versions=f"jax {jax.__version__}, {local[0].client.platform_version.splitlines()[0]}",
    )


def _cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _named(name: str) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    """Return a host name as numbers, to be sent round."""
    data = name.encode()[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")
    return np.frombuffer(data, np.uint8).astype(np.int32)


def _device_memory_bytes(device: "jax.Device") -> float:
    """Bytes that a device says it can hold; 0 where it does not say."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    return float((stats or {}).get("bytes_limit", 0.0))


def _host_memory_bytes() -> float:
    if not hasattr(os, "sysconf"):
        return 8e9
    return float(os.sysconf("SC_PAGE_SIZE")) * float(os.sysconf("SC_PHYS_PAGES"))


def _processor() -> str:
    """Name of the processor, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        named = []
    return named[0] if named else platform.processor() or platform.machine()
