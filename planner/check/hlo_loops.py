"""How often a loop of an HLO module runs, where only its code tells.

Compilers for some chips leave no trip count in their text. A loop made by a scan counts from a
constant to a constant by ones, and that is what is recognised: a condition that compares one
element of the loop's state with a constant, a start that is a constant, and a body that adds one
to that element. Anything else has no known count.

Parts: `counted`.
"""

import re
from collections.abc import Mapping

from planner.check.hlo_text import Instruction, Module

__all__ = ["counted"]

Inside = Mapping[str, Instruction]


def counted(module: Module, inside: Inside, loop: Instruction) -> int | None:
    """Trip count of a loop that counts from a constant below a constant by ones; else None.

    Parameters
    ----------
    inside : instructions of the computation that the loop stands in
    """
    condition, body = loop.called("condition"), loop.called("body")
    compared = _compared(module, condition[0]) if condition else None
    start = inside.get(loop.operands[0])
    if compared is None or start is None or start.opcode != "tuple":
        return None
    index, bound = compared
    first = _constant(inside, start.operands[index])
    if first is None or not _adds_one(module, body[0], index):
        return None
    return max(0, bound - first)


def _compared(module: Module, condition: str) -> tuple[int, int] | None:
    """Index of the state's element that must stay below a constant, and the constant."""
    inside = module.computations.get(condition, {})
    root = _root(inside)
    operands = _through_fusion(module, root, "compare", "direction=LT")
    if operands is None:
        return None
    index, bound = _element(inside, operands[0]), _constant(inside, operands[1])
    return None if index is None or bound is None else (index, bound)


def _adds_one(module: Module, body: str, index: int) -> bool:
    """Tell whether a body returns one element of its state plus one."""
    inside = module.computations.get(body, {})
    root = _root(inside)
    if root is None or root.opcode != "tuple":
        return False
    operands = _through_fusion(module, inside.get(root.operands[index]), "add", "")
    if operands is None:
        return False
    pairs = (operands, operands[::-1])
    return any(_element(inside, a) == index and _constant(inside, b) == 1 for a, b in pairs)


def _root(inside: Inside) -> Instruction | None:
    return next((one for one in inside.values() if one.root), None)


def _through_fusion(
    module: Module, one: Instruction | None, opcode: str, attribute: str
) -> tuple[str, str] | None:
    """Operands of a binary instruction, also where it is all that a fusion holds."""
    if one is None or len(one.operands) != 2:
        return None
    if one.opcode == "fusion":
        fused = module.computations.get(next(iter(one.called("calls")), ""), {})
        root = _root(fused)
        if root is None or any(x.opcode != "parameter" for x in fused.values() if x is not root):
            return None
        given = {x.name: one.operands[int(x.argument)] for x in fused.values() if x is not root}
        named = [given.get(name, "") for name in root.operands]
    else:
        root, named = one, list(one.operands)
    if root.opcode != opcode or attribute not in root.attributes or len(named) != 2:
        return None
    return named[0], named[1]


def _element(inside: Inside, name: str) -> int | None:
    """Index of the element of a loop's state that an instruction is."""
    one = inside.get(name)
    if one is not None and one.opcode == "copy":
        return _element(inside, one.operands[0])
    if one is None or one.opcode != "get-tuple-element":
        return None
    match = re.search(r"\bindex=(\d+)", one.attributes)
    return int(match.group(1)) if match else None


def _constant(inside: Inside, name: str) -> int | None:
    one = inside.get(name)
    if one is not None and one.opcode == "copy":
        return _constant(inside, one.operands[0])
    if one is None or one.opcode != "constant" or not re.fullmatch(r"-?\d+", one.argument):
        return None
    return int(one.argument)
