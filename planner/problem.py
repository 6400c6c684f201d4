"""The one form of every decision problem: pick one option of each decision.

    minimise   base + sum_d cost_d[x_d]                     `Problem.base`, `Decision.cost`
                    + sum_(d,e) cost_de[x_d, x_e]           `Coupling.cost`
                    + sum_b weight_b max_g load_bg(x)       `Bottleneck`
    subject to sum_d usage_dr[x_d] <= capacity_l            `Limit`: r its resource, d its members
               groups of a sequence contiguous, in order    `Sequence`
               x_d one option of d                          `Decision.options`

    load_bg(x) = sum_d load_bgd[x_d]                        `Bottleneck.loads`

Costs are `Breakdown`s with one entry for each option, so that the price of the picks is made of
the very terms that a solver summed: `Problem.cost` is the only price. An infinite cost forbids.
What an option uses of a resource is the sum of its `Memory` of that kind. Knows picks and prices;
nothing of what is decided, and no solver.

Source of the form: the nodes, edges and usage limit of the intra-operator parallelism contest
(Moffitt et al., ASPLOS 2025), with weighted maxima and contiguity added.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from costmodels.breakdown import Breakdown, Memory, Term
from costmodels.units import Column

__all__ = ["Bottleneck", "Coupling", "Decision", "Limit", "Problem", "Sequence"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice.

    Parameters
    ----------
    name    : "layer 0..31 / mlp"
    options : what may be picked
    cost    : one entry for each option; its `Memory` of kind r is what the option uses of r
    """

    name: str
    options: tuple[str, ...]
    cost: Breakdown

    @property
    def time_s(self) -> Column:
        """Cost of every option."""
        return np.broadcast_to(np.asarray(self.cost.total_s, float), (len(self.options),))

    def usage(self, resource: str) -> Column:
        """Return what every option uses of a resource."""
        total = np.zeros(len(self.options))
        for item in self.cost.memory:
            if item.kind == resource:
                total = total + item.bytes
        return total


@dataclass(frozen=True, slots=True)
class Coupling:
    """The price of a pair of picks: a table over the options of `first` (rows) and `second`."""

    first: int
    second: int
    cost: Breakdown


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap: what the members use of a resource together is at most `capacity`.

    Members are the decisions that share it, e.g. those whose tensors live at one time.
    """

    name: str
    resource: str
    members: tuple[int, ...]
    capacity: float


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """`weight` times the largest load of any group: the slowest stage, the fullest device.

    `weight` is 0 or more; there is at least one group. `loads` holds, for each group, the load of
    every option of the decisions that take part; `base` what the group bears whatever is picked.
    """

    name: str
    weight: float
    loads: tuple[Mapping[int, Column], ...]
    base: tuple[float, ...] = ()

    def load(self, picks: Ordered[int]) -> NDArray[np.float64]:
        """Load of every group."""
        total = np.array(self.base or [0.0] * len(self.loads))
        for group, load in enumerate(self.loads):
            for decision, column in load.items():
                total[group] += column[picks[decision]]
        return total


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items go to groups in order and contiguously, as layers go to pipeline stages.

    Parameters
    ----------
    items    : decisions, in order
    groups   : how many groups there are
    group_of : for each item, the group of each of its options
    empty    : groups may hold no item
    """

    items: tuple[int, ...]
    groups: int
    group_of: tuple[NDArray[np.intp], ...]
    empty: bool = False

    def kept(self, picks: Ordered[int]) -> bool:
        """Tell whether the picks are contiguous and in order."""
        if not self.items:
            return self.empty or self.groups == 0
        chosen = [int(of[picks[i]]) for i, of in zip(self.items, self.group_of, strict=True)]
        steps = np.diff(np.array(chosen, int))
        if self.empty:
            return bool(np.all(steps >= 0))
        ends = chosen[0] == 0 and chosen[-1] == self.groups - 1
        return ends and bool(np.all((steps == 0) | (steps == 1)))


@dataclass(frozen=True)
class Problem:
    """Decisions, what couples and limits them, and their price (see the module)."""

    decisions: tuple[Decision, ...] = ()
    couplings: tuple[Coupling, ...] = ()
    limits: tuple[Limit, ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    base: Breakdown = Breakdown()

    @cached_property
    def combinations(self) -> float:
        """How many ways there are to pick; inf where floats cannot count them."""
        return prod(float(len(d.options)) for d in self.decisions)

    def cost(self, picks: Ordered[int]) -> Breakdown:
        """Price the picks: terms of one name, kind and source are summed.

        The total is infinite where the picks are forbidden or a sequence is broken; limits are
        judged by `broken`.
        """
        parts = [self.base]
        parts += [d.cost.at(p) for d, p in zip(self.decisions, picks, strict=True)]
        parts += [_entry(c.cost, picks[c.first], picks[c.second]) for c in self.couplings]
        parts += [
            Breakdown((Term(b.name, "other", b.weight * float(b.load(picks).max()), "slowest"),))
            for b in self.bottlenecks
        ]
        if not all(s.kept(picks) for s in self.sequences):
            parts.append(Breakdown((Term("out of order", "other", np.inf, "sequence"),)))
        return _merged(parts)

    def used(self, limit: Limit, picks: Ordered[int]) -> float:
        """Return what the members of a limit use together."""
        total = 0.0
        for member in limit.members:
            total += float(self.decisions[member].usage(limit.resource)[picks[member]])
        return total

    def broken(self, picks: Ordered[int]) -> tuple[Limit, ...]:
        """Limits that the picks exceed."""
        return tuple(limit for limit in self.limits if self.used(limit, picks) > limit.capacity)

    def allows(self, picks: Ordered[int]) -> bool:
        """Tell whether the picks break no limit, no sequence, and are not forbidden."""
        return not self.broken(picks) and bool(np.isfinite(self.cost(picks).total_s))


def _entry(cost: Breakdown, row: int, column: int) -> Breakdown:
    """Return the price of one pair of picks out of tables."""
    terms = tuple(
        Term(t.name, t.kind, float(np.asarray(t.time_s)[row, column]), t.source) for t in cost.terms
    )
    return Breakdown(terms)


def _merged(parts: Ordered[Breakdown]) -> Breakdown:
    """Sum terms and footprints that have all but their amounts in common, in order met."""
    times: dict[tuple[str, str, str], tuple[float, float]] = {}
    held: dict[tuple[str, str, str], float] = {}
    for part in parts:
        for t in part.terms:
            key = (t.name, t.kind, t.source)
            shown, hidden = times.get(key, (0.0, 0.0))
            times[key] = (shown + float(t.time_s), hidden + float(t.hidden_s))
        for m in part.memory:
            key = (m.name, m.kind, m.source)
            held[key] = held.get(key, 0.0) + float(m.bytes)
    return Breakdown(
        tuple(Term(n, k, shown, s, hidden) for (n, k, s), (shown, hidden) in times.items()),
        tuple(Memory(n, k, amount, s) for (n, k, s), amount in held.items()),
    )
