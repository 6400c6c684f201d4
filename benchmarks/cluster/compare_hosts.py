"""Predicted beside measured: `python benchmarks/cluster/compare_hosts.py`.

All-reduces: Sixfold's own price (`costmodels.collectives` over the cluster that the planner builds)
with alpha and beta fitted on two and four hosts, for 3, 6 and 8. Steps: `sixfold plan` on each job
with that profile, for the best count of hosts. Starts no hosts: it reads `profiles/` and
`measured.csv`.

Parts: `hosts_profiles`, `Exchange`, `exchanges`, `median_error`, `Choice`, `choice`, `main`.
"""

import itertools
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cluster_runs import ANY, HERE, HOSTS, JOBS, SEEN, SETTINGS, Key, medians, recorded

from costmodels.collectives import all_reduce_s
from hardware_profiles.contention import with_busy
from hardware_profiles.load import load
from hardware_profiles.schema import Figure, HardwareProfile, NetworkLevel
from hardware_profiles.write import dumps
from planner import recommend, spec
from planner.cluster import build

__all__ = [
    "LEAST_BYTES",
    "Choice",
    "Exchange",
    "choice",
    "exchanges",
    "hosts_profiles",
    "median_error",
]

LEAST_BYTES = 1 << 18
"""Messages from here on are judged."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An all-reduce, measured and predicted."""

    hosts: int
    size: int
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_s / self.measured_s - 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Steps of a job by count of hosts, measured and predicted."""

    measured_s: Mapping[int, float]
    predicted_s: Mapping[int, float]

    @property
    def best(self) -> tuple[int, int]:
        """Count with the shortest step: measured, predicted."""
        measured, predicted = self.measured_s, self.predicted_s
        return min(measured, key=measured.__getitem__), min(predicted, key=predicted.__getitem__)

    @property
    def steps_apart(self) -> int:
        """Steps between the two in the list of counts."""
        measured, predicted = self.best
        return abs(HOSTS.index(measured) - HOSTS.index(predicted))

    @property
    def regret(self) -> float:
        """How much longer than the best the step at the predicted count takes, measured."""
        measured, predicted = self.best
        return self.measured_s[predicted] / self.measured_s[measured] - 1.0


def hosts_profiles(measured_s: Mapping[Key, float]) -> dict[str, HardwareProfile]:
    """Return the profile of every setting's hosts, from what two and four of them showed.

    Kernels are those of `profiles/core.yaml`, a host with a whole core, at the share that hosts
    have: so many of them could share a core. Fitted are alpha and beta of each setting's link, and
    one factor for what kernels reach in training over what they reach alone.
    """
    core = load(str(HERE / "profiles" / "core.yaml"))
    alone = {}
    for name, setting in SETTINGS.items():
        sharing = round(1.0 / setting.cores)
        whole = Figure(value=1.0, basis="assumed", source=f"{sharing} hosts share a core")
        shared = core.host.model_copy(update={"devices": sharing, "contention": whole, "busy": 1})
        slow = with_busy(core.model_copy(update={"host": shared}), sharing)
        network = (_link(name, core, measured_s),)
        changed = {"name": name, "host": core.host, "network": network}
        alone[name] = slow.model_copy(update=changed)
    factor = _reached(alone, measured_s)
    return {name: _training(profile, factor) for name, profile in alone.items()}


def _link(setting: str, profile: HardwareProfile, measured_s: Mapping[Key, float]) -> NetworkLevel:
    """Fit alpha and beta on the all-reduces of two and of four hosts, by relative least squares.

    A price is  alpha times its latencies + its bytes / beta;  the columns are Sixfold's own prices
    of a link that has the one alone.
    """
    rows = [
        (key, seconds)
        for key, seconds in sorted(measured_s.items())
        if (key.setting, key.what) == (setting, "all_reduce") and key.hosts in SEEN
    ]
    columns = [
        [_all_reduce_s(key, profile, alpha_s, rate) / seconds for key, seconds in rows]
        for alpha_s, rate in ((1.0, 1e30), (0.0, 1.0))
    ]
    alpha_s, per_byte_s = np.linalg.lstsq(np.array(columns).T, np.ones(len(rows)), rcond=None)[0]
    return _level(float(alpha_s), float(1.0 / per_byte_s), f"{len(rows)} all-reduces of {setting}")


def _level(alpha_s: float, bytes_per_s: float, source: str = "a trial") -> NetworkLevel:
    def figure(value: float) -> Figure:
        return Figure(value=value, basis="fitted", source=source)

    return NetworkLevel(
        name="link",
        latency_s=figure(alpha_s),
        bytes_per_s=figure(bytes_per_s),
        efficiency=figure(1.0),
    )


def _all_reduce_s(key: Key, profile: HardwareProfile, alpha_s: float, bytes_per_s: float) -> float:
    level = _level(alpha_s, bytes_per_s)
    return _priced_s(key, profile.model_copy(update={"network": (level,)}))


def _priced_s(key: Key, profile: HardwareProfile) -> float:
    """Return Sixfold's price of an all-reduce over the hosts of a profile."""
    span = build(profile, key.hosts).span((float(key.hosts), 1.0))
    return float(all_reduce_s(key.size, span))


