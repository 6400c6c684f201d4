"""What it costs to start a program on devices: one that does next to nothing, one after another.

Parts: `call`.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from planner.calibrate.programs import Kernel, mesh_of, on_devices, placed

__all__ = ["call"]


def call(devices: Sequence[object]) -> Callable[[int], None]:
    """Return what starts a program a number of times, and waits for each."""
    mesh = mesh_of(devices)
    kernel = Kernel(lambda x: x + 1.0, [(8,)], jnp.float32)
    run, arrays = on_devices(kernel.run, mesh, 1), placed(kernel, mesh)

    def started(runs: int) -> None:
        for _ in range(runs):
            jax.block_until_ready(run(*arrays))

    return started
