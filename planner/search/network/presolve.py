"""Make a network smaller without losing its optimum: fewer options, edges, slots and rows.

Rounds of these, each a function from a network to a smaller one:

    `supported`   options that are forbidden, or that every option of some neighbour forbids
    `affordable`  options that use more than a row has left when all others use their least
    `undominated` options that another one betters whatever the neighbours pick
    `merged`      parallel edges become one
    `separated`   tables r[a] + c[b] become costs of the nodes
    `thinned`     rows that cannot be exceeded, or that another row implies

What a node uses at least is moved into the capacities, so a slot says what is used above it.

`presolve` returns the smaller network and, for each of its options, the option it was; or None
where nothing is allowed at all.
"""

from dataclasses import dataclass, replace

import numpy as np

from planner.search.network.dominance import undominated
from planner.search.network.form import Bools, Ints, Network, inside, range_min, shapes

__all__ = ["Presolved", "presolve"]

_ROUNDS = 3
_WORTH = 0.95


@dataclass(frozen=True, slots=True)
class Presolved:
    """A smaller network; `option` is where each of its options was in the list of its node."""

    network: Network
    option: Ints

    def lifted(self, picks: Ints) -> Ints:
        """Say picks of the smaller network as picks of the one it came from."""
        found: Ints = self.option[self.network.start[:-1] + picks]
        return found


class _EmptyError(Exception):
    """A node has no option left, or a row no room."""


def presolve(network: Network, rounds: int = _ROUNDS) -> Presolved | None:
    """Reduce a network (see the module); None: no picks are allowed."""
    made = Presolved(network, inside(network.sizes))
    try:
        made = replace(made, network=_merged(_from_least(made.network)))
        for _ in range(rounds):
            before = made.option.size
            made = _supported(_kept(made, _affordable(made.network)))
            made = replace(made, network=_separated(made.network))
            made = _supported(_kept(made, undominated(made.network)))
            made = replace(made, network=_thinned(_from_least(made.network)))
            if made.option.size >= _WORTH * before:
                break
        made = _supported(_kept(made, _affordable(made.network)))
        return replace(made, network=_thinned(_from_least(_separated(made.network))))
    except _EmptyError:
        return None


def _kept(made: Presolved, keep: Bools) -> Presolved:
    """Drop options."""
    if bool(np.all(keep)):
        return made
    net = made.network
    sizes = np.bincount(net.node_of[keep], minlength=net.sizes.size)
    if bool(np.any(sizes == 0)):
        raise _EmptyError
    smaller = replace(
        net,
        sizes=sizes,
        cost=net.cost[keep],
        table=net.table[_kept_entries(net, keep)],
        use=net.use[keep[net.use_option]],
    )
    return Presolved(smaller, made.option[keep])


def _kept_entries(net: Network, keep: Bools) -> Bools:
    """Tell which entries of the tables belong to two options that are kept."""
    kept = np.ones(net.table.size, bool)
    whole = np.logical_and.reduceat(keep, net.start[:-1])
    cut = np.flatnonzero(~(whole[net.first] & whole[net.second]))
    for rows, columns, group in shapes(net.sizes[net.first[cut]], net.sizes[net.second[cut]]):
        which = cut[group]
        first = keep[net.start[net.first[which]][:, None] + np.arange(rows)]
        second = keep[net.start[net.second[which]][:, None] + np.arange(columns)]
        at = net.table_start[which][:, None] + np.arange(rows * columns)
        kept[at] = (first[:, :, None] & second[:, None, :]).reshape(which.size, -1)
    return kept


def _supported(made: Presolved) -> Presolved:
    """Drop options until each that is left has a partner at every neighbour."""
    net = made.network
    keep = np.isfinite(net.cost)
    finite = np.isfinite(net.table)
    some = np.flatnonzero(np.add.reduceat(~finite, net.table_start[:-1])) if finite.size else ()
    edges = np.asarray(some, np.int64)
    groups = list(shapes(net.sizes[net.first[edges]], net.sizes[net.second[edges]]))
    tables = []
    for rows, columns, group in groups:
        which = edges[group]
        at = net.table_start[which][:, None] + np.arange(rows * columns)
        own = finite[at].reshape(-1, rows, columns)
        first = net.start[net.first[which]][:, None] + np.arange(rows)
        second = net.start[net.second[which]][:, None] + np.arange(columns)
        tables.append((first, second, own))
    while True:
        before = int(keep.sum())
        for first, second, own in tables:
            alive = own & keep[first][:, :, None] & keep[second][:, None, :]
            keep[first[~alive.any(axis=2)]] = False
            keep[second[~alive.any(axis=1)]] = False
        if int(keep.sum()) == before:
            return _kept(made, keep)


