"""What must be there before JAX is imported: JAX itself, and as many devices as asked for.

Imports nothing heavy. Parts: `need_jax`, `set_devices`.
"""

import importlib.util
import os
from collections.abc import MutableMapping

from planner.errors import SpecError

__all__ = ["DEVICES", "need_jax", "set_devices"]

DEVICES = 8
"""Devices that a processor is divided into where nobody says, all processes of a host together."""
_MOST = 64
_FLAG = "--xla_force_host_platform_device_count"


def need_jax() -> None:
    """Refuse where JAX is not installed.

    Raises
    ------
    SpecError : it is not
    """
    if importlib.util.find_spec("jax") is None:
        raise SpecError("this command runs on JAX, which is not here: pip install 'sixfold[jax]'")


def set_devices(
    count: int | None, processes: int, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Have JAX divide a processor into `count` devices; accelerators are left as they are.

    Before JAX is imported. Flags that the user has set himself stay.

    Raises
    ------
    SpecError : `count` is not from 1 to 64
    """
    if count is not None and not 1 <= count <= _MOST:
        raise SpecError(f"from 1 to {_MOST} (is {count})", key="--devices")
    flags = environment.get("XLA_FLAGS", "")
    if _FLAG in flags:
        if count is not None:
            raise SpecError(f"XLA_FLAGS sets {_FLAG} already", key="--devices")
        return
    count = count or max(1, DEVICES // max(1, processes))
    environment["XLA_FLAGS"] = f"{flags} {_FLAG}={count}".strip()
