"""A lower bound for a network of pairs by sequential messages (TRW-S), swept in blocks.

Nodes are coloured; no two neighbours share a colour. A sweep goes through the colours in order
and back; all edges of one colour and shape are one step of numpy. Messages move cost between
options and tables without changing the price of any picks:

    total_i = cost_i + sum_j message_ji
    message_ij[b] = min_a (total_i[a] - least_i) share_i - message_ji[a] + table[a, b]

less its least entry, with share_i = 1 / max(edges forward, edges backward). The sum of all that
was taken out on the way back is a lower bound. Tables are swept in single precision: messages may
be anything, and what they prove is worked out in double precision (`Dual.true_bound`).

Source: V. Kolmogorov, IEEE PAMI 28(10), 2006.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.search.network.form import Floats, Ints, Network, ends, inside, shapes

__all__ = ["Sweeps", "colours"]

Singles = NDArray[np.float32]

_ENTRIES = 131_072
"""Entries of the tables of one step: so that what is computed stays in the cache."""


def colours(nodes: int, first: Ints, second: Ints) -> Ints:
    """Colour the nodes so that neighbours differ, those of most neighbours first."""
    neighbours = np.concatenate((second, first))
    order = np.argsort(np.concatenate((first, second)), kind="stable")
    degree = np.bincount(np.concatenate((first, second)), minlength=nodes)
    start, near = ends(degree).tolist(), neighbours[order].tolist()
    colour = [-1] * nodes
    for node in np.argsort(-degree, kind="stable").tolist():
        taken = {colour[n] for n in near[start[node] : start[node + 1]]}
        colour[node] = next(c for c in range(len(taken) + 1) if c not in taken)
    return np.array(colour, np.int64)


@dataclass(frozen=True, slots=True)
class _Step:
    """Edges from nodes of one colour, of one shape: all indices are [option, edge]."""

    low: Ints  # nodes that send
    source: Ints  # options of the nodes that send
    target: Ints  # options of the nodes that receive, each node once
    first: Ints  # first edge of each node that receives
    sent: Ints  # places of the messages sent
    received: Ints  # places of the messages the other way
    share: Floats
    table: Singles  # [option of the sender, option of the receiver, edge]


def _give(step: _Step, total: Floats, change: Floats) -> None:
    """Add to the totals of the nodes that receive."""
    if step.first.size < change.shape[1]:
        change = np.add.reduceat(change, step.first, axis=1)
    total[step.target] += change


class Sweeps:
    """Messages on the core of a network, kept from call to call: prices change little by little."""

    def __init__(self, net: Network, edges: Ints) -> None:
        self.first, self.second = net.first[edges], net.second[edges]
        self.colour = colours(net.sizes.size, self.first, self.second)
        turn = self.colour[self.first] > self.colour[self.second]
        self.low = np.where(turn, self.second, self.first)
        self.high = np.where(turn, self.first, self.second)
        self.edges, self.turn, self.net = edges, turn, net
        self.nodes = np.unique(np.concatenate((self.first, self.second)))
        # messages to the higher colour, edge after edge, then those to the lower
        self.to_high = ends(net.sizes[self.high])
        self.to_low = self.to_high[-1] + ends(net.sizes[self.low])
        self.message = np.zeros(int(self.to_low[-1]))
        where = np.concatenate(
            (
                np.repeat(net.start[self.high], net.sizes[self.high])
                + inside(net.sizes[self.high]),
                np.repeat(net.start[self.low], net.sizes[self.low]) + inside(net.sizes[self.low]),
            )
        )
        self.receiver = where
        self._shares()
        count = int(self.colour[self.low].max(initial=-1)) + 2
        self.forward = [self._steps(c, False) for c in range(count)]
        self.backward = [self._steps(c, True) for c in range(int(self.colour.max(initial=0)) + 1)]

        self.by_colour = [self._options(c) for c in range(count)]

    def _options(self, colour: int) -> list[tuple[Ints, Ints]]:
        """Nodes of one colour by their number of options, with the options."""
        nodes = self.nodes[self.colour[self.nodes] == colour]
        sizes = self.net.sizes[nodes]
        groups = [(nodes[sizes == k], np.arange(k)) for k in np.unique(sizes)]
        return [(n, self.net.start[n][:, None] + k) for n, k in groups]

    def _shares(self) -> None:
        nodes = self.net.sizes.size
        most = np.maximum(
            np.bincount(self.low, minlength=nodes), np.bincount(self.high, minlength=nodes)
        )
        self.share = 1.0 / np.maximum(most, 1)

    def oriented(self, which: Ints, rows: int, columns: int, back: bool) -> Floats:
        """Tables of edges of one shape, [option of the sender, of the receiver, edge]."""
        table = np.empty((rows, columns, which.size))
        for turned in (False, True):
            part = self.turn[which] == turned
            flip = turned != back
            shape = (columns, rows) if flip else (rows, columns)
            own = self.net.tables(self.edges[which[part]], *shape)
            table[:, :, part] = own.transpose(2, 1, 0) if flip else own.transpose(1, 2, 0)
        return table

    def _steps(self, colour: int, back: bool) -> list[_Step]:
        source, target = (self.high, self.low) if back else (self.low, self.high)
        out, into = (self.to_low, self.to_high) if back else (self.to_high, self.to_low)
        mine = np.flatnonzero(self.colour[source] == colour)
        made = []
        net = self.net
        for rows, columns, group in shapes(net.sizes[source[mine]], net.sizes[target[mine]]):
            most = max(1, _ENTRIES // (rows * columns))
            ordered = mine[group][np.argsort(target[mine[group]], kind="stable")]
            for which in np.split(ordered, np.arange(most, group.size, most)):
                first = np.flatnonzero(np.diff(target[which], prepend=-1))
                own, other = np.arange(rows)[:, None], np.arange(columns)[:, None]
                made.append(
                    _Step(
                        source[which],
                        net.start[source[which]] + own,
                        net.start[target[which[first]]] + other,
                        first,
                        out[which] + other,
                        into[which] + own,
                        self.share[source[which]],
                        self.oriented(which, rows, columns, back).astype(np.float32),
                    )
                )
        return made

    def totals(self, cost: Floats) -> Floats:
        """Cost of every option with all messages to it."""
        return cost + np.bincount(self.receiver, self.message, cost.size)

    def sweep(self, cost: Floats) -> tuple[Floats, float]:
        """One sweep forth and one back; return the totals and the bound of the core."""
        total = self.totals(cost)
        message = self.message
        for steps in self.forward:
            for step in steps:
                self._send(step, total, message)
        bound = 0.0
        for steps in reversed(self.backward):
            for step in steps:
                bound += self._send(step, total, message)
        return total, bound + float(self.least(total).sum())

    def least(self, total: Floats) -> Floats:
        """Least total of every node of the core."""
        if not self.nodes.size:
            return np.zeros(0)
        return np.minimum.reduceat(total, self.net.start[:-1])[self.nodes]

    def _send(self, step: _Step, total: Floats, message: Floats) -> float:
        own = total.take(step.source)
        own -= own.min(axis=0)
        own *= step.share
        own -= message.take(step.received)
        reach = own.astype(np.float32)[:, None, :] + step.table
        new = reach.min(axis=0).astype(float)
        least = new.min(axis=0)
        new -= least
        _give(step, total, new - message.take(step.sent))
        message[step.sent] = new
        return float(least.sum())

    def decode(self, total: Floats, picks: Ints) -> None:
        """Pick for the nodes of the core, colour after colour, in place (totals from `sweep`)."""
        total = total.copy()
        for colour, steps in enumerate(self.forward):
            self._pick(colour, total, picks)
            for step in steps:
                given = step.table[picks[step.low], :, np.arange(step.low.size)].T
                _give(step, total, given.astype(float) - self.message[step.sent])

    def _pick(self, colour: int, total: Floats, picks: Ints) -> None:
        for nodes, options in self.by_colour[colour]:
            picks[nodes] = total[options].argmin(axis=1)