def _from_least(net: Network) -> Network:
    """Move what every slot uses at least into the capacities; drop slots that use no more."""
    if not net.slot_node.size:
        return net
    least = np.minimum.reduceat(net.use, net.use_start[:-1])
    use = net.use - np.repeat(least, np.diff(net.use_start))
    capacity = net.capacity - net.row_use(least)
    if bool(np.any(capacity < 0.0)):
        raise _EmptyError
    live = (np.maximum.reduceat(use, net.use_start[:-1]) > 0.0) & (net.hi > net.lo)
    return replace(
        net,
        slot_node=net.slot_node[live],
        lo=net.lo[live],
        hi=net.hi[live],
        use=use[np.repeat(live, np.diff(net.use_start))],
        capacity=capacity,
    )


def _affordable(net: Network) -> Bools:
    """Tell which options fit when all others use their least, which is nothing."""
    room = range_min(net.capacity, net.lo, net.hi)
    keep = np.ones(net.cost.size, bool)
    keep[net.use_option[net.use > room[net.use_slot]]] = False
    return keep


def _thinned(net: Network) -> Network:
    """Drop rows that cannot be exceeded or that a neighbouring row implies."""
    most = np.maximum.reduceat(net.use, net.use_start[:-1]) if net.slot_node.size else net.use
    binding = net.row_use(most) > net.capacity
    while True:
        before = np.concatenate(([0], np.cumsum(binding)))
        lo, hi = before[net.lo], before[net.hi]
        capacity, live = net.capacity[binding], hi > lo
        rows = capacity.size
        net = replace(
            net,
            slot_node=net.slot_node[live],
            lo=lo[live],
            hi=hi[live],
            use=net.use[np.repeat(live, np.diff(net.use_start))],
            capacity=capacity,
        )
        ended = np.bincount(net.hi, minlength=rows + 1)[1:rows] > 0
        begun = np.bincount(net.lo, minlength=rows + 1)[1:rows] > 0
        binding = np.ones(rows, bool)
        tighter = capacity[1:] <= capacity[:-1]
        binding[:-1] &= ended | ~tighter  # row r inside row r + 1
        looser = capacity[1:] >= capacity[:-1]
        kept_left = binding[:-1]
        binding[1:] &= begun | ~looser | ~kept_left
        if bool(np.all(binding)):
            return net


def _separated(net: Network) -> Network:
    """Move what is separable in tables into the costs of nodes; drop tables of nothing."""
    cost = net.cost.copy()
    table = net.table.copy()
    keep = np.ones(net.first.size, bool)
    for rows, columns, edges in shapes(net.sizes[net.first], net.sizes[net.second]):
        own = net.tables(edges, rows, columns)
        left = own.min(axis=2)
        rest = own - left[:, :, None]
        right = rest.min(axis=1)
        rest -= right[:, None, :]
        np.add.at(cost, net.start[net.first[edges]][:, None] + np.arange(rows), left)
        np.add.at(cost, net.start[net.second[edges]][:, None] + np.arange(columns), right)
        table[net.table_start[edges][:, None] + np.arange(rows * columns)] = rest.reshape(
            edges.size, -1
        )
        keep[edges] = np.any(rest != 0.0, axis=(1, 2))
    return _only_edges(replace(net, cost=cost, table=table), keep)


def _only_edges(net: Network, keep: Bools) -> Network:
    return replace(
        net,
        first=net.first[keep],
        second=net.second[keep],
        table=net.table[np.repeat(keep, np.diff(net.table_start))],
    )


def _merged(net: Network) -> Network:
    """Add up the tables of edges between the same two nodes."""
    low, high = np.minimum(net.first, net.second), np.maximum(net.first, net.second)
    _, which, counts = np.unique(
        low * net.sizes.size + high, return_inverse=True, return_counts=True
    )
    if not bool(np.any(counts > 1)):
        return net
    order = np.argsort(which, kind="stable")
    leader = order[np.concatenate(([0], np.cumsum(counts)))[:-1]][which]
    table = net.table.copy()
    for edge in np.flatnonzero(leader != np.arange(which.size)):
        to = leader[edge]
        shape = (net.sizes[net.first[edge]], net.sizes[net.second[edge]])
        own = net.table[net.table_start[edge] : net.table_start[edge + 1]].reshape(shape)
        if net.first[edge] != net.first[to]:
            own = own.T
        table[net.table_start[to] : net.table_start[to + 1]] += own.ravel()
    return _only_edges(replace(net, table=table), leader == np.arange(which.size))
