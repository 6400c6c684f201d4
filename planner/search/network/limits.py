"""Rows as constraints of a piece: what every option of a node uses, with the trees below it.

Trees pick what is cheapest at the prices of the moment, given the node that they hang on; so an
option of a node of the core stands for all of its tree. What the nodes outside the piece use is
taken off the capacity. Uses are rounded up and capacities down: picks that keep the constraint
keep the row.
"""

import numpy as np

from planner.search.network.core import Core
from planner.search.network.form import Bools, Floats, Ints

__all__ = ["constraints", "tight", "worst"]

_UNITS = 2.0**40
_CLOSE = 0.05


def worst(excess: Floats, over: Bools, held: list[int], most: int) -> list[int]:
    """Return `held` rows and some of the most exceeded ones, none close to another."""
    apart = max(1, excess.size // 400)
    chosen = list(held)
    fresh = 0
    for row in np.argsort(-np.where(over, excess, -np.inf), kind="stable").tolist():
        if not over[row] or fresh == most:
            break
        if all(abs(row - other) >= apart for other in chosen[len(held) :]) and row not in held:
            chosen.append(row)
            fresh += 1
    return chosen


def tight(core: Core, free: Ints, picks: Ints, most: int) -> list[int]:
    """Return rows with little room that the nodes `free`, or trees on them, use something of."""
    net = core.net
    mine = np.zeros(net.sizes.size, bool)
    mine[free] = True
    held = np.flatnonzero(mine[core.forest.anchor[net.slot_node]])
    rows = net.capacity.size
    begun = np.bincount(net.lo[held], minlength=rows + 1)
    covered = np.cumsum(begun - np.bincount(net.hi[held], minlength=rows + 1))[:rows] > 0
    excess = net.excess(picks)
    close = covered & (excess > -_CLOSE * net.capacity.max(initial=0.0)) & (excess <= 0.0)
    return worst(excess, close, [], most)


def constraints(
    core: Core, up: Floats, free: Ints, picks: Ints, rows: list[int]
) -> list[tuple[list[int], list[Floats], int]]:
    """Return the rows for the nodes `free`: (nodes, use of their options, capacity left).

    Parameters
    ----------
    up : costs from `Core.up`, by which trees pick
    """
    net = core.net
    place = np.full(net.sizes.size, -1)
    place[free] = np.arange(free.size)
    holder = place[core.forest.anchor[net.slot_node]]
    slots = [np.flatnonzero((net.lo <= r) & (r < net.hi) & (holder >= 0)) for r in rows]
    sizes = net.sizes[free]
    use = np.zeros((len(rows), free.size, int(sizes.max(initial=0))))
    trial = picks.copy()
    for option in range(use.shape[2]):
        trial[free] = np.minimum(option, sizes - 1)
        core.forest.down(up, trial)
        used = net.slot_use(trial)
        for number, mine in enumerate(slots):
            use[number, :, option] = np.bincount(holder[mine], used[mine], free.size)
    now = net.slot_use(picks)
    total = net.row_use(now)
    scale = 1.0
    if not bool(np.all(net.use == np.floor(net.use))):
        scale = _UNITS / max(float(net.capacity.max()), 1e-300)
    found = []
    for number, (row, mine) in enumerate(zip(rows, slots, strict=True)):
        left = float(net.capacity[row] - total[row] + now[mine].sum())
        nodes = np.flatnonzero(use[number].max(axis=1) > 0.0).tolist()
        uses = [np.ceil(use[number, n, : sizes[n]] * scale) for n in nodes]
        found.append((nodes, uses, int(np.floor(left * scale))))
    return found
