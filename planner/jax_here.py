"""JAX on this machine: whether it is installed, a processor's devices, other work beside it.

Imports nothing heavy: what must be settled before JAX is imported is settled here.

Parts: `DEVICES`, `need_jax`, `need_module`, `divide`, `divided`; `first_line`, `out_of_memory`, of
its errors; `load_per_core`, `busy`.
"""

import importlib.util
import os
from collections.abc import Mapping, MutableMapping

from planner.errors import SpecError

__all__ = [
    "DEVICES", "busy", "divide", "divided", "first_line", "load_per_core", "need_jax",
    "need_module", "out_of_memory",
]  # fmt: skip

DEVICES = 8
"""Devices that a processor is divided into where nobody says, all processes of a host together."""
_MOST = 64
_FLAG = "--xla_force_host_platform_device_count"
_MOST_CHARACTERS = 200
_BUSY_LOAD = 0.5
"""Processes waiting for each core, from which a machine is busy."""


def need_jax() -> None:
    """Refuse where JAX is not installed.

    Raises
    ------
    SpecError : it is not
    """
    need_module("jax", "sixfold[jax]", "this command runs on JAX")


def need_module(module: str, extra: str, why: str, key: str = "") -> None:
    """Refuse where a module is not installed; `why` it is needed, and the extra that brings it.

    Raises
    ------
    SpecError : it is not
    """
    parent = module.partition(".")[0]
    find = importlib.util.find_spec
    if find(parent) is None or find(module) is None:
        raise SpecError(f"{why}; {module} is not installed: pip install '{extra}'", key=key)


def divide(
    count: int | None, processes: int = 1, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Have JAX divide a processor into `count` devices; accelerators are left as they are.

    Before JAX is imported. Flags that the user has set himself stay.

    Parameters
    ----------
    count     : devices of this process; None: its part of DEVICES
    processes : of the job on this host

    Raises
    ------
    SpecError : `count` is not from 1 to 64, or the user's own flag says another
    """
    if count is not None and not 1 <= count <= _MOST:
        raise SpecError(f"from 1 to {_MOST} (is {count})", key="--devices")
    flags = environment.get("XLA_FLAGS", "")
    if divided(environment):
        if count is not None and f"{_FLAG}={count}" not in flags.split():
            raise SpecError(f"XLA_FLAGS sets {_FLAG} already", key="--devices")
        return
    count = count or max(1, DEVICES // max(1, processes))
    environment["XLA_FLAGS"] = f"{flags} {_FLAG}={count}".strip()


def divided(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether flags say already how a processor is divided."""
    return _FLAG in environment.get("XLA_FLAGS", "")


def first_line(error: Exception) -> str:
    """Return what an error of JAX says first; the rest is a trace of its own insides."""
    return (str(error).splitlines() or [type(error).__name__])[0][:_MOST_CHARACTERS]


def out_of_memory(error: Exception) -> bool:
    """Whether an error of JAX says that memory ran out."""
    line = first_line(error)
    return "RESOURCE_EXHAUSTED" in line or "out of memory" in line.lower()


def load_per_core() -> float:
    """Return how many processes wanted each core in the last minute; 0 where nobody counts."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def busy(load: float) -> str:
    """Say that a machine had other work, by its load before the start; nothing if it had none."""
    return f"{load:.1f} processes wanted each core before it began" if load > _BUSY_LOAD else ""
