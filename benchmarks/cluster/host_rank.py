"""What runs in a host: timed all-reduces, and a small data-parallel training step.

    python host_rank.py RANK HOSTS TASK      the task as JSON, see `Task`; prints `{name: seconds}`

One JAX process a host, one device each, joined by `jax.distributed` over the hosts' links (gloo).
Knows JAX; nothing of namespaces or of the planner.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["batch_step", "main", "parameter_count"]

PORT = 29700
LEAST, MOST = 3, 15
"""Repeats of one measurement: as many as fit its time, between these."""


def parameter_count(width: int, layers: int) -> int:
    """Parameters of the network that `batch_step` trains: square layers without biases."""
    return layers * width * width


def main() -> None:
    """Join the others, time what the task asks for, print the medians of this rank."""
    rank, hosts, task = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    import jax

    jax.config.update("jax_platforms", "cpu")
    if hosts > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"10.231.7.1:{PORT}", hosts, rank, initialization_timeout=60)
    timed: dict[str, Callable[[], object]] = {}
    for size in task.get("all_reduce_bytes", ()):
        timed[f"all_reduce {size}"] = all_reduce(size)
    for batch in task.get("batches", ()):
        shape = task["width"], task["layers"], batch // hosts
        timed[f"step {batch}"] = batch_step(*shape)
        timed[f"compute {batch}"] = batch_step(*shape, joined=False)
    for run in timed.values():
        jax.block_until_ready(run())
    if "SHARE" in os.environ:  # from here on; starting up is not measured and would take minutes
        Path(os.environ["SHARE"]).write_text("0")
    print(json.dumps({name: _median_s(run, task["limit_s"]) for name, run in timed.items()}))


def all_reduce(size: int) -> Callable[[], object]:
    """Return an all-reduce of `size` bytes of float32 over all hosts, ready to run."""
    import jax
    import numpy as np
    from jax.sharding import PartitionSpec as P

    mesh, spread = _mesh()
    mine = np.ones((1, size // 4), np.float32)
    data = jax.make_array_from_process_local_data(spread, mine)
    summed = jax.jit(
        jax.shard_map(lambda x: jax.lax.psum(x, "host"), mesh=mesh, in_specs=P("host"), out_specs=P())
    )
    return lambda: summed(data)


def batch_step(width: int, layers: int, batch: int, joined: bool = True) -> Callable[[], object]:
    """Return a training step: forward, backward, all-reduce of the gradients, update.

    Parameters
    ----------
    batch  : samples of this host
    joined : whether gradients are summed over the hosts; without, it is this host's compute
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import PartitionSpec as P

    mesh, spread = _mesh()

    def loss(weights: jax.Array, x: jax.Array) -> jax.Array:
        def layer(carried: jax.Array, weight: jax.Array) -> tuple[jax.Array, None]:
            return jax.nn.relu(carried @ weight), None

        return jnp.mean(jax.lax.scan(layer, x, weights)[0] ** 2)

    def step(weights: jax.Array, x: jax.Array) -> jax.Array:
        gradient = jax.grad(loss)(weights[0], x)
        if joined:
            gradient = jax.lax.psum(gradient, "host")
        return weights - 1e-3 * gradient[None]

    run = jax.jit(
        jax.shard_map(
            step, mesh=mesh, in_specs=(P("host"), P("host")), out_specs=P("host"), check_vma=False
        )
    )
    weights = np.full((1, layers, width, width), 1.0 / width, np.float32)
    x = np.ones((batch, width), np.float32)
    held = [jax.make_array_from_process_local_data(spread, each) for each in (weights, x)]
    return lambda: run(*held)


def _mesh() -> "tuple[jax.sharding.Mesh, jax.sharding.NamedSharding]":  # noqa: F821
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import numpy as np

    mesh = Mesh(np.array(jax.devices()), ("host",))
    return mesh, NamedSharding(mesh, PartitionSpec("host"))


def _median_s(run: Callable[[], object], limit_s: float) -> float:
    """Median over runs one after the other, which all hosts repeat equally often."""
    import jax
    import numpy as np

    def once() -> float:
        start = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start

    first = once()
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import broadcast_one_to_all

        first = float(broadcast_one_to_all(np.float32(first)))
    repeats = min(MOST, max(LEAST, int(limit_s / first)))
    return statistics.median(once() for _ in range(repeats))


if __name__ == "__main__":
    main()
