"""Programs that keep devices at work: a kernel run again and again on all of them at once.

A benchmark gives a kernel, a function of one device's arrays. Here it is put on every device and
repeated inside one compiled program (`planner.check.turns`), so that a sample is well above the
cost of a launch.

Parts: `Kernel`, `DTYPES`, `mesh_of`, `on_devices`, `placed`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import DTypeLike, NDArray

__all__ = ["DTYPES", "Kernel", "mesh_of", "on_devices", "placed"]

DTYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16}
AXIS = "device"


@dataclass(frozen=True)
class Kernel:
    """What one device does.

    Parameters
    ----------
    run         : arrays of one device to its results
    shapes      : of the arrays
    dtype       : of the arrays
    flop, bytes : about what it computes and moves, to choose how often to repeat it
    """

    run: Callable[..., object]
    shapes: Sequence[tuple[int, ...]]
    dtype: DTypeLike
    flop: float = 0.0
    bytes: float = 0.0

    @property
    def held_bytes(self) -> float:
        """Bytes of the arrays and about as much again for results."""
        elements = sum(math.prod(shape) for shape in self.shapes)
        return 2.0 * float(jnp.dtype(self.dtype).itemsize) * elements


def mesh_of(devices: Sequence[object]) -> Mesh:
    """Return the line of these devices."""
    return Mesh(np.array(devices), (AXIS,))


def on_devices(run: Callable[..., object], mesh: Mesh, arrays: int) -> Callable[..., object]:
    """Compile a function of one device's arrays for all devices of a mesh."""
    spec = PartitionSpec(mesh.axis_names)
    specs = (spec,) * arrays
    return jax.jit(jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=spec, check_vma=False))


def placed(kernel: Kernel, mesh: Mesh) -> list[jax.Array]:
    """Put random arrays on every device, scaled so that products keep their size."""
    random = np.random.default_rng(0)
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return [_everywhere(kernel, shape, random, sharding, mesh.size) for shape in kernel.shapes]


def _everywhere(
    kernel: Kernel, shape: tuple[int, ...], random: np.random.Generator,
    sharding: NamedSharding, devices: int,
) -> jax.Array:  # fmt: skip
    """Put the same random array on every device."""
    scaled = random.standard_normal(shape, np.float32) * shape[-1] ** -0.5
    one: NDArray[np.generic] = scaled.astype(kernel.dtype)

    def part(_: object) -> NDArray[np.generic]:
        return one

    whole = (devices * shape[0], *shape[1:])
    made: jax.Array = jax.make_array_from_callback(whole, sharding, part)
    return made
