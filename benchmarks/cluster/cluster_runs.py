"""What is measured in the box, on what, and what was measured so far.

`measured.csv` has one row a measurement: the median over the repeats of one run, the slowest host
counting. Runs accumulate; what is told of them is the median over runs. Pure data: starts nothing.

Parts: `SETTINGS`, `ANY`, `HOSTS`, `SEEN`, `SIZES`, `JOBS`, `Key`, `recorded`, `record`, `medians`.
"""

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cluster_box import Setting

__all__ = [
    "ANY",
    "HOSTS",
    "JOBS",
    "SEEN",
    "SETTINGS",
    "SIZES",
    "Key",
    "medians",
    "record",
    "recorded",
]

HERE = Path(__file__).parent
MEASURED = HERE / "measured.csv"
SETTINGS = {each.name: each for each in (Setting(25e6, 1e-3, 0.2), Setting(6.25e6, 5e-3, 0.2))}
"""200 Mbit/s and 1 ms; 50 Mbit/s and 5 ms. A host has a fifth of a core: eight have 1.6 of 2."""
ANY = "any"
"""Setting of what one host does: it has no link."""
HOSTS = (1, 2, 3, 4, 6, 8)
SEEN = (2, 4)
"""Hosts of which a calibration knows; it is judged on the others."""
SIZES = {
    "200mbit-1ms": (1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22, 1 << 24),
    "50mbit-5ms": (1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22),
}
"""Bytes of the all-reduces."""
JOBS = {path.stem: path for path in sorted((HERE / "jobs").glob("*.yaml"))}
"""Jobs whose steps are run, each at every count of hosts."""


class Key(NamedTuple):
    """What was measured: `what` is all_reduce (of `size` bytes) or the name of a job."""

    setting: str
    hosts: int
    what: str
    size: int


def recorded(path: Path = MEASURED) -> dict[Key, list[float]]:
    """Return seconds of every run of what was measured."""
    found: dict[Key, list[float]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = Key(row["setting"], int(row["hosts"]), row["what"], int(row["bytes"]))
            found[key].append(float(row["seconds"]))
    return dict(found)


def record(rows: Iterable[tuple[Key, float]], path: Path = MEASURED) -> None:
    """Add one run's measurements."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        if fresh:
            out.writerow(("setting", "hosts", "what", "bytes", "seconds"))
        out.writerows((*key, f"{seconds:.6f}") for key, seconds in rows)


def medians(runs: Mapping[Key, list[float]]) -> dict[Key, float]:
    """Return the median over runs."""
    return {key: statistics.median(seconds) for key, seconds in runs.items()}
