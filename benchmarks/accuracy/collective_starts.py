"""Where the search for each network's constants starts: recorded, so that every machine ends alike.

The error of a least of several lines has many minima, a hair apart in depth, and which one a search
from afar ends in hangs on the last bit of a logarithm. So the minimum that a wide search found
(`fit_collectives.py --wide`) is kept here, and a fit goes from there: it moves where measurements
or forms have changed, and nowhere else. Knows no price.

Parts: `recorded`, `record`.
"""

import csv
from collections.abc import Mapping

from collective_rows import DATA

__all__ = ["record", "recorded"]

_PATH = DATA / "starts.csv"
_COLUMNS = ("network", "constant", "value")


def recorded(network: str) -> dict[str, float]:
    """Return the recorded constants of a system, or of what joins nodes, by dotted path."""
    with _PATH.open(encoding="utf-8", newline="") as lines:
        return {
            row["constant"]: float(row["value"])
            for row in csv.DictReader(lines)
            if row["network"] == network
        }


def record(made: Mapping[str, Mapping[str, float]]) -> None:
    """Write the constants of all networks."""
    with _PATH.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for network, constants in made.items():
            writer.writerows((network, name, f"{value:.6g}") for name, value in constants.items())
