"""Which clusters a job may run on: its systems crossed with its device counts, or its pools.

Knows the job's hardware section and the profiles; prices nothing.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from hardware_profiles.load import load, with_overrides
from hardware_profiles.schema import HardwareProfile
from planner.cluster import Cluster, Level, build, joined
from planner.cluster.torus import CUBE, has_slice
from planner.errors import SpecError
from planner.job import DeviceRange, Hardware, Pool

__all__ = ["between", "cluster_of", "clusters", "counts_between", "pool_cluster"]

MANY = 1 << 20
"""Devices enough for a profile's network to show its outermost level."""

MOST_BETWEEN = 12
"""Device counts tried between the fewest that do and the next fewer that do not."""
STEPS = (1.0, 1.25, 1.5, 1.75)
"""Counts tried in every octave of a range, in multiples of its power of two."""


def clusters(hardware: Hardware) -> list[Cluster]:
    """List every cluster that the job allows: systems in order, counts ascending.

    Raises
    ------
    SpecError : the job's own network levels do not hold its devices
    """
    made = []
    for system in hardware.systems:
        profile = with_overrides(load(system), hardware.set.given())
        counts = _counts(hardware, profile)
        _check_levels(hardware, max(counts))
        made += [cluster_of(hardware, profile, count) for count in counts]
    return made


def _check_levels(hardware: Hardware, most: int) -> None:
    """Refuse more devices than the outermost level holds: nothing says what would join them."""
    if not hardware.levels:
        return
    outermost = hardware.levels[-1]
    held = outermost.usable or outermost.devices
    if most > held:
        raise SpecError(
            f"the outermost level, {outermost.name}, holds {held} of {most} devices; give the"
            " level that joins several of them, such as sites: devices of all, bytes_per_s of each",
            key="hardware.levels",
        )


def cluster_of(hardware: Hardware, profile: HardwareProfile, devices: int) -> Cluster:
    """Build the cluster of one profile and count, with the job's levels, slice and price."""
    levels: list[Mapping[str, float | int | str | None]] = [
        {
            "name": level.name,
            "devices": level.usable or level.devices,
            "bytes_per_s": level.bytes_per_s,
            "latency_s": level.latency_s,
        }
        for level in hardware.levels
    ]
    return build(
        profile,
        devices,
        levels=levels,
        slice_topology=_slice(hardware, profile),
        usd_per_device_hour=hardware.usd_per_device_hour,
    )


def pool_cluster(hardware: Hardware, pools: Sequence[Pool]) -> Cluster:
    """Build the cluster that joins some of the job's pools; of one pool, that pool's own.

    Between pools data crosses the outermost level: of the job's own `hardware.levels`, else of
    each pool's profile. A pool's devices send at the same time, each its share of its member of
    that level; the pool that sends least sets the rate, and the longest latency counts.

    Raises
    ------
    SpecError : the job's own network levels do not hold all devices
    """
    _check_levels(hardware, sum(pool.devices for pool in pools))
    made, latencies = [], []
    for pool in pools:
        own = hardware.of_pool(pool)
        profile = with_overrides(load(pool.system), pool.set.given())
        out = _outermost(own, profile)
        rate = out.bytes_per_s / out.inside
        cluster = cluster_of(own, profile, pool.devices)
        made.append(dataclasses.replace(cluster, name=pool.name, out_bytes_per_s=rate))
        latencies.append(cluster.send_start_s + out.send_s)
    return made[0] if len(made) == 1 else joined(made, max(latencies))


def _outermost(hardware: Hardware, profile: HardwareProfile) -> Level:
    """Outermost level of the job's own network, or of a profile's that has all its levels."""
    many = hardware.levels[-1].devices if hardware.levels else MANY
    return cluster_of(hardware, profile, many).levels[-1]


def _slice(hardware: Hardware, profile: HardwareProfile) -> tuple[int, ...]:
    if hardware.slice is None:
        return ()
    dims = profile.network[0].torus_dims or len(hardware.slice.axes)
    return (*hardware.slice.axes, *(1,) * (dims - len(hardware.slice.axes)))


def _counts(hardware: Hardware, profile: HardwareProfile) -> list[int]:
    devices = hardware.devices
    if isinstance(devices, DeviceRange):
        made = counts_between(devices.min, devices.max, _node(hardware, profile))
        whole = [count for count in made if has_slice(profile, count)]
        return whole or made
    if isinstance(devices, int):
        return [devices]
    if devices is None:
        assert hardware.slice is not None
        return [hardware.slice.devices]
    return sorted(set(devices))


def _node(hardware: Hardware, profile: HardwareProfile) -> int:
    """Devices that a count is a multiple of: of a node, or of a slice that is a whole cube."""
    if hardware.levels:
        return hardware.levels[0].usable or hardware.levels[0].devices
    inner = profile.network[0]
    return (inner.devices or 1) if inner.torus_dims is None else CUBE


def between(hardware: Hardware, system: str, tried: Sequence[int], enough: int) -> list[int]:
    """Return counts between the fewest that do and the next fewer tried: whole nodes or slices.

    Parameters
    ----------
    tried  : counts of the system
    enough : the fewest of them that do
    """
    profile = with_overrides(load(system), hardware.set.given())
    node = _node(hardware, profile)
    below = max((count for count in tried if count < enough), default=enough)
    counts = [n for n in range(enough - node, below, -node) if has_slice(profile, n)]
    return sorted(counts[:: max(1, len(counts) // MOST_BETWEEN)])


def counts_between(least: int, most: int, node: int) -> list[int]:
    """Device counts worth trying between two: whole nodes, four an octave, and both ends.

    And powers of two, whatever a node holds: batches and layers divide by them.

    >>> counts_between(8, 40, 8)
    [8, 16, 24, 32, 40]
    >>> counts_between(64, 300, 72)
    [64, 72, 128, 144, 216, 256, 288, 300]
    """
    powers = [2**i for i in range(int(math.log2(most)) + 1)]
    nodes = [int(power * step) * node for power in powers for step in STEPS]
    tried = {least, most, *powers, *nodes}
    return sorted(count for count in tried if least <= count <= most)
