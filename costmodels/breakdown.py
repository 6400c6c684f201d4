"""Named times and named footprints, and their sums.

`Term` is one named time (exposed seconds, and what ran hidden under other work), `Memory` one
named footprint, `Breakdown` the two lists. The total of a breakdown is the left-to-right sum of
its terms: the number that the search minimises and the number that a report prints are the same
addition. Knows nothing of what the names mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from costmodels.units import Num

__all__ = ["Breakdown", "Memory", "Term"]


@dataclass(frozen=True, slots=True)
class Term:
    """One named time.

    Parameters
    ----------
    name     : what takes the time, "tensor-parallel all-reduce"
    kind     : compute | hbm | tp | cp | ep | dp | pp | bubble | host | other
    time_s   : exposed seconds, a float or a column over candidates
    source   : the function and the basis of its figures
    hidden_s : seconds that ran under another term; shown, never summed
    """

    name: str
    kind: str
    time_s: Num
    source: str
    hidden_s: Num = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """One named footprint on the fullest device: `bytes` is a float or a column."""

    name: str
    kind: str
    bytes: Num
    source: str


def _pick(value: Num, index: int) -> float:
    """Entry `index` of a column, or the value itself where it is the same for every candidate."""
    return float(value) if np.ndim(value) == 0 else float(np.asarray(value)[index])


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The times and the footprints of one plan, or of a column of plans."""

    terms: tuple[Term, ...] = ()
    memory: tuple[Memory, ...] = ()

    @property
    def total_s(self) -> Num:
        """Sum of the exposed seconds, left to right."""
        total: Num = 0.0
        for term in self.terms:
            total = total + term.time_s
        return total

    @property
    def total_bytes(self) -> Num:
        """Sum of the footprints, left to right."""
        total: Num = 0.0
        for item in self.memory:
            total = total + item.bytes
        return total

    def __add__(self, other: "Breakdown") -> "Breakdown":
        """Concatenate the lists; nothing is merged."""
        return Breakdown(self.terms + other.terms, self.memory + other.memory)

    def at(self, index: int) -> "Breakdown":
        """Return row `index` of a breakdown of columns, as floats."""
        return Breakdown(
            tuple(
                replace(t, time_s=_pick(t.time_s, index), hidden_s=_pick(t.hidden_s, index))
                for t in self.terms
            ),
            tuple(replace(m, bytes=_pick(m.bytes, index)) for m in self.memory),
        )

    def by_kind(self) -> dict[str, Num]:
        """Exposed seconds summed by kind, in order of first appearance."""
        return _sums((t.kind, t.time_s) for t in self.terms)


def _sums(pairs: Iterable[tuple[str, Num]]) -> dict[str, Num]:
    sums: dict[str, Num] = {}
    for key, value in pairs:
        sums[key] = sums.get(key, 0.0) + value
    return sums
