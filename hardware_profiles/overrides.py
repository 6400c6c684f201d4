"""Single figures of a profile replaced by a job's `hardware.set`.

Each replaced figure says so: basis `assumed`, source `hardware.set of the job`. Knows profiles;
never opens a file.

Parts: `OVERRIDES`, `with_overrides`.
"""

from collections.abc import Callable, Mapping

from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.schema import Figure, HardwareProfile

__all__ = ["OVERRIDES", "with_overrides"]

_SOURCE = "hardware.set of the job"
_MOST = 1e30


def with_overrides(profile: HardwareProfile, set: Mapping[str, float]) -> HardwareProfile:
    """Return `profile` with the figures that `set` names replaced.

    Parameters
    ----------
    set : memory_bytes; memory_bytes_per_s; peak_flop_per_s (dense bf16, the other formats scale
          with it); devices_per_node (and the host's devices where they were the node's);
          intra_node_bytes_per_s (innermost level, per device); inter_node_bytes_per_s (next
          level, per node, all adapters); power_cap_w (every peak times
          (cap / device_w) ** clock_exponent where the cap is below device_w)

    Notes
    -----
    The order of keys does not matter: a power cap applies to the peak after its override.
    """
    for key, value in set.items():
        if key not in OVERRIDES:
            raise ProfileError(
                f"unknown key{nearest(key, OVERRIDES)}; allowed: {', '.join(OVERRIDES)}",
                key=f"hardware.set.{key}",
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < _MOST:
            raise _wrong(key, f"must be a number above 0 and below 1e30 (is {str(value)[:40]!r})")
    for key, apply in OVERRIDES.items():
        if key in set:
            profile = apply(profile, float(set[key]))
    return profile


def _wrong(key: str, message: str) -> ProfileError:
    return ProfileError(message, key=f"hardware.set.{key}")


def _figure(value: float) -> Figure:
    return Figure(value=value, basis="assumed", source=_SOURCE)


def _memory_bytes(profile: HardwareProfile, value: float) -> HardwareProfile:
    return profile.model_copy(update={"memory_bytes": _figure(value)})


def _memory_bytes_per_s(profile: HardwareProfile, value: float) -> HardwareProfile:
    return profile.model_copy(update={"memory_bytes_per_s": _figure(value)})


def _scaled_peaks(profile: HardwareProfile, ratio: float) -> HardwareProfile:
    peaks = {name: _figure(old.value * ratio) for name, old in profile.peak_flop_per_s.items()}
    return profile.model_copy(update={"peak_flop_per_s": peaks})


def _peak_flop_per_s(profile: HardwareProfile, value: float) -> HardwareProfile:
    scaled = _scaled_peaks(profile, value / profile.peak_flop_per_s["bf16"].value)
    return scaled.model_copy(
        update={"peak_flop_per_s": {**scaled.peak_flop_per_s, "bf16": _figure(value)}}
    )


def _devices_per_node(profile: HardwareProfile, value: float) -> HardwareProfile:
    devices = int(value)
    node, *outer = profile.network
    if devices != value:
        raise _wrong("devices_per_node", f"must be a whole number (is {value:g})")
    if node.devices is None:
        raise _wrong("devices_per_node", f"{profile.name} has one level of network, no nodes")
    if outer and outer[0].devices is not None and outer[0].devices % devices:
        held = f"{outer[0].name} of {outer[0].devices} devices"
        raise _wrong("devices_per_node", f"a {held} cannot hold whole nodes of {devices}")
    host = profile.host.devices
    host = devices if host == node.devices else min(host, devices)
    return profile.model_copy(
        update={
            "network": (node.model_copy(update={"devices": devices}), *outer),
            "host": profile.host.model_copy(update={"devices": host}),
        }
    )


def _level_bytes_per_s(profile: HardwareProfile, index: int, value: float) -> HardwareProfile:
    levels = list(profile.network)
    levels[index] = levels[index].model_copy(update={"bytes_per_s": _figure(value)})
    return profile.model_copy(update={"network": tuple(levels)})


def _intra_node(profile: HardwareProfile, value: float) -> HardwareProfile:
    return _level_bytes_per_s(profile, 0, value)


def _inter_node(profile: HardwareProfile, value: float) -> HardwareProfile:
    if len(profile.network) < 2:
        raise _wrong("inter_node_bytes_per_s", f"{profile.name} has one level of network only")
    return _level_bytes_per_s(profile, 1, value)


def _power_cap_w(profile: HardwareProfile, value: float) -> HardwareProfile:
    power = profile.power
    if value >= power.device_w.value:
        return profile
    clock = (value / power.device_w.value) ** profile.kernels.clock_exponent.value
    capped = power.model_copy(
        update={
            "device_w": _figure(value),
            "idle_w": power.idle_w.model_copy(update={"value": min(power.idle_w.value, value)}),
        }
    )
    return _scaled_peaks(profile, clock).model_copy(update={"power": capped})


OVERRIDES: dict[str, Callable[[HardwareProfile, float], HardwareProfile]] = {
    "memory_bytes": _memory_bytes,
    "memory_bytes_per_s": _memory_bytes_per_s,
    "peak_flop_per_s": _peak_flop_per_s,
    "devices_per_node": _devices_per_node,
    "intra_node_bytes_per_s": _intra_node,
    "inter_node_bytes_per_s": _inter_node,
    "power_cap_w": _power_cap_w,
}
