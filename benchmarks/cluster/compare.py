"""Predicted beside measured: `python benchmarks/cluster/compare.py`.

All-reduces: Sixfold's own price (`costmodels.collectives` over the cluster that the planner builds)
with the profile that `sixfold calibrate` wrote in four hosts (groups of 2 and 4), for 3, 6 and 8
hosts. Steps: `sixfold plan` on each job with that profile, for the best count of hosts. Starts no
hosts: it reads `profiles/` and `measured.csv`.

Parts: `Exchange`, `exchanges`, `Choice`, `choice`, `main`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster_runs import HERE, HOSTS, JOBS, SEEN, SETTINGS, Key, medians, recorded

from costmodels.collectives import all_reduce_s
from hardware_profiles.load import load
from hardware_profiles.schema import HardwareProfile
from planner.cluster import build

__all__ = ["LEAST_BYTES", "Choice", "Exchange", "choice", "exchanges", "median_error"]

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


def profile_of(setting: str) -> Path:
    """Return the profile that a calibration in hosts of this setting wrote."""
    return HERE / "profiles" / f"{setting}.yaml"


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


def choice(setting: str, job: str, measured_s: Mapping[Key, float]) -> Choice:
    """Plan a job for every count of hosts, beside its measured steps."""
    mine = [key for key in measured_s if (key.setting, key.what) == (setting, job)]
    text = JOBS[job].read_text().replace("system: cpu-host", f"system: {profile_of(setting)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.yaml"
        file.write_text(text)
        command = [sys.executable, "-m", "planner", "plan", str(file), "--json", "-"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    frontier = json.loads(done.stdout)["frontier"]
    steps_s = {key.hosts: measured_s[key] for key in mine}
    return Choice(steps_s, {each["devices"]: each["step_time_s"] for each in frontier})


def main() -> None:
    """Print the tables of README.md."""
    measured_s = medians(recorded())
    for setting in SETTINGS:
        rows = exchanges(setting, load(str(profile_of(setting))), measured_s)
        _print_exchanges(setting, rows)
        for job in JOBS:
            _print_choice(setting, job, choice(setting, job, measured_s))


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
    print(f"\nBest: {best} hosts measured, {predicted} predicted: {found.steps_apart} steps apart;"
          f" the predicted one takes {found.regret:.1%} longer.")  # fmt: skip


if __name__ == "__main__":
    main()
