"""Min-sum elimination without limits: the least cost, its picks, and every option's least cost.

Decisions go one by one in a given order; a decision's table spans it and the neighbours that it
has then (its bag), and sends its minimum to the next of them. The way back tells each table what
the rest of the problem costs at least, which gives min-marginals: for every option of every
decision, the least cost of any picks with it. Knows tables; no limits.

Source: Dechter, Bucket elimination, Artificial Intelligence 113, 1999; min-marginals by passing
messages both ways on the tree of buckets (Shafer and Shenoy, 1990).
"""

from dataclasses import dataclass

import numpy as np

from costmodels.units import Column
from planner.search.order import Order
from planner.search.tables import Tables

__all__ = ["Marginals", "min_sum"]


@dataclass(frozen=True, slots=True)
class Marginals:
    """Least cost of all picks, the picks, and the least cost with each option.

    Parameters
    ----------
    beliefs : for each decision, the least cost with each way to pick its bag and it
    outside : for each decision, what all but its subtree costs at least, over its bag
    """

    least: float
    picks: tuple[int, ...]
    marginals: Column
    beliefs: dict[int, Column]
    outside: dict[int, Column]


@dataclass(frozen=True, slots=True)
class _Bucket:
    """Table over (*bag, decision), the message to the bag, and who receives it (-1: nobody)."""

    scope: tuple[int, ...]
    table: Column
    message: Column
    parent: int


def min_sum(tables: Tables, costs: Column, order: Order, *, forbid_only: bool = False) -> Marginals:
    """Minimise the sum of `costs` (laid out as `Tables.costs`) and of the pairs' tables.

    Parameters
    ----------
    forbid_only : of the pairs' tables only what they forbid counts, and the base does not
    """
    buckets = _inward(tables, costs, order, forbid_only)
    base = 0.0 if forbid_only else tables.base
    least = base + sum(float(b.message) for b in buckets.values() if b.parent < 0)
    picks = [0] * len(tables.sizes)
    marginals = np.full(len(costs), np.inf)
    if not np.isfinite(least):
        return Marginals(least, tuple(picks), marginals, {}, {})
    children: dict[int, list[int]] = {}
    for child, one in buckets.items():
        children.setdefault(one.parent, []).append(child)
    outside: dict[int, Column] = {}
    beliefs: dict[int, Column] = {}
    for decision in reversed(order.decisions):
        bucket = buckets[decision]
        chosen = tuple(picks[d] for d in bucket.scope[:-1])
        picks[decision] = int(np.argmin(bucket.table[chosen]))
        if bucket.parent < 0:
            outside[decision] = np.asarray(least - float(bucket.message))
        belief = bucket.table + outside[decision][..., None]
        beliefs[decision] = belief
        axes = tuple(range(belief.ndim - 1))
        start, stop = tables.start[decision], tables.start[decision + 1]
        marginals[start:stop] = belief.min(axis=axes) if axes else belief
        for child in children.get(decision, ()):
            outside[child] = _outside(bucket, belief, buckets[child])
    return Marginals(least, tuple(picks), marginals, beliefs, outside)


def _inward(tables: Tables, costs: Column, order: Order, forbid_only: bool) -> dict[int, _Bucket]:
    place = {d: at for at, d in enumerate(order.decisions)}
    waiting: dict[int, list[tuple[tuple[int, ...], Column]]] = {}
    for (a, b), table in tables.pairs.items():
        if forbid_only:
            table = np.where(np.isfinite(table), 0.0, np.inf)
        waiting.setdefault(min(a, b, key=place.__getitem__), []).append(((a, b), table))
    buckets: dict[int, _Bucket] = {}
    for decision, bag in zip(order.decisions, order.bags, strict=True):
        scope = (*bag, decision)
        own = tables.of(costs, decision)
        table = np.broadcast_to(own, tuple(int(tables.sizes[d]) for d in scope)).copy()
        for over, part in waiting.pop(decision, []):
            table += _spread(over, part, scope)
        message = table.min(axis=-1)
        parent = min(bag, key=place.__getitem__, default=-1)
        if parent >= 0:
            waiting.setdefault(parent, []).append((bag, message))
        buckets[decision] = _Bucket(scope, table, message, parent)
    return buckets


def _spread(over: tuple[int, ...], part: Column, scope: tuple[int, ...]) -> Column:
    """Lay a table out over a wider scope."""
    axes = sorted(range(len(over)), key=lambda i: scope.index(over[i]))
    shape = [1] * len(scope)
    for i in axes:
        shape[scope.index(over[i])] = part.shape[i]
    return part.transpose(axes).reshape(shape)


def _outside(bucket: _Bucket, belief: Column, child: _Bucket) -> Column:
    """Least cost of all that is not in a child's subtree, over the child's bag."""
    bag = child.scope[:-1]
    gone = tuple(i for i, d in enumerate(bucket.scope) if d not in bag)
    least = belief.min(axis=gone) if gone else belief
    left = [d for d in bucket.scope if d in bag]
    least = least.transpose([left.index(d) for d in bag])
    known = np.isfinite(child.message)
    inside = np.where(known, child.message, 0.0)
    return np.where(known, least - inside, np.inf)
