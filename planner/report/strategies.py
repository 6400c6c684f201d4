"""Strategies in words: all of one in groups, one in a line, and how two differ.

Reads the strategy mapping of a plan (the keys of the job spec); keys it has never heard of are
shown too. Prices nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from planner.report.content import Section, pairs
from planner.report.node import Node
from planner.report.numbers import clean, quantity

__all__ = ["degrees", "difference", "in_a_line", "section"]

_GROUPS = (
    ("mesh", ("tp", "sp", "cp", "pp", "vpp", "dp", "ep", "etp")),
    ("sharding", ("zero", "zero_group")),
    ("batch", ("micro_batch", "microbatches", "max_batch", "replicas")),
    ("pipeline", ("schedule", "layers_per_stage")),
    ("stages", ("stages",)),
    ("context", ("cp_comm",)),
    ("order", ("mesh_order", "placement")),
    ("memory", ("recompute", "offload")),
    ("network", ("collectives",)),
    ("learning", ("consistency",)),
)
_KNOWN = tuple(key for _, keys in _GROUPS for key in keys)
_FOLLOWS = {
    "layers_per_stage": {"pp", "vpp"},
    "stages": {"pp", "vpp"},
    "microbatches": {"dp", "micro_batch"},
    "zero_group": {"dp", "cp", "tp", "pp"},
}
_DEGREES = ("tp", "cp", "pp", "vpp", "dp", "ep", "etp", "replicas")
_NO_NEWS: tuple[object, ...] = (None, 0, 1, False, "none", "auto", [], {})


def value_text(key: str, value: object) -> str:
    """Write one value of a strategy; a long list folds its repeats: 20 x7, 21."""
    if key == "stages" and isinstance(value, list | tuple):
        return "; ".join(_pipelines(value))
    if key == "sharding" and isinstance(value, Mapping) and isinstance(value.get("mesh"), Mapping):
        mesh = quantity("", value["mesh"]) or "of one device"
        return f"of each operator on a mesh {mesh}"
    if isinstance(value, list | tuple) and len(value) > 4:
        return _runs(value)
    if isinstance(value, list | tuple | Mapping):
        return quantity("", value)
    return quantity(key, value)


def _pipelines(stages: Sequence[object]) -> list[str]:
    """Say the stages pool by pool: ``old: layers 40 x2, tp 4, micro_batch 1``.

    What the stages of a pool have in common is said once; the rest is listed, repeats folded.
    """
    told = []
    entries = [stage for stage in stages if isinstance(stage, Mapping)]
    for pool, run in groupby(entries, key=lambda stage: stage.get("pool")):
        same = list(run)
        keys = dict.fromkeys(key for stage in same for key in stage if key != "pool")
        parts = []
        for key in keys:
            values = [stage.get(key) for stage in same]
            alike = key != "layers" and all(each == values[0] for each in values)
            if alike and values[0] in _NO_NEWS and key != "micro_batch":
                continue
            parts.append(f"{clean(key)} {value_text(key, values[0]) if alike else _runs(values)}")
        told.append((f"{clean(str(pool))}: " if pool else "") + ", ".join(parts))
    return told


def _runs(values: Sequence[object]) -> str:
    """Write a list with its repeats folded: 20 x7, 21."""
    runs = [(value_text("", item), len(list(same))) for item, same in groupby(values)]
    return ", ".join(f"{item} x{times}" if times > 1 else item for item, times in runs)


def _said(strategy: Mapping[str, object], keys: tuple[str, ...]) -> str:
    given = (key for key in keys if strategy.get(key) not in (None, {}))
    return ", ".join(f"{clean(key)} {value_text(key, strategy[key])}" for key in given)


def section(strategy: Node) -> Section | None:
    """Return all of the strategy, one group of keys a row."""
    chosen = strategy.mapping()
    if not chosen:
        return None
    rest = tuple(key for key in chosen if key not in _KNOWN)
    groups = (*_GROUPS, ("further", rest))
    table = pairs((name, _said(chosen, keys), "") for name, keys in groups)
    return Section("strategy", "Strategy", table=table)


def degrees(strategy: Node) -> str:
    """Return the degrees of the mesh that are above one."""
    chosen = strategy.mapping()
    split = tuple(key for key in _DEGREES if chosen.get(key) not in _NO_NEWS)
    return _said(chosen, split) or "no split"


def in_a_line(strategy: Node) -> str:
    """Return the degrees above one, then the choices that are not the plain ones."""
    chosen = strategy.mapping()
    words = [degrees(strategy)]
    if chosen.get("zero") not in (None, 0):
        words.append(_said(chosen, ("zero",)))
    if chosen.get("micro_batch") is not None:
        words.append(f"micro-batch {value_text('', chosen['micro_batch'])}")
    for key in ("schedule", "recompute"):
        if chosen.get(key) not in _NO_NEWS and (key != "schedule" or chosen.get("pp") != 1):
            words.append(f"{value_text(key, chosen[key])} {key}")
    if chosen.get("consistency") not in (*_NO_NEWS, "synchronous"):
        words.append(value_text("", chosen["consistency"]))
    if chosen.get("offload") not in _NO_NEWS:
        words.append(f"offload of {value_text('', chosen['offload'])}")
    return ", ".join(words)


def difference(other: Node, chosen: Node) -> str:
    """Return the keys in which another strategy differs from the chosen one, with its values.

    A key that had to change because another did (the layers of more stages) is left out.
    """
    mine, theirs = chosen.mapping(), other.mapping()
    keys = dict.fromkeys((*_KNOWN, *theirs, *mine))
    changed = {key for key in keys if mine.get(key) != theirs.get(key)}
    for key, causes in _FOLLOWS.items():
        if changed & causes:
            changed.discard(key)
    told = [f"{clean(key)} {value_text(key, theirs.get(key))}" for key in keys if key in changed]
    return ", ".join(told) or "the same strategy"
