"""In which order to eliminate decisions: the one with the smallest table first.

The order is a tree decomposition of the decision graph: the bag of a decision is itself and the
neighbours that it has when it goes. Greedy by the size of the table over the bag, which is min-
degree weighted by the number of options. Knows sizes and pairs; no costs.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Order", "greedy"]


@dataclass(frozen=True, slots=True)
class Order:
    """Decisions in order of elimination.

    Parameters
    ----------
    decisions : the order; bags: for each, the decisions left that its table spans, ascending
    largest   : entries of the largest table; total: entries of all
    """

    decisions: tuple[int, ...]
    bags: tuple[tuple[int, ...], ...]
    largest: float
    total: float


def greedy(
    sizes: NDArray[np.intp], pairs: Iterable[tuple[int, int]], most: float = np.inf
) -> Order | None:
    """Return the order, or None as soon as a table has more than `most` entries."""
    near: list[set[int]] = [set() for _ in sizes]
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)

    def entries(decision: int) -> float:
        total = float(sizes[decision])
        for other in near[decision]:
            total *= float(sizes[other])
        return total

    size = [entries(d) for d in range(len(sizes))]
    heap = [(one, d) for d, one in enumerate(size)]
    heapq.heapify(heap)
    decisions: list[int] = []
    bags: list[tuple[int, ...]] = []
    largest = total = 0.0
    gone = [False] * len(sizes)
    while heap:
        one, d = heapq.heappop(heap)
        if gone[d] or one != size[d]:
            continue
        if one > most:
            return None
        gone[d] = True
        decisions.append(d)
        bags.append(tuple(sorted(near[d])))
        largest, total = max(largest, one), total + one
        for other in near[d]:
            near[other] |= near[d]
            near[other] -= {other, d}
        for other in near[d]:
            size[other] = entries(other)
            heapq.heappush(heap, (size[other], other))
    return Order(tuple(decisions), tuple(bags), largest, total)
