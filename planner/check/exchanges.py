"""What a step exchanges, read from the program that the compiler is given.

Every collective of the step's jaxpr with its group, shape and how often it runs (loops counted by
their turns), under the axis of the plan that it serves, which its name says.

Parts: `Exchange`, `exchanges_of`, `sent_bytes`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from planner.check.layout import Axes
from planner.check.spmd.parallel import SCOPE
from planner.check.step import Step

__all__ = ["Exchange", "exchanges_of", "sent_bytes"]

KINDS = {
    "psum": "all_reduce",
    "pmax": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "all_to_all": "all_to_all",
    "ppermute": "permute",
}
NAMED = re.compile(SCOPE + r"([a-z]+)")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One kind of collective.

    Parameters
    ----------
    term    : tp, cp, ep, dp, pp, or loss
    kind    : all_reduce, all_gather, reduce_scatter, all_to_all, permute
    axes    : grid axes of the group
    shape   : of what a rank puts in, and dtype
    dims    : the dim that is gathered or scattered; of an all-to-all those split and joined
    """

    term: str
    kind: str
    axes: Axes
    shape: tuple[int, ...]
    dtype: str
    dims: tuple[int, ...]

    def sent_bytes(self, sizes: Mapping[str, int]) -> float:
        """Bytes that a rank sends for it, by rings and pairs.

        All-reduce 2 (p - 1)/p n, gather (p - 1) n of its own part n, reduce-scatter and all-to-all
        (p - 1)/p n, permute n.
        """
        ranks = math.prod(sizes[axis] for axis in self.axes)
        own = math.prod(self.shape) * jax.numpy.dtype(self.dtype).itemsize
        turns = {
            "all_reduce": 2.0 * (ranks - 1) / ranks,
            "all_gather": ranks - 1.0,
            "reduce_scatter": (ranks - 1) / ranks,
            "all_to_all": (ranks - 1) / ranks,
            "permute": 1.0,
        }
        return turns[self.kind] * own


def exchanges_of(step: Step) -> dict[Exchange, int]:
    """Count the collectives of one step."""
    found: Counter[Exchange] = Counter()
    for exchange, times in _walk(jax.make_jaxpr(step.run)(*step.arguments).jaxpr, 1):
        found[exchange] += times
    return dict(found)


def sent_bytes(found: Mapping[Exchange, int], sizes: Mapping[str, int]) -> dict[str, float]:
    """Bytes that a rank sends in a step, by axis of the plan."""
    sent: Counter[str] = Counter()
    for exchange, times in found.items():
        sent[exchange.term] += times * exchange.sent_bytes(sizes)  # type: ignore[assignment]
    return {term: float(total) for term, total in sorted(sent.items())}


def _walk(jaxpr: Jaxpr, times: int) -> Iterator[tuple[Exchange, int]]:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in KINDS:
            for exchange in _read(name, equation):
                yield exchange, times
            continue
        turns = equation.params["length"] if name == "scan" else 1
        for inner in _inside(equation.params.values()):
            yield from _walk(inner, times * turns)


def _inside(values: Iterable[object]) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inside(value)


def _read(name: str, equation: JaxprEqn) -> Iterator[Exchange]:
    """Yield the exchanges of one equation; a tree that is reduced at once is one for each leaf."""
    said = NAMED.findall(str(equation.source_info.name_stack))
    over = equation.params["axes" if name in ("psum", "pmax") else "axis_name"]
    axes = tuple(over) if isinstance(over, tuple | list) else (over,)
    keys = ("all_gather_dimension", "scatter_dimension", "split_axis", "concat_axis")
    dims = tuple(equation.params[key] for key in keys if key in equation.params)
    for value in equation.invars:
        held = value.aval
        assert isinstance(held, jax.core.ShapedArray)
        yield Exchange(
            term=said[-1] if said else "other",
            kind=KINDS[name],
            axes=axes,
            shape=tuple(held.shape),
            dtype=str(held.dtype),
            dims=dims,
        )
