"""What is tried: meshes of one to three axes on the cluster, and microbatches of the batch."""

from collections.abc import Iterator

from planner.cluster import Cluster

__all__ = ["MOST_PASSES", "degrees", "passes"]

TWO_AXES, THREE_AXES = 6, 2
"""Meshes of two and of three axes that are tried at most: each takes a solve."""
MOST_PASSES = 12
"""Numbers of microbatches tried for a mesh, at most."""


def degrees(cluster: Cluster) -> list[dict[str, int]]:
    """List meshes, axes innermost first: x on the nearest devices, then y, then z.

    The boundaries of the network's levels come first, then splits near them. Of more than the
    most that are tried, those farthest from a boundary are left out.
    """
    whole = cluster.devices
    if whole == 1:
        return [{}]
    edges = [level.devices for level in cluster.levels if level.devices < whole]
    edges = edges or [max(1, round(whole**0.5))]
    splits = [a for a in _divisors(whole) if 1 < a < whole]
    splits.sort(key=lambda a: (min(_apart(a, edge) for edge in edges), -a))
    made = [{"x": whole}]
    made += [{"x": a, "y": whole // a} for a in splits[:TWO_AXES]]
    inside = [
        {"x": a, "y": split // a, "z": whole // split}
        for split in splits[:2]
        for a in reversed(_divisors(split))
        if 1 < a < split
    ]
    return made + inside[:THREE_AXES]


def _apart(one: int, other: int) -> float:
    return max(one, other) / min(one, other)


def _divisors(count: int) -> list[int]:
    small = [d for d in range(1, int(count**0.5) + 1) if count % d == 0]
    return sorted({*small, *(count // d for d in small)})


def passes(global_batch: int) -> Iterator[int]:
    """Yield numbers of microbatches: divisors of the batch, each at least twice the one before."""
    last, count = 0, 0
    for each in _divisors(global_batch):
        if each >= 2 * last and count < MOST_PASSES:
            yield each
            last, count = each, count + 1
