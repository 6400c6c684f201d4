"""Energy and money of a step and of a run.

A device draws its idle power and, on top of it, a share of the rest that depends on what it does:
compute draws all of it, waiting for the network less, an idle pipeline stage hardly any. Refuses
to know which term of a step is which (`costmodels.breakdown` says its kind) and what machines
cost.

Parts: `ACTIVITY`, `device_w`, `step_energy_j`, `run_energy_j`, `billed_devices`, `cost_usd`.
"""

from collections.abc import Mapping

import numpy as np

from costmodels.breakdown import Breakdown
from costmodels.reliability import Shares
from costmodels.units import HOUR_S, Num

__all__ = [
    "ACTIVITY",
    "billed_devices",
    "cost_usd",
    "device_w",
    "run_energy_j",
    "step_energy_j",
]

# Share of (device_w - idle_w) that a device draws, by kind of term. Compute 1: matrix products of
# training reach the rated power (Patel et al., ASPLOS 2024). The others are assumed: that paper
# shows large swings between computing and exchanging data and no one figure. A collective keeps
# the clock and some cores busy, so it is put at 0.4, and an idle stage at 0.1.
ACTIVITY: Mapping[str, float] = {
    "compute": 1.0,
    "hbm": 0.7,
    "tp": 0.4,
    "cp": 0.4,
    "ep": 0.4,
    "dp": 0.4,
    "pp": 0.4,
    "bubble": 0.1,
    "host": 0.1,
    "other": 0.4,
}


def device_w(activity: Num, full_w: Num, idle_w: Num) -> Num:
    """Power of one device: idle + (full - idle) * activity.

    Parameters
    ----------
    activity : 0 idle, 1 at full load (`ACTIVITY` by kind of work)
    full_w   : watts at full load
    idle_w   : watts idle

    Notes
    -----
    Linear between the two ends, as Fan, Weber, Barroso, ISCA 2007, found for whole machines;
    accelerators are assumed alike.

    >>> float(device_w(0.4, 700.0, 100.0))
    340.0
    """
    return idle_w + (np.maximum(full_w, idle_w) - idle_w) * activity


def step_energy_j(
    step: Breakdown, devices: Num, full_w: Num, idle_w: Num, host_w: Num, overhead: Num
) -> Num:
    """Energy of one step of all devices, at the meter of the data centre.

        E = overhead * devices * sum over terms of time * (device_w(activity) + host_w)

    Parameters
    ----------
    step     : the step's terms; exposed seconds are counted, by kind
    devices  : devices at work
    full_w, idle_w : watts of one device at full load and idle
    host_w   : watts of the rest of the machine per device, taken as constant
    overhead : power of the whole site over that of its computers (PUE), >= 1

    Notes
    -----
    Communication hidden under compute adds nothing: the device is at its limit already. The
    breakdown is that of the fullest device, so a step with uneven stages is priced a little high.
    A kind that `ACTIVITY` does not list counts as `other`.
    """
    energy_j: Num = 0.0
    for term in step.terms:
        activity = ACTIVITY.get(term.kind, ACTIVITY["other"])
        energy_j = energy_j + term.time_s * (device_w(activity, full_w, idle_w) + host_w)
    return overhead * devices * energy_j


def run_energy_j(
    step_energy_j: Num,
    steps: Num,
    shares: Shares,
    run_s: Num,
    devices: Num,
    spare_devices: Num,
    idle_w: Num,
    host_w: Num,
    overhead: Num,
) -> Num:
    """Energy of the whole run, with work done twice, pauses and idle spares.

        E = E_step * steps * (1 + rework / useful)
            + overhead * (idle_w + host_w) * (devices * paused + spares) * run_s

    Parameters
    ----------
    step_energy_j : of one step (`step_energy_j`)
    steps         : steps of the run
    shares        : where the run's time goes (`costmodels.run.run`)
    run_s         : mean time of the run
    devices, spare_devices : at work, and held idle beside them
    idle_w, host_w, overhead : as in `step_energy_j`

    Notes
    -----
    Paused are checkpoint stalls, restarts and waiting: devices idle, hosts on.
    """
    again = 1.0 + shares.rework / np.maximum(shares.useful, 1e-30)
    paused = shares.checkpoint + shares.restart + shares.waiting
    pauses_j = overhead * (idle_w + host_w) * (devices * paused + spare_devices) * run_s
    return step_energy_j * steps * again + pauses_j


def billed_devices(devices: Num, host_devices: Num, spare_hosts: Num) -> Num:
    """Devices that are paid for: whole hosts at work and the spare ones.

    >>> float(billed_devices(12.0, 8.0, 1.0))
    24.0
    """
    return (np.ceil(devices / host_devices) + np.floor(spare_hosts)) * host_devices


def cost_usd(devices: Num, time_s: Num, usd_per_device_hour: Num) -> Num:
    """Price of so many devices for so long.

    Notes
    -----
    Billed by the second; storage, network traffic and staff are not in it.

    >>> cost_usd(1024.0, 36000.0, 2.5)
    25600.0
    """
    return devices * time_s / HOUR_S * usd_per_device_hour
