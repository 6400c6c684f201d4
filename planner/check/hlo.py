"""What a compiled step communicates: every collective that its HLO executes.

Walks from the entry computation into loops (times their trip count), branches, calls and fusions,
and returns each collective with its bytes, its groups and how often it runs. A loop whose trip
count neither the text nor its condition tells is reported, never taken as one. Knows HLO; no plan
and no mesh.

Parts: `Collective`, `Communication`, `communication`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.check.hlo_groups import Groups, groups_of, pairs_of
from planner.check.hlo_loops import counted
from planner.check.hlo_text import Instruction, Module, parse

__all__ = ["KINDS", "Collective", "Communication", "communication"]

KINDS = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
)  # fmt: skip
_TRIPS = re.compile(r'known_trip_count\\?":?\s*\{\s*\\?"n\\?":\s*\\?"(\d+)')
_SCOPE = re.compile(r'op_name="([^"]*)"')
_CALLS = ("calls", "to_apply", "called_computations", "branch_computations")


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective of the text, and how often it runs.

    Parameters
    ----------
    operand_bytes : that one device puts in, each time
    result_bytes  : that it takes out
    groups        : devices by group; of a permutation the pairs of sender and receiver
    times         : executions in a step
    scope         : the names under which the program made it
    """

    kind: str
    dtype: str
    operand_bytes: float
    result_bytes: float
    groups: Groups
    times: float
    scope: str

    @property
    def ranks(self) -> int:
        """Devices that take part together; of a permutation 2."""
        return max(len(group) for group in self.groups)

    @property
    def payload_bytes(self) -> float:
        """Bytes of the whole message V, all times: what an all-gather returns, all else takes."""
        whole = self.ranks if self.kind == "all-gather" else 1
        return self.times * whole * self.operand_bytes

    @property
    def sent_bytes(self) -> float:
        """Bytes that a device sends, all times, where a ring carries it.

        all-reduce 2 (n - 1)/n V     all-gather, reduce-scatter, all-to-all (n - 1)/n V
        permutation V, of each device that sends to another (`sends`)
        """
        if self.kind == "collective-permute":
            moves = any(source != target for source, target in self.groups)
            return self.payload_bytes * moves
        turns = 2.0 if self.kind == "all-reduce" else 1.0
        return turns * (self.ranks - 1) / self.ranks * self.payload_bytes

    def sends(self, device: int) -> float:
        """Bytes that one device sends, all times: in a permutation not every device does."""
        if self.kind != "collective-permute":
            return self.sent_bytes
        targets = [target for source, target in self.groups if source == device]
        return self.payload_bytes * any(target != device for target in targets)


@dataclass(frozen=True, slots=True)
class Communication:
    """All collectives that a program executes.

    Parameters
    ----------
    devices : of the program
    unknown : what could not be counted, each with its reason; empty where every figure is exact
    """

    devices: int
    collectives: tuple[Collective, ...]
    unknown: tuple[str, ...]


def communication(text: str, trips: Mapping[str, int] | None = None) -> Communication:
    """Read the collectives of an optimized HLO module.

    Parameters
    ----------
    trips : trip counts of loops whose text does not tell, by name of the loop

    Raises
    ------
    SpecError : no HLO module, or groups in a spelling that is not known
    """
    module = parse(text)
    walk = _Walk(module, trips or {}, [])
    found = tuple(walk.visit(module.entry, 1.0))
    return Communication(module.devices, found, tuple(dict.fromkeys(walk.unknown)))


@dataclass(frozen=True, slots=True)
class _Walk:
    module: Module
    trips: Mapping[str, int]
    unknown: list[str]

    def visit(self, name: str, times: float) -> Iterator[Collective]:
        """Every collective of a computation that runs `times` times."""
        inside = self.module.computations.get(name, {})
        for one in inside.values():
            kind = one.opcode.removesuffix("-start")
            if kind in KINDS:
                made = _collective(self.module, inside, one, kind, times)
                yield from [made] if made.ranks > 1 else []
            elif one.opcode == "while":
                yield from self._loop(inside, one, times)
            elif one.opcode == "conditional":
                yield from self._branch(one, times)
            elif not one.opcode.endswith(("-done", "-update")):
                for called in one.called(*_CALLS):
                    yield from self.visit(called, times)

    def _loop(
        self, inside: Mapping[str, Instruction], one: Instruction, times: float
    ) -> Iterator[Collective]:
        (body,) = one.called("body")
        count = self._trip_count(inside, one)
        found = list(self.visit(body, times * (1 if count is None else count)))
        if found and count is None:
            kinds = sorted({collective.kind for collective in found})
            self.unknown.append(
                f"loop {one.name} runs {', '.join(kinds)} an unknown number of times, counted once"
            )
        yield from found

    def _trip_count(self, inside: Mapping[str, Instruction], one: Instruction) -> int | None:
        told = _TRIPS.search(one.attributes)
        if told:
            return int(told.group(1))
        return self.trips.get(one.name, counted(self.module, inside, one))

    def _branch(self, one: Instruction, times: float) -> Iterator[Collective]:
        """Yield what the branch that sends most runs: which is taken, no text tells."""
        names = one.called("branch_computations", "true_computation", "false_computation")
        found = [list(self.visit(name, times)) for name in names]
        sent = [sum(collective.sent_bytes for collective in each) for each in found]
        if len(set(sent)) > 1:
            self.unknown.append(f"{one.name} has branches that send unlike: the most is counted")
        yield from found[sent.index(max(sent))] if found else ()


def _collective(
    module: Module, inside: Mapping[str, Instruction], one: Instruction, kind: str, times: float
) -> Collective:
    """Make the figures of a collective, from the arrays that it reads.

    What a start returns holds operands, results and context by turns; operands are never in doubt.
    """
    given = [array for name in one.operands for array in inside[name].arrays]
    taken = sum(array.bytes for array in given)
    permutes = kind == "collective-permute"
    groups: Groups = (
        pairs_of(one.attributes) if permutes else groups_of(one.attributes, module.devices)
    )
    ranks = max(len(group) for group in groups)
    gained = {"all-gather": float(ranks), "reduce-scatter": 1.0 / ranks}.get(kind, 1.0)
    scope = _SCOPE.search(one.attributes)
    return Collective(
        kind,
        "+".join(sorted({array.dtype for array in given})),
        taken,
        taken * gained,
        groups,
        times,
        scope.group(1) if scope else "",
    )
