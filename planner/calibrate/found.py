"""Everything that a calibration found, and the profile that it makes.

Parts: `Findings`, `make_profile`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hardware_profiles.schema import Figure, HardwareProfile, NetworkLevel
from planner.calibrate import new_memory
from planner.calibrate.fitted import Fitted, Measured, four
from planner.calibrate.kernel_fit import fit_contention, fit_kernels, with_peaks
from planner.calibrate.link_fit import fit_level, level_of
from planner.calibrate.machine import Machine
from planner.calibrate.menu import Level
from planner.calibrate.relatives import assumed, relative_of
from planner.calibrate.timing import BUSY_SPREAD
from planner.jax_here import busy

__all__ = ["Findings", "findings"]

_SHARED = 0.02
"""Contention below which devices are apart."""


@dataclass(frozen=True)
class Findings:
    """What a calibration found.

    Parameters
    ----------
    fits   : by class of constants, in the order of fitting
    busy   : what says that the machine was not quiet; empty if it was
    seconds: that measuring took in this run
    """

    machine: Machine
    profile: HardwareProfile
    fits: tuple[Fitted, ...]
    measured: tuple[Measured, ...]
    busy: tuple[str, ...]
    date: str
    quick: bool
    wall_s: float


def findings(
    machine: Machine, levels: Sequence[Level], measured: Sequence[Measured], *,
    name: str, date: str, quick: bool, load: float, wall_s: float,
) -> Findings:  # fmt: skip
    """Fit everything and put it into a profile called `name`."""
    base, known = relative_of(machine.backend, machine.device_kind)
    why = f"as {base.name}" if known else f"no shipped profile has this chip; as {base.name}"
    told = f"sixfold calibrate, {date}, {machine.versions}"
    profile = with_peaks(assumed(base, why), measured)
    profile = _host(profile, machine, measured, name, told)
    profile, fits = fit_kernels(profile, measured, told)
    shared = fit_contention(measured, machine.host_devices)
    if shared is not None:
        fits.append(shared)
    network: list[NetworkLevel] = []
    inside = 1
    for level in levels:
        inside *= level.members
        found = fit_level(level.name, inside, network, profile, measured)
        fits.append(found)
        network.append(level_of(level.name, inside, found.values, f"{told}; {found.source}"))
    profile = _joined(profile, machine, network)
    if shared is not None and shared.values["contention"] > _SHARED:
        profile = _shared(profile, machine, shared, told)
    return Findings(
        machine, HardwareProfile.model_validate(profile.model_dump()), tuple(fits),
        tuple(measured), _busy(measured, load), date, quick, wall_s,
    )  # fmt: skip


def _host(
    profile: HardwareProfile, machine: Machine, measured: Sequence[Measured], name: str, told: str
) -> HardwareProfile:
    """Put in the name, the chip, its memory and its link to the host."""
    copies = [row for row in measured if row.point.kind in ("to device", "from device")]
    slowest = min(row.point.sizes["bytes"] / row.reading.time_s for row in copies)
    link = Figure(value=four(slowest), basis="measured", source=f"{told}: copies both ways")
    memory = Figure(value=four(machine.memory_bytes), basis="measured", source=told)
    own = Figure(
        value=four(machine.host_memory_bytes / machine.host_devices), basis="measured", source=told
    )
    cpu = machine.backend == "cpu"
    chip = machine.processor if cpu else machine.device_kind
    host = profile.host.model_copy(
        update={
            "devices": machine.host_devices, "link_bytes_per_s": link,
            "memory_bytes_per_device": own, "new_memory_bytes_per_s": _new_memory(measured, told),
        }
    )  # fmt: skip
    share = f"{chip}, one of {machine.host_devices} JAX devices on {machine.cores} cores"
    return profile.model_copy(
        update={
            "name": name,
            "description": f"Measured by sixfold calibrate: {machine.host_devices} devices on each"
                           f" of {machine.hosts} host{'s' * (machine.hosts > 1)}",
            "accelerator": share if cpu else chip,
            "memory_bytes": memory,
            "host": host,
            "kernels": profile.kernels.model_copy(
                update={"tile_m": 16, "tile_n": 16, "units": 1} if cpu else {}
            ),
        }
    )  # fmt: skip


def _new_memory(measured: Sequence[Measured], told: str) -> Figure | None:
    """Return how fast a device gets new memory, where that costs anything."""
    rows = {row.point.kind: row for row in measured if row.point.kind in new_memory.KINDS}
    size = float(next(iter(rows.values())).point.sizes["bytes"])
    found = new_memory.rate({kind: row.reading.time_s for kind, row in rows.items()}, size)
    if found is None:
        return None
    source = f"{told}: arrays of {size / 2**20:.0f} MiB in new memory, less the same in their own"
    return Figure(value=four(found), basis="measured", source=source)


def _joined(
    profile: HardwareProfile, machine: Machine, network: Sequence[NetworkLevel]
) -> HardwareProfile:
    """Put in the measured levels, and beyond them what the start profile assumes."""
    made = list(network)
    if machine.hosts > 1:
        made[-1] = made[-1].model_copy(update={"devices": None})
    else:
        if not made:  # one device alone: its domain is itself
            made.append(profile.network[0].model_copy(update={"devices": 1}))
        made.append(profile.network[-1])
    return profile.model_copy(update={"network": tuple(made)})


def _shared(
    profile: HardwareProfile, machine: Machine, shared: Fitted, told: str
) -> HardwareProfile:
    figure = Figure(
        value=shared.values["contention"], basis="fitted", source=f"{told}; {shared.source}"
    )
    host = profile.host.model_copy(update={"contention": figure, "busy": machine.host_devices})
    return profile.model_copy(update={"host": host})


def _busy(measured: Sequence[Measured], load: float) -> tuple[str, ...]:
    """Say what shows that others were at work."""
    told = [said] if (said := busy(load)) else []
    spreads = sorted(row.reading.spread for row in measured if row.reading.repeats)
    middle = spreads[len(spreads) // 2] if spreads else 0.0
    if middle > BUSY_SPREAD:
        told.append(f"repeats of a point differ by {middle:.0%} in the median")
    return tuple(told)
