"""What memory costs that a program did not hold before: results in new pages, against kept ones.

A processor's allocator gives large arrays back when they are let go, and the system clears every
page that is asked for anew. Accelerators keep their memory: there both take as long.

Parts: `KINDS`, `BYTES`, `call`, `rate`.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from planner.calibrate.programs import Kernel, mesh_of, placed

__all__ = ["BYTES", "KINDS", "call", "rate"]

KINDS = ("new memory", "kept memory")
BYTES = 1 << 26
"""Of an array: larger than what allocators keep (glibc: up to 32 MiB)."""
_WIDTH = 1024
_TELLING = 0.25
"""Share of a copy's time from which new memory is a cost of its own."""


def call(kind: str, size: int, devices: Sequence[object]) -> Callable[[int], None]:
    """Return what adds a number to an array on every device, into new memory or its own."""
    mesh = mesh_of(devices)
    (held,) = placed(Kernel(lambda x: x, [(size // 4 // _WIDTH, _WIDTH)], jnp.float32), mesh)
    run = jax.jit(lambda x: x + 1.0, donate_argnums=(0,) if kind == "kept memory" else ())

    def added(runs: int) -> None:
        nonlocal held
        for _ in range(runs):
            held = jax.block_until_ready(run(held))

    return added


def rate(seconds: Mapping[str, float], size: float) -> float | None:
    """Bytes a second at which a device gets new memory; None where it costs nothing to speak of."""
    new_s, kept_s = (seconds[kind] for kind in KINDS)
    more_s = new_s - kept_s
    return size / more_s if more_s > _TELLING * kept_s else None
