"""The contest's format: what a file means, and what is said of a wrong one."""

import copy
import gzip
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.errors import SpecError
from planner.importers.iopddl import read
from planner.importers.iopddl_instance import Instance, live_sets, problem

EXAMPLE = Path(__file__).parents[2] / "data" / "iopddl" / "example.json"
FORBIDDEN = 10**18


@pytest.fixture
def raw() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(EXAMPLE.read_text("utf-8"))
    return loaded


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[object], Instance]:
    def made(content: object) -> Instance:
        path = tmp_path / "x.json"
        path.write_text(json.dumps(content), "utf-8")
        return read(path)

    return made


def test_the_example_costs_what_the_contest_says() -> None:
    found = read(EXAMPLE)
    every = product(*(range(n) for n in found.sizes))
    assert min(found.price(picks) for picks in every if found.allows(picks)) == 445
    assert found.price((0, 0, 2, 1, 0)) == 445
    assert found.peak((0, 0, 2, 1, 0)) == 50


def test_the_problem_has_the_price_and_the_limits_of_the_file() -> None:
    found = read(EXAMPLE)
    said = problem(found)
    assert [limit.members for limit in said.limits] == [(0, 1, 2), (2, 3, 4)]
    for picks in product(*(range(n) for n in found.sizes)):
        assert said.cost(picks).total_s == found.price(picks)
        assert said.allows(picks) == found.allows(picks)


def test_gzip_is_read_as_plain(tmp_path: Path) -> None:
    packed = tmp_path / "x.json.gz"
    packed.write_bytes(gzip.compress(EXAMPLE.read_bytes()))
    assert read(packed).price((0, 0, 2, 1, 0)) == 445


def test_intervals_are_half_open_and_may_be_empty() -> None:
    lo, hi = np.array([0, 5, 5, 7, 3]), np.array([5, 9, 8, 7, 3])
    first, end = live_sets(lo, hi)
    sets = {tuple(np.flatnonzero((first <= t) & (t < end))) for t in range(int(end.max()))}
    assert sets == {(0,), (1, 2)}


@pytest.mark.parametrize("seed", range(20))
def test_live_sets_hold_every_set_alive_at_one_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lo = rng.integers(0, 12, 9)
    hi = lo + rng.integers(0, 6, 9)
    first, end = live_sets(lo, hi)
    sets = [set(np.flatnonzero((first <= t) & (t < end))) for t in range(int(end.max(initial=0)))]
    for time in range(18):
        alive = set(np.flatnonzero((lo <= time) & (time < hi)))
        assert not alive or any(alive <= one for one in sets)
    assert all(not one < other for one in sets for other in sets)


def test_no_limit_and_no_edges(raw: dict[str, Any], reading: Callable[[object], Instance]) -> None:
    del raw["problem"]["usage_limit"], raw["problem"]["edges"]
    found = reading(raw)
    assert found.limit is None
    assert found.allows((0, 0, 0, 0, 0))
    assert found.price((0, 1, 2, 1, 0)) == 15 + 65 + 35 + 75 + 95


def test_edges_of_one_node_are_costs_of_the_node(
    raw: dict[str, Any], reading: Callable[[object], Instance]
) -> None:
    edges = raw["problem"]["edges"]
    before = reading(raw).price((0, 1, 2, 1, 0))
    edges["nodes"] += [[2], [3, 3]]
    edges["costs"] += [[1, 2, 3], [100, 7, 8, 200]]
    assert reading(raw).price((0, 1, 2, 1, 0)) == before + 3 + 200


def test_infinity_forbids_and_never_overflows(
    raw: dict[str, Any], reading: Callable[[object], Instance]
) -> None:
    raw["problem"]["nodes"]["costs"][0] = [10**30]
    raw["problem"]["edges"]["costs"][0] = [FORBIDDEN, FORBIDDEN]
    found = reading(raw)
    assert found.price((0, 0, 0, 0, 0)) == float("inf")
    assert not problem(found).allows((0, 0, 0, 0, 0))


def test_large_costs_are_summed_exactly(
    raw: dict[str, Any], reading: Callable[[object], Instance]
) -> None:
    large = 9 * 10**17 + 1
    raw["problem"]["nodes"]["costs"] = [[large], [large] * 2, [large] * 3, [large] * 2, [large]]
    del raw["problem"]["edges"]
    assert reading(raw).price((0, 0, 0, 0, 0)) == 5 * large


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no nodes": (lambda p: p.pop("nodes"), "problem.nodes: is missing"),
    "no usages": (lambda p: p["nodes"].pop("usages"), "problem.nodes.usages: is missing"),
    "no option": (lambda p: p["nodes"]["costs"].__setitem__(1, []), "problem.nodes.costs[1]"),
    "usages short": (lambda p: p["nodes"]["usages"][2].pop(), "problem.nodes.usages[2]: has 2"),
    "interval": (lambda p: p["nodes"]["intervals"][4].pop(), "problem.nodes.intervals[4]"),
    "intervals": (lambda p: p["nodes"]["intervals"].pop(), "problem.nodes.intervals: has 4"),
    "text": (lambda p: p["nodes"]["costs"][1].__setitem__(0, "5"), "problem.nodes.costs[1]"),
    "null": (lambda p: p["nodes"]["usages"][1].__setitem__(0, None), "problem.nodes.usages[1]"),
    "nan": (lambda p: p["edges"]["costs"][3].__setitem__(0, float("nan")), "edges.costs[3]"),
    "huge": (lambda p: p["nodes"]["usages"][1].__setitem__(0, 10**400), "problem.nodes.usages"),
    "table": (lambda p: p["edges"]["costs"][0].pop(), "problem.edges.costs[0]: has 1"),
    "node": (lambda p: p["edges"]["nodes"].__setitem__(1, [0, 5]), "problem.edges.nodes[1]: 5"),
    "negative": (lambda p: p["edges"]["nodes"].__setitem__(1, [-1, 2]), "edges.nodes[1]: -1"),
    "three": (lambda p: p["edges"]["nodes"].__setitem__(1, [0, 1, 2]), "problem.edges.nodes[1]"),
    "limit": (lambda p: p.__setitem__("usage_limit", "50"), "problem.usage_limit: must be"),
    "list": (lambda p: p["edges"].__setitem__("costs", {}), "problem.edges.costs: must be"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_file_is_named_with_its_key(
    name: str, raw: dict[str, Any], reading: Callable[[object], Instance]
) -> None:
    spoil, said = WRONG[name]
    wrong = copy.deepcopy(raw)
    spoil(wrong["problem"])
    with pytest.raises(SpecError) as caught:
        reading(wrong)
    assert said in str(caught.value)
    assert "x.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x1f\x8bxx", b"{}", b"\xff\xfe"])
def test_what_is_no_such_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"x\.json"):
        read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        read(tmp_path / "none.json")
