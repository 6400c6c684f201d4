"""A network of decisions in flat arrays: the form in which large problems are solved.

    minimise   base + sum_i cost_i[x_i] + sum_e table_e[x_first, x_second]
    subject to sum over slots s of row r: use_s[x_node(s)] <= capacity_r

A *row* is a limit, a *slot* a node's part in the rows lo .. hi - 1: what it uses is the same in
each of them. Rows in order of time make one slot of each node; any other set of limits makes
slots of one row each. So one running sum gives what every row uses, and prices of rows add up to
the price of a slot, however many rows there are.

Ragged data (options of nodes, tables of edges) lie end to end in one array. Knows arrays; nothing
of where they came from, and no solver.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bools", "Floats", "Ints", "Network", "ends", "inside", "range_min", "shapes"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def ends(sizes: Ints) -> Ints:
    """Return where each of several lists that lie end to end begins, and where the last ends."""
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def inside(sizes: Ints) -> Ints:
    """Positions inside lists of these sizes that lie end to end: 0 1 2, 0 1, ..."""
    start = ends(sizes)
    return np.arange(start[-1]) - np.repeat(start[:-1], sizes)


def range_min(values: Floats, lo: Ints, hi: Ints) -> Floats:
    """Least of values[lo:hi] for many ranges; inf where a range is empty."""
    levels = [np.asarray(values, float)]
    while 2 ** len(levels) <= max(values.size, 1):
        step, last = 2 ** (len(levels) - 1), levels[-1]
        levels.append(np.minimum(last[: last.size - step], last[step:]))
    found = np.full(lo.size, np.inf)
    level = np.frexp(np.maximum(hi - lo, 1).astype(float))[1] - 1
    for k, least in enumerate(levels):
        mine = np.flatnonzero((level == k) & (hi > lo))
        found[mine] = np.minimum(least[lo[mine]], least[hi[mine] - 2**k])
    return found


def shapes(rows: Ints, columns: Ints) -> Iterator[tuple[int, int, Ints]]:
    """Return, for each pair of sizes that occurs, the two sizes and which edges have them."""
    if not rows.size:
        return
    key = rows * (int(columns.max()) + 1) + columns
    order = np.argsort(key, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        yield int(rows[group[0]]), int(columns[group[0]]), group


@dataclass(frozen=True)
class Network:
    """Nodes, edges and rows in flat arrays (see the module).

    Parameters
    ----------
    sizes        : options of every node
    cost         : of every option, node after node; inf forbids
    first,second : nodes of every edge
    table        : cost of every pair of options, edge after edge, rows of the first node
    slot_node    : node of every slot, ascending
    lo, hi       : rows of every slot
    use          : what every option of its node uses, slot after slot
    capacity     : of every row
    base         : a cost that is always paid
    """

    sizes: Ints
    cost: Floats
    first: Ints
    second: Ints
    table: Floats
    slot_node: Ints
    lo: Ints
    hi: Ints
    use: Floats
    capacity: Floats
    base: float = 0.0

    @cached_property
    def start(self) -> Ints:
        """Where the options of every node begin."""
        return ends(self.sizes)

    @cached_property
    def node_of(self) -> Ints:
        """Node of every option."""
        return np.repeat(np.arange(self.sizes.size), self.sizes)

    @cached_property
    def table_start(self) -> Ints:
        """Where the table of every edge begins."""
        return ends(self.sizes[self.first] * self.sizes[self.second])

    @cached_property
    def use_start(self) -> Ints:
        """Where the uses of every slot begin."""
        return ends(self.sizes[self.slot_node])

    @cached_property
    def slot_start(self) -> Ints:
        """Where the slots of every node begin."""
        return ends(np.bincount(self.slot_node, minlength=self.sizes.size))

    @cached_property
    def use_option(self) -> Ints:
        """Option of every use."""
        sizes = self.sizes[self.slot_node]
        return np.repeat(self.start[self.slot_node], sizes) + inside(sizes)

    @cached_property
    def use_slot(self) -> Ints:
        """Slot of every use."""
        return np.repeat(np.arange(self.slot_node.size), self.sizes[self.slot_node])

    def tables(self, edges: Ints, rows: int, columns: int) -> Floats:
        """Tables of edges of one shape, [edge, row, column]."""
        at = self.table_start[edges][:, None] + np.arange(rows * columns)
        found: Floats = self.table[at].reshape(-1, rows, columns)
        return found

    def price(self, picks: Ints) -> float:
        """Cost of the picks; inf where one is forbidden."""
        at = picks[self.first] * self.sizes[self.second] + picks[self.second]
        nodes = self.cost[self.start[:-1] + picks].sum()
        return float(self.base + nodes + self.table[self.table_start[:-1] + at].sum())

    def slot_use(self, picks: Ints) -> Floats:
        """Return what the picks use in every slot."""
        used: Floats = self.use[self.use_start[:-1] + picks[self.slot_node]]
        return used

    def row_use(self, slot_use: Floats) -> Floats:
        """Sum the uses of slots over the rows."""
        rows = self.capacity.size
        change = np.bincount(self.lo, slot_use, rows + 1) - np.bincount(self.hi, slot_use, rows + 1)
        used: Floats = np.cumsum(change[:rows])
        return used

    def slot_price(self, row_price: Floats) -> Floats:
        """Sum the prices of rows over the slots."""
        total = np.concatenate(([0.0], np.cumsum(row_price)))
        paid: Floats = total[self.hi] - total[self.lo]
        return paid

    def priced(self, row_price: Floats) -> Floats:
        """Cost of every option with what it uses charged at the rows' prices."""
        charge = np.repeat(self.slot_price(row_price), self.sizes[self.slot_node]) * self.use
        return self.cost + np.bincount(self.use_option, charge, self.cost.size)

    def excess(self, picks: Ints) -> Floats:
        """Return what the picks use above capacity, by row (negative: what is left)."""
        return self.row_use(self.slot_use(picks)) - self.capacity

    def allows(self, picks: Ints) -> bool:
        """Tell whether the picks keep every row and none is forbidden."""
        return bool(np.all(self.excess(picks) <= 0.0)) and self.price(picks) < np.inf

    def better(self, first: Ints | None, second: Ints | None) -> Ints | None:
        """Return the cheaper of two picks, either of which may be missing."""
        if first is None or second is None:
            return second if first is None else first
        return first if self.price(first) <= self.price(second) else second

    def given(self, picks: Ints) -> Floats:
        """Cost of every option with its edges, were its neighbours to keep their picks."""
        rows, columns = self.sizes[self.first], self.sizes[self.second]
        begin = self.table_start[:-1]
        across = np.repeat(begin + picks[self.first] * columns, columns) + inside(columns)
        down = np.repeat(begin + picks[self.second], rows) + inside(rows) * np.repeat(columns, rows)
        to_second = np.repeat(self.start[self.second], columns) + inside(columns)
        to_first = np.repeat(self.start[self.first], rows) + inside(rows)
        size = self.cost.size
        found = np.bincount(to_second, self.table[across], size)
        return np.asarray(found + np.bincount(to_first, self.table[down], size), float)
