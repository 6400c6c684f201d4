"""Which labels are worth keeping: those that no other label of their group beats in everything.

A label is a cost and what it has used of several resources; less is better in each. Labels with
the same key compete, since whatever follows costs them the same.
"""

import numpy as np
from numpy.typing import NDArray

from costmodels.units import Column

__all__ = ["undominated"]

MOST_PASSES = 200
"""Passes of pairwise comparison; what is left after them is kept, compared or not."""


def undominated(key: NDArray[np.intp], cost: Column, used: Column) -> NDArray[np.intp]:
    """Return the rows to keep, by key, then by cost.

    Parameters
    ----------
    key  : group of every row
    cost : of every row
    used : (rows, resources)

    Notes
    -----
    Of equal labels the first stays. With two resources or more, a frontier longer than
    `MOST_PASSES` keeps labels that others beat: a loss of time, not of exactness.
    """
    resources = used.shape[1]
    columns = [used[:, r] for r in range(resources)]
    order = np.lexsort((*reversed(columns), cost, key))
    if len(order) == 0:
        return order
    group = key[order]
    leads = np.ones(len(order), bool)
    leads[1:] = group[1:] != group[:-1]
    if resources == 0:
        return order[leads]
    if resources == 1:
        return order[_falling(np.cumsum(leads) - 1, columns[0][order])]
    return order[_pairwise(np.cumsum(leads) - 1, used[order])]


def _falling(group: NDArray[np.intp], used: Column) -> NDArray[np.bool_]:
    """Tell which rows use less than every earlier row of their group."""
    rank = np.unique(used, return_inverse=True)[1].reshape(-1)
    depth = rank - group * (int(rank.max()) + 1)  # every group lies below the one before it
    lowest = np.minimum.accumulate(depth)
    keep = np.ones(len(used), bool)
    keep[1:] = depth[1:] < lowest[:-1]
    return keep


def _pairwise(group: NDArray[np.intp], used: Column) -> NDArray[np.bool_]:
    """Keep the first row of each group, drop what it beats, and so on with what is left."""
    keep = np.zeros(len(used), bool)
    left = np.arange(len(used))
    for _ in range(MOST_PASSES):
        if len(left) == 0:
            return keep
        mine = group[left]
        leads = np.ones(len(left), bool)
        leads[1:] = mine[1:] != mine[:-1]
        keep[left[leads]] = True
        leader = left[leads][np.cumsum(leads) - 1]
        left = left[~np.all(used[leader] <= used[left], axis=1)]
    keep[left] = True
    return keep
