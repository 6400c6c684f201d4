"""The compiler as witness: what a plan says that its step sends and holds, against the compiled.

Collectives of the compiled step are told apart by the axes that they run over and by family, and
each is set beside the parts of the plan that run there. Where two axes of a plan are the same
ranks (experts inside the replicas), their reductions are compared together. Knows plans and HLO
text; imports no JAX.

Parts: `Line`, `Held`, `Witness`, `compare`, `argument_parts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from costmodels.units import scalar
from planner.check.counted import Counted, dense_of_the_step, fullest_of
from planner.check.expected import Part
from planner.check.grid import Family, family, over
from planner.check.hlo import Collective, Communication

__all__ = ["Held", "Line", "Witness", "argument_parts", "compare"]

ROUNDING = 1e-9
"""Shares such as 2/3 of a message are no whole bytes: figures this close are equal."""
INDEX_BYTES, COUNT_BYTES = 4.0, 4.0
"""Of a token or a label, and of the number of steps taken."""


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= ROUNDING * max(abs(one), abs(other))


@dataclass(frozen=True, slots=True)
class Line:
    """What is sent over some axes of the grid by one family of collectives, per device and step.

    Parameters
    ----------
    over     : axes of the grid
    axes     : of the plan, whose collectives run there
    compiled : collectives of the compiled step by kind: (kind, dtype, bytes sent)
    """

    family: Family
    over: tuple[str, ...]
    axes: tuple[str, ...]
    parts: tuple[Part, ...]
    predicted_bytes: float
    compiled_bytes: float
    compiled: tuple[tuple[str, str, float], ...]

    @property
    def equal(self) -> bool:
        """Whether both agree to the byte."""
        return _equal(self.predicted_bytes, self.compiled_bytes)


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes on one device: of the arguments, or at the peak; None where no figure is meant."""

    name: str
    parts: tuple[tuple[str, float], ...]
    predicted_bytes: float
    compiled_bytes: float | None

    @property
    def equal(self) -> bool:
        """Whether both agree to the byte."""
        known = self.compiled_bytes is not None
        return known and _equal(self.predicted_bytes, self.compiled_bytes or 0.0)


@dataclass(frozen=True, slots=True)
class Witness:
    """Predicted beside compiled; `unknown`: what could not be read, empty where all was."""

    lines: tuple[Line, ...]
    unknown: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all was read, and every line agrees to the byte."""
        return not self.unknown and all(line.equal for line in self.lines)

    def sent(self, axis: str) -> tuple[float, float]:
        """Bytes predicted and compiled on the lines that an axis of the plan has a part in."""
        mine = [line for line in self.lines if axis in line.axes]
        predicted = sum(line.predicted_bytes for line in mine)
        return predicted, sum(line.compiled_bytes for line in mine)


def compare(parts: Sequence[Part], found: Communication, sizes: Mapping[str, int]) -> Witness:
    """Set the parts of a plan beside the collectives of its compiled step.

    Parameters
    ----------
    sizes : of the grid's axes, outermost first
    """
    compiled: dict[tuple[Family, frozenset[str]], list[Collective]] = {}
    for one in found.collectives:
        compiled.setdefault((family(one), over(one, sizes)), []).append(one)
    planned: dict[tuple[Family, frozenset[str]], list[Part]] = {}
    for part in parts:
        planned.setdefault((part.family, part.over), []).append(part)
    keys = sorted({*compiled, *planned}, key=lambda key: (key[0], sorted(key[1])))
    lines = [
        _line(key, planned.get(key, []), compiled.get(key, []), found.devices, list(sizes))
        for key in keys
    ]
    return Witness(tuple(lines), found.unknown)


def _line(
    key: tuple[Family, frozenset[str]],
    parts: list[Part],
    compiled: list[Collective],
    devices: int,
    order: list[str],
) -> Line:
    sent: dict[tuple[str, str], float] = {}
    for one in compiled:
        which = (one.kind, one.dtype)
        sent[which] = sent.get(which, 0.0) + one.sent_bytes
    most = max(sum(one.sends(device) for one in compiled) for device in range(devices))
    return Line(
        key[0],
        tuple(axis for axis in order if axis in key[1]),
        tuple(dict.fromkeys(part.axis for part in parts)),
        tuple(parts),
        sum(part.bytes for part in parts),
        most,
        tuple((kind, dtype, held) for (kind, dtype), held in sent.items()),
    )


def argument_parts(plan: Counted) -> tuple[tuple[str, float], ...]:
    """Bytes of a step's arguments on one device: parameters, moments, batch, number of steps.

        parameters P b / shards under zero 3     moments P 2 b' / shards from zero 1 on
        batch 2 m micro_batch sequence / cp indices

    with P the parameters of a device, dense and of experts, each over its own shards.
    """
    context, zero = plan.context, plan.at("zero")
    dense, expert = dense_of_the_step(plan), scalar(fullest_of(plan).expert)

    def shared(stage: float, each: float) -> float:
        apart = zero >= stage
        d = scalar(plan.dims.shards) if apart else 1.0
        e = scalar(plan.dims.expert_shards) if apart else 1.0
        return each * (dense / d + expert / e)

    indices = 2.0 * plan.at("microbatches") * plan.tokens
    return (
        ("parameters", shared(3.0, context.parameter_bytes)),
        ("master copies", shared(1.0, context.master_bytes)),
        ("moments", shared(1.0, context.moment_bytes)),
        ("tokens and labels", indices * INDEX_BYTES),
        ("steps taken", COUNT_BYTES),
    )
