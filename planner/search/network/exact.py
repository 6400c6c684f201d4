"""Small networks solved by toulbar2, an exact solver of weighted constraint networks.

Costs become integers: every entry is multiplied by one scale and rounded, and entries at or above
the upper bound are forbidden. What comes back is the best picks found, and whether the search
ended by itself, which proves them best up to the rounding (half a unit for each table).

Runs in a child process (see `child`): call `solve` there. Knows tables; nothing of prices.
Source: toulbar2, Allouche et al.; forge.inrae.fr/thomas.schiex/toulbar2.
"""

import os
import signal
from dataclasses import dataclass

import numpy as np

from planner.search.network.form import Floats, Ints

__all__ = ["UNITS", "Answer", "Piece", "available", "solve"]

UNITS = 1e13
_TOP = 1e17


@dataclass(frozen=True, slots=True)
class Piece:
    """A network of pairs, and rows that must be kept.

    Parameters
    ----------
    unary  : costs of the options of every node
    pairs  : (first nodes, second nodes, tables [edge, row, column]) by shape
    upper  : only picks that cost less are wanted
    rows   : (nodes, what each of their options uses, capacity), whole numbers
    hint   : picks to try first
    """

    unary: list[Floats]
    pairs: list[tuple[Ints, Ints, Floats]]
    upper: float
    rows: list[tuple[list[int], list[Floats], int]]
    hint: Ints | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Picks (None: none that cost less than `upper`), and whether that is proved."""

    picks: Ints | None
    proved: bool


def available() -> bool:
    """Tell whether toulbar2 can be used here."""
    if not hasattr(os, "fork"):
        return False
    try:
        import pytoulbar2  # noqa: F401
    except ImportError:
        return False
    return True


def solve(piece: Piece, limit_s: float, backtracks: int | None = None, seed: int = 1) -> Answer:
    """Solve a piece: best picks below `upper`, in so much processor time or so many backtracks."""
    import pytoulbar2

    if piece.upper <= 0.0:
        return Answer(None, True)  # no costs are below nothing
    scale = 1.0 if piece.whole else UNITS / max(piece.upper, 1e-300)
    upper = int(np.ceil(piece.upper * scale))
    cfn = pytoulbar2.CFN(upper, vac=0, seed=seed, verbose=-1)
    network = cfn.CFN.wcsp
    for node, unary in enumerate(piece.unary):
        network.makeEnumeratedVariable(f"x{node}", 0, unary.size - 1)
        network.postUnaryConstraint(node, _units(unary, scale, upper).tolist(), False)
    for first, second, table in piece.pairs:
        scope = np.ascontiguousarray(np.stack((first, second), axis=1))
        network.postMultBinaryVecConstraints(scope, _units(table, scale, upper), False)
    for nodes, uses, capacity in piece.rows:
        network.postKnapsackConstraint(nodes, _knapsack(uses, capacity), kp=True)
    if piece.hint is not None:
        for node, value in enumerate(piece.hint.tolist()):
            network.setBestValue(node, value)
    if backtracks is not None:
        cfn.Option.backtrackLimit = backtracks
    cfn.CFN.timer(1_000_000)
    signal.setitimer(signal.ITIMER_VIRTUAL, max(limit_s, 0.01))
    found = cfn.Solve()
    proved = not cfn.Option.limited
    return Answer(None if found is None else np.array(found[0], np.int64), proved)


def _units(costs: Floats, scale: float, upper: int) -> Floats:
    units = np.full(costs.shape, _TOP)
    np.multiply(costs, scale, out=units, where=costs < np.inf)
    np.rint(units, out=units)
    units[units >= upper] = _TOP
    return np.ascontiguousarray(units)


def _knapsack(uses: list[Floats], capacity: int) -> str:
    """Say sum of uses <= capacity as toulbar2 reads it: sum of -uses >= -capacity."""
    parts = [str(-capacity)]
    for use in uses:
        some = np.flatnonzero(use)
        parts.append(str(some.size))
        parts += [f"{value} {-int(use[value])}" for value in some]
    return " ".join(parts)