def _reached(alone: Mapping[str, HardwareProfile], measured_s: Mapping[Key, float]) -> float:
    """Return what kernels reach in the steps of two and four hosts, over what they reach alone.

    A step is  rest + kernels / factor;  two prices of each tell its two parts.
    """
    found = []
    for setting, job in itertools.product(alone, JOBS):
        profile = alone[setting]
        once_s, twice_s = planned_s(job, profile), planned_s(job, _training(profile, 0.5))
        for hosts, step_s in _steps(setting, job, measured_s).items():
            kernels_s = twice_s[hosts] - once_s[hosts]
            if hosts in SEEN:
                left_s = step_s - (once_s[hosts] - kernels_s)
                found.append(kernels_s / max(left_s, 0.01 * step_s))
    return statistics.median(found)


def _training(profile: HardwareProfile, factor: float) -> HardwareProfile:
    reached = Figure(value=factor, basis="fitted", source="steps of two and of four hosts")
    training = profile.kernels.training.model_copy(
        update={
            "matmul": dict.fromkeys(("fp32", "bf16"), reached),
            **dict.fromkeys(("attention", "grouped_matmul", "memory"), reached),
        }
    )
    kernels = profile.kernels.model_copy(update={"training": training})
    return profile.model_copy(update={"kernels": kernels})


def exchanges(
    setting: str, profile: HardwareProfile, measured_s: Mapping[Key, float]
) -> list[Exchange]:
    """Return the setting's all-reduces beside their price with a profile, by hosts and size."""
    found = []
    for key in sorted(key for key in measured_s if key.setting == setting):
        if key.what == "all_reduce":
            found.append(Exchange(key.hosts, key.size, measured_s[key], _priced_s(key, profile)))
    return found


def median_error(rows: Sequence[Exchange]) -> float:
    """Return the median absolute error of what was not seen, from 256 KiB."""
    judged = [row for row in rows if row.hosts not in SEEN and row.size >= LEAST_BYTES]
    return statistics.median(abs(row.error) for row in judged)


def planned_s(job: str, profile: HardwareProfile) -> dict[int, float]:
    """Return the step time of a job's plan by count of hosts, as `sixfold plan` has it."""
    with tempfile.TemporaryDirectory() as folder:
        file, system = Path(folder) / "job.yaml", Path(folder) / "hosts.yaml"
        system.write_text(dumps(profile))
        file.write_text(JOBS[job].read_text().replace("system: cpu-host", f"system: {system}"))
        plan: dict[str, Any] = recommend.plan(spec.load(file))
    return {each["devices"]: each["step_time_s"] for each in plan["frontier"]}


def choice(
    setting: str, job: str, profile: HardwareProfile, measured_s: Mapping[Key, float]
) -> Choice:
    """Plan a job for every count of hosts, beside its measured steps."""
    return Choice(_steps(setting, job, measured_s), planned_s(job, profile))


def _steps(setting: str, job: str, measured_s: Mapping[Key, float]) -> dict[int, float]:
    mine = [key for key in measured_s if key.what == job and key.setting in (setting, ANY)]
    return {key.hosts: measured_s[key] for key in sorted(mine, key=lambda key: key.hosts)}


def main() -> None:
    """Print the tables of README.md."""
    measured_s = medians(recorded())
    for setting, profile in hosts_profiles(measured_s).items():
        _print_exchanges(setting, exchanges(setting, profile, measured_s))
        for job in JOBS:
            _print_choice(setting, job, choice(setting, job, profile, measured_s))


def _print_exchanges(setting: str, rows: Sequence[Exchange]) -> None:
    counts = sorted({row.hosts for row in rows})
    print(f"\n### All-reduce, {setting}: measured ms (predicted)\n")
    print("| bytes | " + " | ".join(_hosts(n) for n in counts) + " |")
    print("| ---: |" + " ---: |" * len(counts))
    for size in sorted({row.size for row in rows}):
        cells = [_cell(row.measured_s, row.predicted_s) for row in rows if row.size == size]
        print(f"| {size:,} | " + " | ".join(cells) + " |")
    print(f"\nMedian error at 3, 6 and 8 hosts from 256 KiB: {median_error(rows):.1%}.")


def _hosts(count: int) -> str:
    return f"{count} host" if count == 1 else f"{count} hosts"


def _cell(measured_s: float, predicted_s: float) -> str:
    error = predicted_s / measured_s - 1.0
    return f"{measured_s * 1e3:.1f} ({predicted_s * 1e3:.1f}, {error:+.0%})"


def _print_choice(setting: str, job: str, found: Choice) -> None:
    counts = [n for n in HOSTS if n in found.measured_s]
    print(f"\n### Step of the job `{job}`, {setting}: measured ms (predicted)\n")
    print("| " + " | ".join(_hosts(n) for n in counts) + " |")
    print("|" + " ---: |" * len(counts))
    cells = [_cell(found.measured_s[n], found.predicted_s[n]) for n in counts]
    print("| " + " | ".join(cells) + " |")
    best, predicted = found.best
    print(
        f"\nBest: {_hosts(best)} measured, {predicted} predicted, {found.steps_apart} apart in the"
        f" list of counts; a step on the predicted one is {found.regret:.0%} longer."
    )


if __name__ == "__main__":
    main()
