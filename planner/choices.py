"""Which clusters a job may run on: its systems crossed with its device counts.

Knows the job's hardware section and the profiles; prices nothing.
"""

import math
from collections.abc import Mapping

from hardware_profiles.load import load, with_overrides
from hardware_profiles.schema import HardwareProfile
from planner.cluster import Cluster, build
from planner.job import DeviceRange, Hardware

__all__ = ["clusters", "counts_between"]

STEPS = (1.0, 1.25, 1.5, 1.75)
"""Counts tried in every octave of a range, in multiples of its power of two."""


def clusters(hardware: Hardware) -> list[Cluster]:
    """List every cluster that the job allows: systems in order, counts ascending."""
    made = []
    for system in hardware.systems:
        profile = with_overrides(load(system), hardware.set.given())
        made += [cluster_of(hardware, profile, count) for count in _counts(hardware, profile)]
    return made


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


def _slice(hardware: Hardware, profile: HardwareProfile) -> tuple[int, ...]:
    if hardware.slice is None:
        return ()
    dims = profile.network[0].torus_dims or len(hardware.slice.axes)
    return (*hardware.slice.axes, *(1,) * (dims - len(hardware.slice.axes)))


def _counts(hardware: Hardware, profile: HardwareProfile) -> list[int]:
    devices = hardware.devices
    if isinstance(devices, DeviceRange):
        return counts_between(devices.min, devices.max, profile.network[0].devices or 1)
    if isinstance(devices, int):
        return [devices]
    if devices is None:
        assert hardware.slice is not None
        return [hardware.slice.devices]
    return sorted(set(devices))


def counts_between(least: int, most: int, node: int) -> list[int]:
    """Device counts worth trying between two: whole nodes, four an octave, and both ends.

    Below one node, powers of two.

    >>> counts_between(8, 40, 8)
    [8, 16, 24, 32, 40]
    >>> counts_between(64, 300, 72)
    [64, 72, 144, 216, 288, 300]
    """
    powers = [2**i for i in range(int(math.log2(most)) + 1)]
    inside = [count for count in powers if count < node]
    nodes = [int(power * step) * node for power in powers for step in STEPS]
    tried = {least, most, *inside, *nodes}
    return sorted(count for count in tried if least <= count <= most)
