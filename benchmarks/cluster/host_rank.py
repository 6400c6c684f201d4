"""What runs in a host: timed all-reduces, and the real training step of a plan.

    python host_rank.py RANK HOSTS TASK   a JSON file (`task`); prints `{name: seconds}`

One JAX process a host, one device each, joined by `jax.distributed` over the hosts' links (gloo).
Knows JAX; nothing of namespaces or of the planner.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

__all__ = ["all_reduce", "main", "train_step"]

PORT = 29700
LEAST, MOST = 3, 15
"""Repeats of one measurement: as many as fit its time, between these."""


def main() -> None:
    """Join the others, time what the task asks for, print the medians of this rank."""
    rank, hosts = int(sys.argv[1]), int(sys.argv[2])
    task = json.loads(Path(sys.argv[3]).read_text())
    import jax

    jax.config.update("jax_platforms", "cpu")
    if hosts > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"10.231.7.1:{PORT}", hosts, rank, initialization_timeout=60)
    timed: dict[str, Callable[[], object]] = {}
    for size in task.get("all_reduce_bytes", ()):
        timed[f"all_reduce {size}"] = all_reduce(size)
    for name, plan in task.get("plans", {}).items():
        timed[name] = train_step(plan)
    for run in timed.values():
        jax.block_until_ready(run())
    if "SHARE" in os.environ:  # from here on, this host has its share of the processor
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

    def reduced(x: jax.Array) -> jax.Array:
        return jax.lax.psum(x, "host")

    summed = jax.jit(jax.shard_map(reduced, mesh=mesh, in_specs=P("host"), out_specs=P()))
    return lambda: summed(data)


def train_step(plan: Mapping[str, object]) -> Callable[[], object]:
    """Return the plan's own training step over all hosts (see `planner.check`), ready to run.

    The loss is not asked for, as most steps of a run do not: adding up one number costs as many
    latencies as adding up the gradients, and plans do not count it.
    """
    import jax

    from planner.check.step import build

    step = build(plan, jax.devices())
    state, batch = jax.tree_util.tree_map_with_path(_filled, step.arguments)
    updated = jax.jit(lambda *given: step.run(*given)[0], donate_argnums=0)

    def run() -> object:
        nonlocal state
        state = updated(state, batch)
        return state

    return run


def _filled(path: tuple[object, ...], like: "jax.ShapeDtypeStruct") -> "jax.Array":
    """Make an array of the step without a word to other hosts: weights alike, all else nothing."""
    import jax
    import numpy as np

    value = 0.02 if "parameters" in jax.tree_util.keystr(path) else 0

    def shard(index: tuple[slice, ...]) -> np.ndarray:
        sizes = [len(range(n)[part]) for part, n in zip(index, like.shape, strict=True)]
        return np.full(sizes, value, like.dtype)

    return jax.make_array_from_callback(like.shape, like.sharding, shard)


def _mesh() -> "tuple[jax.sharding.Mesh, jax.sharding.NamedSharding]":
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

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
