"""Random decision problems, small enough to be tried out: of every shape that the form allows.

`problem(seed)` draws everything: decisions of one to four options, couplings (several of a pair,
either way round), limits of several resources and capacities, infinite costs, bottlenecks with
weights and bases, sequences with and without empty groups, ties (costs of few values), tiny and
huge magnitudes, and now and then nothing at all. Keywords leave parts out.
"""

from collections.abc import Sequence as Ordered

import numpy as np

from costmodels.breakdown import Breakdown, Memory, Term
from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem, Sequence

__all__ = ["column", "problem"]

RESOURCES = ("memory", "links")


def column(seconds: object, usage: dict[str, object] | None = None) -> Breakdown:
    """Breakdown of one term, and one footprint for each resource."""
    held = tuple(
        Memory("held", kind, np.asarray(amount, float), "test")
        for kind, amount in (usage or {}).items()
    )
    return Breakdown((Term("work", "compute", np.asarray(seconds, float), "test"),), held)


def problem(
    seed: int,
    *,
    most: int = 6,
    couplings: bool = True,
    limits: bool = True,
    bottlenecks: bool = True,
    sequences: bool = True,
    scale: float | None = None,
) -> Problem:
    """Draw a problem of at most `most` decisions."""
    rng = np.random.default_rng(seed)
    count = 0 if rng.random() < 0.01 else int(rng.integers(1, most + 1))
    sizes = [int(rng.integers(1, 5)) for _ in range(count)]
    unit = float(10.0 ** rng.integers(-9, 10)) if scale is None else scale
    ties = rng.random() < 0.3
    decisions = tuple(_decision(rng, d, size, unit, ties) for d, size in enumerate(sizes))
    return Problem(
        decisions,
        _couplings(rng, sizes, unit, ties) if couplings else (),
        _limits(rng, decisions) if limits and rng.random() < 0.7 else (),
        _bottlenecks(rng, sizes, unit) if bottlenecks and rng.random() < 0.5 else (),
        _sequences(rng, sizes) if sequences and rng.random() < 0.3 else (),
        column(unit * float(rng.integers(-2, 3))),
    )


def _seconds(
    rng: np.random.Generator, shape: Ordered[int], unit: float, ties: bool, forbidden: float
) -> np.ndarray:
    drawn = rng.integers(0, 3, shape).astype(float) if ties else rng.normal(2.0, 3.0, shape)
    return np.where(rng.random(shape) < forbidden, np.inf, unit * drawn)


def _decision(rng: np.random.Generator, at: int, size: int, unit: float, ties: bool) -> Decision:
    usage = {kind: rng.integers(0, 6, size).astype(float) for kind in RESOURCES}
    if rng.random() < 0.3:
        usage["memory"] = rng.random(size) * 6.0
    seconds = _seconds(rng, (size,), unit, ties, 0.05)
    return Decision(f"d{at}", tuple(str(i) for i in range(size)), column(seconds, usage))


def _couplings(
    rng: np.random.Generator, sizes: list[int], unit: float, ties: bool
) -> tuple[Coupling, ...]:
    if len(sizes) < 2:
        return ()
    found = []
    for _ in range(int(rng.integers(0, 2 * len(sizes)))):
        a, b = (int(d) for d in rng.choice(len(sizes), 2, replace=False))
        table = _seconds(rng, (sizes[a], sizes[b]), unit, ties, 0.08)
        found.append(Coupling(a, b, column(table)))
    return tuple(found)


def _limits(rng: np.random.Generator, decisions: tuple[Decision, ...]) -> tuple[Limit, ...]:
    found = []
    for at in range(int(rng.integers(1, 4))):
        resource = RESOURCES[int(rng.integers(len(RESOURCES)))]
        members = tuple(d for d in range(len(decisions)) if rng.random() < 0.7)
        usage = [decisions[d].usage(resource) for d in members]
        least, most = sum(u.min() for u in usage), sum(u.max() for u in usage)
        capacity = float(least + (most - least) * rng.uniform(-0.05, 1.1))
        if rng.random() < 0.5:
            capacity = float(np.floor(capacity))
        found.append(Limit(f"limit {at}", resource, members, capacity))
    return tuple(found)


def _bottlenecks(rng: np.random.Generator, sizes: list[int], unit: float) -> tuple[Bottleneck, ...]:
    found = []
    for at in range(int(rng.integers(1, 3))):
        groups = int(rng.integers(1, 4))
        loads: list[dict[int, np.ndarray]] = [{} for _ in range(groups)]
        for d, size in enumerate(sizes):
            for load in loads:
                if rng.random() < 0.6:
                    load[d] = unit * rng.random(size) * 5.0
        base = tuple(unit * rng.random(groups)) if rng.random() < 0.5 else ()
        weight = float(rng.choice([0.0, 0.5, 1.0, 7.0]))
        found.append(Bottleneck(f"slowest {at}", weight, tuple(loads), base))
    return tuple(found)


def _sequences(rng: np.random.Generator, sizes: list[int]) -> tuple[Sequence, ...]:
    if not sizes:
        return ()
    items = tuple(sorted(int(d) for d in rng.choice(len(sizes), len(sizes), replace=False)))
    if rng.random() < 0.5:
        items = items[: int(rng.integers(1, len(items) + 1))]
    groups = int(rng.integers(1, 4))
    group_of = tuple(rng.integers(0, groups, sizes[item]).astype(np.intp) for item in items)
    return (Sequence(items, groups, group_of, empty=bool(rng.random() < 0.5)),)
