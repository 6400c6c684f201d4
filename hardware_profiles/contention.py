"""A machine's profile as it is while fewer, or more, devices of a host are at work.

Devices of one host may share its cores and its memory: fake devices of a processor, processes on
one machine, chips that share a bus. A device alone is then faster than one of many:

    rate(k) = rate(1) / (1 + c (k - 1)),   c = `Host.contention` in [0, 1]

c = 0 is a device of its own; at c = 1 the host's devices share one machine and no more. Times that
do not depend on sizes grow alike. Knows profiles; nothing of jobs.

Parts: `slowdown`, `with_busy`.
"""

from hardware_profiles.figures import Figure
from hardware_profiles.schema import HardwareProfile, NetworkLevel

__all__ = ["slowdown", "with_busy"]


def slowdown(contention: float, busy: float) -> float:
    """Time of work on one of `busy` devices of a host over its time on one alone.

        1 + c (busy - 1)

    >>> slowdown(0.25, 1), slowdown(0.25, 5)
    (1.0, 2.0)
    """
    return 1.0 + contention * (busy - 1.0)


def with_busy(profile: HardwareProfile, devices: int) -> HardwareProfile:
    """Return the profile as it is where a job keeps `devices` devices at work.

    A host's own devices are at work together: the lesser of `devices` and `host.devices`. Rates
    and fixed times of kernels, host links, and network levels that lie inside one host change;
    links between hosts do not. Where a host says nothing of contention, the profile itself
    is returned. The result says how many it is for (`host.busy`), so that it can be asked again.
    """
    host = profile.host
    if host.contention is None:
        return profile
    busy = max(1, min(devices, host.devices))
    before = host.devices if host.busy is None else host.busy
    if busy == before:
        return profile
    share, new = host.contention.value, host.new_memory_bytes_per_s
    slower = slowdown(share, busy) / slowdown(share, before)
    peaks = {name: _times(rate, 1.0 / slower) for name, rate in profile.peak_flop_per_s.items()}
    return profile.model_copy(
        update={
            "peak_flop_per_s": peaks,
            "memory_bytes_per_s": _times(profile.memory_bytes_per_s, 1.0 / slower),
            "network": tuple(_level(each, host.devices, slower) for each in profile.network),
            "host": host.model_copy(
                update={
                    "busy": busy,
                    "link_bytes_per_s": _times(host.link_bytes_per_s, 1.0 / slower),
                    "new_memory_bytes_per_s": (new and _times(new, 1.0 / slower)),
                }
            ),
            "kernels": profile.kernels.model_validate(_fixed(profile.kernels.model_dump(), slower)),
        }
    )


def _times(figure: Figure, factor: float) -> Figure:
    return figure.model_copy(update={"value": figure.value * factor})


def _level(level: NetworkLevel, host_devices: int, slower: float) -> NetworkLevel:
    """Return a level, slower where it lies inside a host."""
    if level.devices is None or level.devices > host_devices:
        return level
    changed: dict[str, object] = {
        "bytes_per_s": _times(level.bytes_per_s, 1.0 / slower),
        "latency_s": _times(level.latency_s, slower),
    }
    if level.protocols is not None:
        started = level.protocols.model_dump()
        for line in (*started["rings"], *started["exchanges"], started["switch"]):
            if line is not None:
                line["start_s"] *= slower
        changed["protocols"] = type(level.protocols).model_validate(started)
    return level.model_copy(update=changed)


def _fixed(node: dict[str, object], slower: float) -> dict[str, object]:
    """Return dumped kernels with every figure in seconds slower."""
    made: dict[str, object] = {}
    for name, value in node.items():
        if isinstance(value, dict):
            value = _fixed(value, slower)
            if name.endswith("_s") and "value" in value:
                value["value"] = value["value"] * slower  # type: ignore[operator]
        made[name] = value
    return made
