"""Read the JSON format of the 2025 contest on intra-operator parallelism.

    problem.nodes.costs[i][s]      cost of option s of node i
    problem.nodes.usages[i][s]     what it uses while the node is alive
    problem.nodes.intervals[i]     [from, to): the times at which node i is alive
    problem.edges.nodes[e]         [i, j]
    problem.edges.costs[e]         cost of the pair of options, at [s_i * options(j) + s_j]
    problem.usage_limit            what may be used at any time; absent or null: no limit

A cost of 10^18 or more forbids. Edges of one node, and of a node with itself, become costs of
that node. Checks every length and every number; knows no solver. A file of a hundred megabytes is
read in a second or two, so lists are checked as a whole and searched for the fault afterwards.

Source of the format: github.com/google/iopddl; Moffitt et al., ASPLOS 2025 contest.
"""

import gc
import gzip
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NoReturn

import numpy as np

from planner.errors import SpecError
from planner.importers.iopddl_instance import INFINITE, Instance, Ints, Numbers

__all__ = ["read"]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Stop the garbage collector, which would walk millions of numbers again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read(path: Path) -> Instance:
    """Read an instance from a file, JSON or JSON compressed with gzip.

    Raises
    ------
    SpecError : the file cannot be read, is not JSON or not of the format; names file and key
    """
    try:
        text = path.read_bytes()
        if text[:2] == b"\x1f\x8b":
            text = gzip.decompress(text)
    except OSError as error:
        raise SpecError(f"cannot read: {error.strerror or error}", file=str(path)) from None
    except (EOFError, zlib.error):
        raise SpecError("is not whole gzip", file=str(path)) from None
    with _no_collection():
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"is not JSON: {error}", file=str(path)) from None
        try:
            return _instance(raw)
        except SpecError as error:
            raise SpecError(error.message, key=error.key, file=str(path)) from None


def _instance(raw: object) -> Instance:
    top = _mapping(_field(raw, "", "problem"), "problem")
    nodes = _mapping(_field(top, "problem", "nodes"), "problem.nodes")
    costs = _lists(nodes, "problem.nodes", "costs")
    sizes = np.fromiter(map(len, costs), np.int64, len(costs))
    if sizes.size and int(sizes.min()) == 0:
        raise SpecError("a node needs an option", key=f"problem.nodes.costs[{sizes.argmin()}]")
    usages = _lists(nodes, "problem.nodes", "usages")
    _same(usages, sizes, "problem.nodes.usages", "usages, as many as costs")
    spans = _lists(nodes, "problem.nodes", "intervals")
    _same(spans, np.full(len(costs), 2), "problem.nodes.intervals", "two times, [from, to)")
    times = _numbers(spans, "problem.nodes.intervals").reshape(-1, 2)
    name = top.get("name")
    nodes_of, edge_cost = _edges(top, sizes)
    cost, pairs, edge_cost = _only_pairs(
        sizes, _capped(costs, "problem.nodes.costs"), nodes_of, edge_cost
    )
    return Instance(
        name=name if isinstance(name, str) else "",
        sizes=sizes,
        cost=cost,
        usage=_numbers(usages, "problem.nodes.usages"),
        lo=times[:, 0],
        hi=times[:, 1],
        first=pairs[:, 0],
        second=pairs[:, 1],
        edge_cost=edge_cost,
        limit=_limit(top.get("usage_limit")),
    )


def _only_pairs(
    sizes: Ints, cost: Numbers, nodes: list[list[int]], edge_cost: Numbers
) -> tuple[Numbers, Ints, Numbers]:
    """Add edges of one node to its costs; return the costs, the pairs, and the pairs' costs."""
    plain = [len(n) == 2 and n[0] != n[1] for n in nodes]
    pairs = np.array([n for n, p in zip(nodes, plain, strict=True) if p], np.int64).reshape(-1, 2)
    if all(plain):
        return cost, pairs, edge_cost
    counts = [int(np.prod(sizes[n])) for n in nodes]
    ends = np.cumsum(counts)
    start, cost = np.concatenate(([0], np.cumsum(sizes))), cost.copy()
    if edge_cost.dtype != cost.dtype:
        cost, edge_cost = cost.astype(float), edge_cost.astype(float)
    for e in (e for e, p in enumerate(plain) if not p):
        node, size = nodes[e][0], int(sizes[nodes[e][0]])
        own = edge_cost[ends[e] - counts[e] : ends[e]]
        mine = slice(start[node], start[node + 1])
        cost[mine] = np.minimum(
            cost[mine] + own[:: size + 1 if len(nodes[e]) == 2 else 1], INFINITE
        )
    return cost, pairs, edge_cost[np.repeat(plain, counts)]


