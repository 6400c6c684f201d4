"""The hard part of a network: what is left when its trees are gone, and pieces of it.

`Core` holds the trees, the sweeps and their messages. `Shifted` is the core with all messages
moved into its tables, so that every entry is at least zero and the least of all sums is the
bound: the form that an exact solver likes best. It stays true to the prices of picks whatever
the costs of options are afterwards, so one of it serves every piece and every set of row prices.
"""

from dataclasses import dataclass, replace

import numpy as np

from planner.search.network.exact import Piece
from planner.search.network.forest import Forest, peel
from planner.search.network.form import Floats, Ints, Network, shapes
from planner.search.network.sweeps import Sweeps

__all__ = ["Core", "Shifted", "shifted"]

_WIDEST = 10.0


@dataclass(frozen=True, slots=True)
class Core:
    """A network, its trees and the sweeps over the rest; `inner`: without the trees' edges."""

    net: Network
    forest: Forest
    sweeps: Sweeps
    inner: Network

    @classmethod
    def of(cls, net: Network) -> "Core":
        """Split a network."""
        forest = peel(net)
        kept = np.zeros(net.first.size, bool)
        kept[forest.edges] = True
        inner = replace(
            net,
            first=net.first[kept],
            second=net.second[kept],
            table=net.table[np.repeat(kept, np.diff(net.table_start))],
        )
        return cls(net, forest, Sweeps(net, forest.edges), inner)

    @property
    def nodes(self) -> Ints:
        """Nodes of the core."""
        return self.sweeps.nodes

    def up(self, price: Floats) -> Floats:
        """Cost of every option at these row prices, with the trees below."""
        return self.forest.up(self.net.priced(price))

    def placed(self, up: Floats, picks: Ints, free: Ints, found: Ints) -> Ints:
        """Return picks with those of the nodes `free` changed, and of the trees (see `up`)."""
        changed = picks.copy()
        changed[free] = found
        self.forest.down(up, changed)
        return changed

    def constant(self, up: Floats, price: Floats) -> float:
        """Return the part of the dual value that the core does not decide."""
        roots = float(self.forest.roots(up).sum())
        return self.net.base + roots - float(price @ self.net.capacity)


@dataclass(frozen=True, slots=True)
class Shifted:
    """Tables of the core's edges after the messages, flat, and what to add to every option.

    `scale` is the size of the bound that the messages gave.
    """

    core: Core
    table: Floats
    start: Ints
    offset: Floats
    scale: float

    def piece(self, up: Floats, free: Ints, picks: Ints, spare: float) -> Piece:
        """Cut out the nodes `free`; the others keep their picks.

        Parameters
        ----------
        up    : costs of options from `Core.up`
        spare : picks that cost less than the present ones and so much, as a share of `scale`, are
                wanted; any at all, where the present ones are forbidden
        """
        net, sweeps = self.core.net, self.core.sweeps
        place = np.full(net.sizes.size, -1)
        place[free] = np.arange(free.size)
        unary = up + self.offset
        low, high = place[sweeps.low] >= 0, place[sweeps.high] >= 0
        self._fix(unary, np.flatnonzero(low & ~high), np.flatnonzero(high & ~low), picks)
        both = np.flatnonzero(low & high)
        pairs = []
        now = 0.0
        for rows, columns, group in shapes(
            net.sizes[sweeps.low[both]], net.sizes[sweeps.high[both]]
        ):
            which = both[group]
            at = self.start[which][:, None] + np.arange(rows * columns)
            table = self.table[at].reshape(-1, rows, columns)
            first, second = sweeps.low[which], sweeps.high[which]
            now += float(table[np.arange(which.size), picks[first], picks[second]].sum())
            pairs.append((place[first], place[second], table))
        own = [unary[net.start[n] : net.start[n + 1]] for n in free.tolist()]
        least = [u.min() for u in own]
        own = [u - low if low < np.inf else u for u, low in zip(own, least, strict=True)]
        now += float(sum(u[p] for u, p in zip(own, picks[free].tolist(), strict=True)))
        now += (spare if now < np.inf else 0.0) * self.scale
        now = min(now, _WIDEST * self.scale) if now == np.inf else now
        return Piece(own, pairs, now, [], picks[free])

    def _fix(self, unary: Floats, low: Ints, high: Ints, picks: Ints) -> None:
        """Add the tables of edges that leave the piece: `low` their low end is inside."""
        net, sweeps = self.core.net, self.core.sweeps
        rows, columns = net.sizes[sweeps.low], net.sizes[sweeps.high]
        for edges, inner, outer, stride, step in (
            (low, sweeps.low, sweeps.high, columns, np.ones_like(columns)),
            (high, sweeps.high, sweeps.low, np.ones_like(rows), columns),
        ):
            size = net.sizes[inner[edges]]
            which = np.repeat(edges, size)
            inside = np.arange(which.size) - np.repeat(np.cumsum(size) - size, size)
            at = self.start[which] + inside * stride[which] + picks[outer[which]] * step[which]
            np.add.at(unary, net.start[inner[which]] + inside, self.table[at])


def shifted(core: Core, total: Floats, value: float) -> Shifted:
    """Move the messages of the last sweep, which left `total`, into the tables; `value`: bound."""
    net, sweeps = core.net, core.sweeps
    message = sweeps.message
    slack = total - np.repeat(np.minimum.reduceat(total, net.start[:-1]), net.sizes)
    count = np.bincount(sweeps.high, minlength=net.sizes.size)
    sizes = net.sizes[sweeps.low] * net.sizes[sweeps.high]
    start = np.concatenate(([0], np.cumsum(sizes)))
    flat = np.empty(int(start[-1]))
    for rows, columns, which in shapes(net.sizes[sweeps.low], net.sizes[sweeps.high]):
        low, high = np.arange(rows)[:, None], np.arange(columns)[:, None]
        part = sweeps.share[sweeps.high[which]] * slack[net.start[sweeps.high[which]] + high]
        table = sweeps.oriented(which, rows, columns, False)
        table += (part - message[sweeps.to_high[which] + high])[None, :, :]
        table -= message[sweeps.to_low[which] + low][:, None, :]
        table -= table.min(axis=(0, 1))
        at = start[which] + np.arange(rows * columns)[:, None]
        flat[at] = table.reshape(rows * columns, -1)
    moved = np.repeat(count * sweeps.share, net.sizes) * slack
    return Shifted(
        core, flat, start, sweeps.totals(np.zeros(net.cost.size)) - moved, max(abs(value), 1.0)
    )
