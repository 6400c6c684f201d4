"""What a group of ranks sees of a network: a `Hop` for each level, and what a library makes of it.

A communication library moves data by one of several protocols: one sends a flag with every word
and is quick to start but slow, one waits for whole chunks and is the other way round. Each is a
`Line` of alpha and beta; a level's lines stand in its `Transport`. Knows no collective.

Parts: `Line`, `Shared`, `Transport`, `PLAIN`, `Hop`, `Span`, `size_of`.
"""

from dataclasses import dataclass
from math import inf

from costmodels.units import Num

__all__ = ["PLAIN", "Hop", "Line", "Shared", "Span", "Transport", "size_of"]


@dataclass(frozen=True, slots=True)
class Line:
    """One protocol: a start, then steps of latency, then bytes.

    Parameters
    ----------
    start_s : seconds before the first step, once a collective (the kernel's launch and its end)
    steps   : latency of a step, as a multiple of the level's `alpha_s`
    share   : bandwidth, as a multiple of the level's `bytes_per_s`
    """

    start_s: float = 0.0
    steps: float = 1.0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What more than two members of a level pass beside their own links: the memory of a host.

    Parameters
    ----------
    share       : of a member's `bytes_per_s`, what each gets of it while all are at it
    exchanged   : of that, what an exchange gets
    rank_most   : bytes of a step round the ring, all passes together, up to which it is left to
                  the protocols before its last one
    peer_most   : bytes to a peer that an exchange carries by the protocols before its last one
    """

    share: float
    exchanged: float = 1.0
    rank_most: float = inf
    peer_most: float = 0.0


@dataclass(frozen=True, slots=True)
class Transport:
    """How a library uses a level, relative to the level's `alpha_s` and `bytes_per_s`.

    Parameters
    ----------
    rings          : protocols of rings and trees; the cheapest carries a message. The levels of a
                     span use the same one: of a level that has fewer, the last stands for the rest
    exchanges      : protocols of all-to-all and of sends
    switch         : in-switch reduction, where the level's switch reduces
    own_part       : what a rank's own part of a gathered buffer costs (copied, not sent), as a
                     multiple of what a part that is received costs
    own_scattered  : the same in a reduce-scatter, which copies other buffers: `own_part` where
                     absent. An all-reduce is of both kinds and pays their mean
    own_exchanged  : the same in an all-to-all
    summed         : what adding up a part that is received costs, as a multiple of receiving it
    by_levels      : the library gathers and reduces level by level instead of round one ring
    pair_most      : bytes over a link from which a ring of two devices is left to the last of
                     `rings`, though one before it may still be quicker
    shared         : what groups of more than two share, on a bus
    """

    rings: tuple[Line, ...] = (Line(),)
    exchanges: tuple[Line, ...] = (Line(),)
    switch: Line = Line(25e-6, 0.0, 0.85)
    own_part: float = 0.0
    own_scattered: float | None = None
    own_exchanged: float = 0.0
    summed: float = 0.0
    by_levels: bool = False
    pair_most: float = inf
    shared: Shared | None = None

    def own(self, passes: float, sums: float) -> float:
        """Return what own parts cost in `passes` turns, `sums` of them reducing."""
        scattered = self.own_part if self.own_scattered is None else self.own_scattered
        return self.own_part + (scattered - self.own_part) * (sums / passes)


PLAIN = Transport()
"""One alpha-beta line; in-switch reduction by NCCL's own constants (src/graph/tuning.cc)."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One level of the network as a group of ranks sees it.

    Parameters
    ----------
    ranks       : members of the group at this level (1: the group does not cross it)
    alpha_s     : seconds per step
    bytes_per_s : what a ring of the group gets through this level, one direction: a device's
                  bandwidth innermost; further out a domain's, shared by the groups in it
    in_switch   : the switch reduces
    transport   : what the library makes of the level
    turns       : steps of one pass round the members, ranks - 1 where absent (fewer on a torus,
                  whose axes are passed one after the other)
    distance    : links that an all-to-all's average byte passes at this level (above 1 on a torus)
    """

    name: str
    ranks: Num
    alpha_s: Num
    bytes_per_s: Num
    in_switch: bool = False
    transport: Transport = PLAIN
    turns: Num | None = None
    distance: Num = 1.0

    @property
    def pass_steps(self) -> Num:
        """Steps of one pass round the members."""
        return self.ranks - 1.0 if self.turns is None else self.turns


Span = tuple[Hop, ...]
"""Levels that a group may cross, inner to outer."""


def size_of(span: Span) -> Num:
    """Ranks of a group: the product of its members over all levels."""
    ranks: Num = 1.0
    for hop in span:
        ranks = ranks * hop.ranks
    return ranks
