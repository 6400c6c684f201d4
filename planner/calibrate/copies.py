"""Copies between the host and its devices, all of a process at once.

Parts: `KINDS`, `call`.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from planner.calibrate.points import Point

__all__ = ["KINDS", "call"]

KINDS = ("to device", "from device")


def call(point: Point, devices: Sequence[object]) -> Callable[[int], None]:
    """Return what copies `bytes` to, or from, each of the devices a number of times."""
    elements = point.sizes["bytes"] // 4
    here = [np.ones(elements, np.float32) for _ in devices]

    def to_device(runs: int) -> None:
        for _ in range(runs):
            jax.block_until_ready(jax.device_put(here, list(devices)))

    def from_device(runs: int) -> None:
        for _ in range(runs):
            # a result that was never on the host: what was copied before is not kept in between
            there = [array + 1.0 for array in away]
            jax.block_until_ready(there)
            for array in there:
                array.copy_to_host_async()
            for array in there:
                np.asarray(array)

    away = jax.device_put(here, list(devices))
    return to_device if point.kind == "to device" else from_device
