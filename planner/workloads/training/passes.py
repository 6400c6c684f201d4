"""Passes through a block: exposed and hidden seconds by category, and what is run again of them.

Knows seconds; which operators they are of is `layer`'s.

Parts: `Pass`, `BlockTime`, `combine`, `recomputed`, `RECOMPUTED`, `CATEGORIES`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from costmodels.units import Num
from planner.dims import RECOMPUTE

__all__ = ["CATEGORIES", "RECOMPUTED", "BlockTime", "Pass", "combine", "recomputed"]

CATEGORIES = ("matmul", "experts", "attention", "memory", "launch", "tp", "cp", "ep")
RECOMPUTED: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "selective": {"attention": 1.0},
    "per-operator": {"matmul": 0.5, "experts": 0.5, "memory": 1.0, "launch": 0.6, "tp": 0.5},
    "projections": {"attention": 1.0, "memory": 1.0, "launch": 0.5, "cp": 1.0},
    "full": dict.fromkeys(CATEGORIES, 1.0),
}
"""Share of the forward pass that each recompute mode runs again, by category."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Exposed and hidden seconds of one pass through a block, by category."""

    exposed: Mapping[str, Num]
    hidden: Mapping[str, Num]

    @property
    def total_s(self) -> Num:
        """Exposed seconds, all categories."""
        total: Num = 0.0
        for category in CATEGORIES:
            total = total + self.exposed[category]
        return total

    @property
    def spare_s(self) -> Num:
        """Seconds of compute, and gaps in it, under which no communication hides yet."""
        e, h = self.exposed, self.hidden
        busy = e["matmul"] + e["experts"] + e["attention"] + e["memory"] + e["launch"]
        return busy - h["tp"] - h["cp"] - h["ep"]

    def scaled(self, factor: Num) -> "Pass":
        """Return the pass run `factor` times."""
        return Pass(
            {c: v * factor for c, v in self.exposed.items()},
            {c: v * factor for c, v in self.hidden.items()},
        )


@dataclass(frozen=True, slots=True)
class BlockTime:
    """One block, one microbatch: its passes, and the part of the backward that is for weights.

    What is recomputed comes on top: see `recomputed`. `modules`: what sets of modules run again of
    it, by code.
    """

    forward: Pass
    backward: Pass
    weight_s: Num
    modules: Mapping[int, Pass] = field(default_factory=dict)


def combine(passes: Iterable[Pass]) -> Pass:
    """Sum passes, category by category."""
    exposed: dict[str, Num] = dict.fromkeys(CATEGORIES, 0.0)
    hidden: dict[str, Num] = dict.fromkeys(CATEGORIES, 0.0)
    for each in passes:
        for category in CATEGORIES:
            exposed[category] = exposed[category] + each.exposed[category]
            hidden[category] = hidden[category] + each.hidden[category]
    return Pass(exposed, hidden)


def recomputed(time: BlockTime, mode: Num) -> Pass:
    """Return what recompute modes, codes into RECOMPUTE or of modules, run again of a block."""
    exposed: dict[str, Num] = {}
    for category in CATEGORIES:
        share: Num = 0.0
        for code, name in enumerate(RECOMPUTE):
            part = RECOMPUTED[name].get(category, 0.0)
            share = share + part * (mode == code)
        exposed[category] = share * time.forward.exposed[category]
        for code, again in time.modules.items():
            exposed[category] = exposed[category] + (mode == code) * again.exposed[category]
    return Pass(exposed, dict.fromkeys(CATEGORIES, 0.0))