def _edges(top: Mapping[str, object], sizes: Ints) -> tuple[list[list[int]], Numbers]:
    """Return the nodes of every edge and the costs of all, checked."""
    if top.get("edges") is None:
        return [], np.zeros(0, np.int64)
    edges = _mapping(top["edges"], "problem.edges")
    nodes = _lists(edges, "problem.edges", "nodes")
    costs = _lists(edges, "problem.edges", "costs")
    arity = np.fromiter(map(len, nodes), np.int64, len(nodes))
    if arity.size and (int(arity.max()) > 2 or int(arity.min()) < 1):
        where = int(np.argmax((arity > 2) | (arity < 1)))
        raise SpecError("an edge joins one or two nodes", key=f"problem.edges.nodes[{where}]")
    flat = _numbers(nodes, "problem.edges.nodes")
    start = np.concatenate(([0], np.cumsum(arity)))
    if flat.dtype != np.int64 or bool(np.any((flat < 0) | (flat >= sizes.size))):
        bad = int(np.argmax((flat < 0) | (flat >= sizes.size) | (flat % 1 != 0)))
        edge = int(np.searchsorted(start, bad, "right")) - 1
        raise SpecError(
            f"{flat[bad]} is no node: 0 to {sizes.size - 1}", key=f"problem.edges.nodes[{edge}]"
        )
    size = sizes[flat].astype(np.int64)
    table = np.multiply.reduceat(size, start[:-1]) if arity.size else arity
    _same(costs, table, "problem.edges.costs", "a cost for each pair of options")
    return nodes, _capped(costs, "problem.edges.costs")


def _field(raw: object, where: str, key: str) -> object:
    found = _mapping(raw, where or "the file")
    if key not in found:
        raise SpecError("is missing", key=f"{where}.{key}".lstrip("."))
    return found[key]


def _mapping(raw: object, where: str) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise SpecError("must be an object", key=where)
    return raw


def _lists(raw: Mapping[str, object], where: str, key: str) -> list[list[int]]:
    found = _field(raw, where, key)
    if not isinstance(found, list) or not set(map(type, found)) <= {list}:
        raise SpecError("must be a list of lists of numbers", key=f"{where}.{key}")
    return found


def _same(found: list[list[int]], wanted: Ints, key: str, what: str) -> None:
    """Check how many lists there are and how long each is."""
    if len(found) != wanted.size:
        raise SpecError(f"has {len(found)} entries, not {wanted.size}", key=key)
    lengths = np.fromiter(map(len, found), np.int64, len(found))
    if not np.array_equal(lengths, wanted):
        bad = int(np.argmax(lengths != wanted))
        raise SpecError(
            f"has {lengths[bad]} entries, not {wanted[bad]}: {what}", key=f"{key}[{bad}]"
        )


def _numbers(lists: list[list[int]], key: str) -> Numbers:
    """All numbers in one array: int64 where all are whole and fit, else float64."""
    try:
        return np.frombuffer(array("q", chain.from_iterable(lists)), np.int64)
    except (TypeError, OverflowError):
        pass
    try:
        found = np.frombuffer(array("d", chain.from_iterable(lists)), np.float64)
    except (TypeError, OverflowError):
        _refuse(lists, key)
    if not bool(np.all(np.isfinite(found))):
        _refuse(lists, key)
    return found


def _capped(lists: list[list[int]], key: str) -> Numbers:
    """Costs: as numbers, none above the infinite one."""
    try:
        return np.minimum(np.frombuffer(array("q", chain.from_iterable(lists)), np.int64), INFINITE)
    except (TypeError, OverflowError):
        kept = [
            min(v, INFINITE) if isinstance(v, int | float) else v
            for v in chain.from_iterable(lists)
        ]
        if not _all_numbers(v for v in kept):
            _refuse(lists, key)
        return _numbers([kept], key)


def _all_numbers(values: Iterable[object]) -> bool:
    return all(isinstance(v, int | float) and v == v and abs(v) < float("inf") for v in values)


def _refuse(lists: list[list[int]], key: str) -> NoReturn:
    """Name the first entry that is no number."""
    for i, inner in enumerate(lists):
        if not _all_numbers(inner):
            raise SpecError("must be numbers", key=f"{key}[{i}]")
    raise SpecError("a number is too large: 64 bits at most", key=key)


def _limit(raw: object) -> int | float | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or raw != raw:
        raise SpecError("must be a number, or null for no limit", key="problem.usage_limit")
    return None if raw == float("inf") else raw
