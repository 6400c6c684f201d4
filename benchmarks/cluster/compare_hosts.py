"""Predicted beside measured: `python benchmarks/cluster/compare_hosts.py`.

All-reduces: Sixfold's own price (`costmodels.collectives` over the cluster that the planner builds)
with alpha and beta fitted on two and four hosts, for 3, 6 and 8. Steps: `sixfold plan` on each job
with that profile, for the best count of hosts. Starts no hosts: it reads `profiles/` and
`measured.csv`.

Parts: `hosts_profile`, `Exchange`, `exchanges`, `median_error`, `Choice`, `choice`, `main`.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster_runs import ANY, HERE, HOSTS, JOBS, SEEN, SETTINGS, Key, medians, recorded

from costmodels.collectives import all_reduce_s
from hardware_profiles.contention import with_busy
from hardware_profiles.load import load
from hardware_profiles.schema import Figure, HardwareProfile
from hardware_profiles.write import dumps
from planner import recommend, spec
from planner.calibrate.fitted import Measured
from planner.calibrate.link_fit import fit_level, level_of
from planner.calibrate.points import Point, Reading
from planner.cluster import build

__all__ = [
    "LEAST_BYTES",
    "Choice",
    "Exchange",
    "choice",
    "exchanges",
    "hosts_profile",
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


def hosts_profile(setting: str, measured_s: Mapping[Key, float]) -> HardwareProfile:
    """Return the profile of a setting's hosts, from what two and four of them showed.

    Kernels are those of `profiles/core.yaml`, a host with a whole core, at the share that hosts
    have: so many of them could share a core. The link is fitted as `sixfold calibrate` fits one,
    on the recorded all-reduces of two and of four hosts; what kernels reach in training over what
    they reach alone (one factor for all), on their steps.
    """
    core = load(str(HERE / "profiles" / "core.yaml"))
    sharing = round(1.0 / SETTINGS[setting].cores)
    whole = Figure(value=1.0, basis="assumed", source=f"{sharing} hosts share a core")
    shared = core.host.model_copy(update={"devices": sharing, "contention": whole, "busy": 1})
    slow = with_busy(core.model_copy(update={"host": shared}), sharing)
    seen = [
        Measured(
            Point("all_reduce", {"bytes": key.size, "ranks": key.hosts, "stride": 1}, level="link"),
            Reading(seconds, 0.0, 0, 3),
        )
        for key, seconds in measured_s.items()
        if (key.setting, key.what) == (setting, "all_reduce") and key.hosts in SEEN
    ]
    link = fit_level("link", max(SEEN), [], core, seen)
    network = (level_of("link", None, link.values, f"all-reduces over {setting}; {link.source}"),)
    hosts = slow.model_copy(update={"name": setting, "host": core.host, "network": network})
    return _training(hosts, _reached(setting, hosts, measured_s))


def _reached(setting: str, alone: HardwareProfile, measured_s: Mapping[Key, float]) -> float:
    """Return what kernels reach in the steps of two and four hosts, over what they reach alone.

    A step is  rest + kernels / factor;  two prices of each tell its two parts.
    """
    found = []
    for job in JOBS:
        once_s, twice_s = planned_s(job, alone), planned_s(job, _training(alone, 0.5))
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
            cluster = build(profile, key.hosts)
            predicted_s = float(all_reduce_s(key.size, cluster.span((float(key.hosts), 1.0))))
            found.append(Exchange(key.hosts, key.size, measured_s[key], predicted_s))
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
    for setting in SETTINGS:
        profile = hosts_profile(setting, measured_s)
        _print_exchanges(setting, exchanges(setting, profile, measured_s))
        for job in JOBS:
            _print_choice(setting, job, choice(setting, job, profile, measured_s))


def _print_exchanges(setting: str, rows: Sequence[Exchange]) -> None:
    counts = sorted({row.hosts for row in rows})
    print(f"\n### All-reduce, {setting}: measured ms (predicted)\n")
    print("| bytes | " + " | ".join(f"{n} hosts" for n in counts) + " |")
    print("| ---: |" + " ---: |" * len(counts))
    for size in sorted({row.size for row in rows}):
        cells = [_cell(row.measured_s, row.predicted_s) for row in rows if row.size == size]
        print(f"| {size:,} | " + " | ".join(cells) + " |")
    print(f"\nMedian error at 3, 6 and 8 hosts from 256 KiB: {median_error(rows):.1%}.")


def _cell(measured_s: float, predicted_s: float) -> str:
    error = predicted_s / measured_s - 1.0
    return f"{measured_s * 1e3:.1f} ({predicted_s * 1e3:.1f}, {error:+.0%})"


def _print_choice(setting: str, job: str, found: Choice) -> None:
    counts = [n for n in HOSTS if n in found.measured_s]
    print(f"\n### Step of the job `{job}`, {setting}: measured ms (predicted)\n")
    print("| " + " | ".join(f"{n} hosts" for n in counts) + " |")
    print("|" + " ---: |" * len(counts))
    cells = [_cell(found.measured_s[n], found.predicted_s[n]) for n in counts]
    print("| " + " | ".join(cells) + " |")
    best, predicted = found.best
    print(f"\nBest: {best} hosts measured, {predicted} predicted: {found.steps_apart} apart in the list of counts;"
          f" the predicted one's step is {found.regret:.0%} longer.")  # fmt: skip


if __name__ == "__main__":
    main()
