"""What can be measured: one point a program, named by its kind, sizes and who is at work.

Knows no JAX. Parts: `Point`, `Reading`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Point", "Reading"]


@dataclass(frozen=True, slots=True)
class Point:
    """One program to time.

    Parameters
    ----------
    kind      : which benchmark it is of
    sizes     : its shape, by name
    precision : of what it computes on or moves
    busy      : devices of a process at work; 0: all
    level     : of the network, where it is a collective
    held      : kept from the fit and judged against it
    """

    kind: str
    sizes: Mapping[str, int]
    precision: str = "fp32"
    busy: int = 0
    level: str = ""
    held: bool = field(default=False, compare=False)

    @property
    def key(self) -> str:
        """Name in the journal: all but whether it is held back."""
        return json.dumps(
            [self.kind, dict(sorted(self.sizes.items())), self.precision, self.busy, self.level]
        )

    def __str__(self) -> str:
        shape = " x ".join(f"{name} {size:,}" for name, size in self.sizes.items())
        where = f", {self.level}" if self.level else ""
        alone = f", {self.busy} at work" if self.busy else ""
        return f"{self.kind} {self.precision} {shape}{where}{alone}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds that a point takes, once.

    Parameters
    ----------
    time_s   : median over the repeats, of the slowest process
    spread   : largest over smallest of the middle half of the repeats, less one
    outliers : repeats further than half of the median from it
    repeats  : samples taken
    """

    time_s: float
    spread: float
    outliers: int
    repeats: int
