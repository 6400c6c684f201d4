"""Problems of other forms as a `Network`: the standard form, and instances of the contest."""

import numpy as np

from planner.importers.iopddl_instance import INFINITE, Instance, live_sets
from planner.problem import Problem
from planner.search.network.form import Floats, Ints, Network
from planner.search.tables import lower

__all__ = ["from_instance", "from_problem"]

_EXACT = 2.0**52


def from_instance(instance: Instance) -> Network:
    """Lower an instance of the contest; a row for each largest live set."""
    first, end = live_sets(instance.lo, instance.hi)
    users = np.flatnonzero(end > first) if instance.limit is not None else np.zeros(0, np.int64)
    rows = int(end.max(initial=0)) if instance.limit is not None else 0
    mine = np.isin(np.repeat(np.arange(instance.sizes.size), instance.sizes), users)
    use = instance.usage[mine].astype(float)
    capacity = np.full(rows, float(instance.limit if instance.limit is not None else 0.0))
    return Network(
        sizes=instance.sizes,
        cost=_forbidding(instance.cost),
        first=instance.first,
        second=instance.second,
        table=_forbidding(instance.edge_cost),
        slot_node=users,
        lo=first[users],
        hi=end[users],
        use=use,
        capacity=_safe(capacity, use),
    )


def _forbidding(cost: Ints | Floats) -> Floats:
    found = cost.astype(float)
    found[cost >= INFINITE] = np.inf
    return found


def _safe(capacity: Floats, use: Floats) -> Floats:
    """Lower capacities a little where sums of uses may be rounded."""
    total = float(np.abs(use).sum()) + float(np.abs(capacity).max(initial=0.0))
    whole = bool(np.all(use == np.floor(use)))
    return capacity if whole and total < _EXACT else capacity - total * 2.0**-50


def from_problem(problem: Problem) -> Network | None:
    """Lower a problem without bottlenecks; None: a decision has no option."""
    tables = lower(problem)
    if bool(np.any(tables.sizes == 0)):
        return None
    pairs = list(tables.pairs)
    parts = [
        (member, row, tables.of(one.usage, member))
        for row, one in enumerate(tables.rows)
        for member in one.members.tolist()
    ]
    parts.sort(key=lambda part: part[:2])
    row = np.array([part[1] for part in parts], np.int64)
    use = np.concatenate([part[2] for part in parts]) if parts else np.zeros(0)
    return Network(
        sizes=tables.sizes.astype(np.int64),
        cost=tables.costs,
        first=np.array([a for a, _ in pairs], np.int64),
        second=np.array([b for _, b in pairs], np.int64),
        table=np.concatenate([t.ravel() for t in tables.pairs.values()] or [np.zeros(0)]),
        slot_node=np.array([part[0] for part in parts], np.int64),
        lo=row,
        hi=row + 1,
        use=use,
        capacity=np.array([one.capacity for one in tables.rows], float),
        base=tables.base,
    )
