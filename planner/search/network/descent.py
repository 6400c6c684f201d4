"""Moves of single nodes: downhill at prices, and downhill under the limits themselves.

In every round each node looks for its best option while its neighbours stand still; of two
neighbours that would move, the one that gains less waits. Knows networks and prices of options;
nothing of trees, messages or exact solvers.
"""

import numpy as np

from planner.search.network.form import Floats, Ints, Network, range_min

__all__ = ["descend", "polish"]

_ROUNDS = 40


def descend(net: Network, cost: Floats, picks: Ints, rounds: int = _ROUNDS) -> Ints:
    """Move nodes to cheaper options at these costs of options until none gains."""
    for _ in range(rounds):
        local = cost + net.given(picks)
        best, gain = _best(net, local, picks)
        moves = _apart(net, gain)
        if not moves.size:
            break
        picks = picks.copy()
        picks[moves] = best[moves]
    return picks


def polish(net: Network, picks: Ints, rounds: int = _ROUNDS) -> Ints:
    """Move nodes to cheaper options where the limits have room; rows above capacity never rise."""
    for _ in range(rounds):
        local = net.cost + net.given(picks)
        room = net.capacity - net.row_use(net.slot_use(picks))
        local[_crowded(net, picks, room)] = np.inf
        best, gain = _best(net, local, picks)
        moves = _apart(net, gain)
        picks, moved = _moved(net, picks, best, moves, room)
        if not moved:
            break
    return picks


def _best(net: Network, local: Floats, picks: Ints) -> tuple[Ints, Floats]:
    """Return the best option of every node and what it gains over the present one."""
    least = np.minimum.reduceat(local, net.start[:-1])
    at = np.flatnonzero(local == least[net.node_of])
    node = net.node_of[at]
    first = np.concatenate(([True], node[1:] != node[:-1]))
    present = local[net.start[:-1] + picks]
    gain = np.zeros(picks.size)
    better = least < present
    gain[better] = np.minimum(present[better], 1e300) - least[better]
    gain[gain <= 1e-12 * np.abs(np.minimum(present, 1e300))] = 0.0
    return at[first] - net.start[:-1], gain


def _apart(net: Network, gain: Floats) -> Ints:
    """Nodes that gain, no two of them neighbours, most gain first."""
    rank = np.empty(gain.size, np.int64)
    order = np.argsort(-gain, kind="stable")
    rank[order] = np.arange(gain.size)
    wants = gain > 0.0
    clash = wants[net.first] & wants[net.second]
    first, second = net.first[clash], net.second[clash]
    stays = wants.copy()
    stays[np.where(rank[first] > rank[second], first, second)] = False
    return order[stays[order]]


def _crowded(net: Network, picks: Ints, room: Floats) -> Ints:
    """Options that would exceed a row, were only that node to move."""
    now = np.repeat(net.slot_use(picks), net.sizes[net.slot_node])
    space = np.maximum(range_min(room, net.lo, net.hi), 0.0)
    return net.use_option[net.use - now > space[net.use_slot]]


def _moved(net: Network, picks: Ints, best: Ints, moves: Ints, room: Floats) -> tuple[Ints, bool]:
    """Move one after the other where there still is room."""
    picks = picks.copy()
    count = 0
    for node in moves.tolist():
        changes = [
            (net.lo[s], net.hi[s], net.use[net.use_start[s] + best[node]]
             - net.use[net.use_start[s] + picks[node]])
            for s in range(net.slot_start[node], net.slot_start[node + 1])
        ]  # fmt: skip
        if any(d > 0.0 and d > max(room[lo:hi].min(), 0.0) for lo, hi, d in changes):
            continue
        for lo, hi, change in changes:
            room[lo:hi] -= change
        picks[node] = best[node]
        count += 1
    return picks, count > 0
