"""`sixfold solve` through its door: the answer, the exit codes, the time, no child left."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import instances
import numpy as np
import pytest
from typer.testing import CliRunner

from planner.cli import app
from planner.search.network import exact
from planner.solve import solve

EXAMPLE = Path(__file__).parents[1] / "data" / "iopddl" / "example.json"
FORBIDDEN = instances.FORBIDDEN


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["solve", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def raw() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(EXAMPLE.read_text("utf-8"))
    return loaded


def large(folder: Path, nodes: int = 500, same: bool = False) -> Path:
    """Write an instance that takes a while: many options, many cycles, a tight limit.

    `same`: neighbours must pick the same option.
    """
    rng = np.random.default_rng(0)
    pairs = [sorted(rng.choice(nodes, 2, replace=False).tolist()) for _ in range(3 * nodes)]
    lo = rng.integers(0, nodes, nodes)
    tables = rng.integers(0, 1000, (len(pairs), 8, 8))
    if same:
        tables[:, ~np.eye(8, dtype=bool)] = FORBIDDEN
    return instances.written(
        {
            "problem": {
                "name": "large",
                "nodes": {
                    "intervals": np.stack((lo, lo + 60), axis=1).tolist(),
                    "costs": rng.integers(0, 1000, (nodes, 8)).tolist(),
                    "usages": rng.integers(0, 1000, (nodes, 8)).tolist(),
                },
                "edges": {
                    "nodes": pairs,
                    "costs": tables.reshape(-1, 64).tolist(),
                },
                "usage_limit": 25_000,
            }
        },
        folder,
    )


@pytest.mark.parametrize("limit", [None, 5.0])
def test_the_example_is_solved_and_proved(limit: float | None) -> None:
    found = solve(EXAMPLE, "iopddl", time_limit_s=limit)
    assert found["status"] == "optimal"
    assert found["cost"] == found["bound"] == 445
    assert found["gap"] == 0.0
    assert found["picks"] == [0, 0, 2, 1, 0]
    assert found["peak_usage"] == found["usage_limit"] == 50


def test_json_alone_is_printed() -> None:
    code, out, _ = run(str(EXAMPLE), "--format", "iopddl", "--json", "-")
    assert code == 0
    assert json.loads(out)["cost"] == 445


def test_people_read_the_cost_in_full() -> None:
    code, out, _ = run(str(EXAMPLE), "--format", "iopddl")
    assert code == 0
    assert "445" in out
    assert "optimal" in out


# Exit codes


def test_a_wrong_format_or_file_is_the_users(tmp_path: Path) -> None:
    code, _, said = run(str(EXAMPLE), "--format", "iopdl")
    assert code == 2
    assert "iopddl" in said
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"problem": {}}', "utf-8")
    code, _, said = run(str(wrong), "--format", "iopddl")
    assert code == 2
    assert "wrong.json" in said
    assert "problem.nodes" in said


def test_what_cannot_be_is_said_and_written(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["problem"]["usage_limit"] = 14
    path = instances.written(raw, tmp_path)
    code, out, said = run(str(path), "--format", "iopddl", "--json", "-")
    assert code == 3
    answer = json.loads(out)
    assert (answer["status"], answer["picks"], answer["feasible"]) == ("infeasible", None, False)
    assert "limit" in said


def test_no_time_gives_no_plan(tmp_path: Path) -> None:
    path = large(tmp_path, same=True)
    code, _, said = run(str(path), "--format", "iopddl", "--time-limit", "0")
    assert code == 4
    assert "time" in said


# Instances of every kind

Change = Callable[[dict[str, Any]], object]
KINDS: dict[str, Change] = {
    "no limit": lambda p: p.pop("usage_limit"),
    "limit of nothing": lambda p: p.__setitem__("usage_limit", 0),
    "no edges": lambda p: p.pop("edges"),
    "empty edges": lambda p: p.__setitem__("edges", {"nodes": [], "costs": []}),
    "nothing is used": lambda p: p["nodes"].__setitem__(
        "usages", [[0] * len(u) for u in p["nodes"]["usages"]]
    ),
    "nothing lives": lambda p: p["nodes"].__setitem__("intervals", [[3, 3]] * 7),
    "all live at once": lambda p: p["nodes"].__setitem__("intervals", [[0, 9]] * 7),
    "huge uses": lambda p: p["nodes"].__setitem__(
        "usages", [[v * 10**15 for v in u] for u in p["nodes"]["usages"]]
    ),
    "huge uses that fit": lambda p: p.update(
        {
            "nodes": p["nodes"]
            | {"usages": [[v * 10**15 for v in u] for u in p["nodes"]["usages"]]},
            "usage_limit": p["usage_limit"] * 10**15,
        }
    ),
    "edges both ways and twice": lambda p: p.__setitem__(
        "edges",
        {
            "nodes": [*p["edges"]["nodes"], *[e[::-1] for e in p["edges"]["nodes"]]] * 2,
            "costs": [
                *p["edges"]["costs"],
                *[[0] * len(c) for c in p["edges"]["costs"]],
            ]
            * 2,
        },
    ),
    "negative costs": lambda p: p["nodes"].__setitem__(
        "costs", [[v - 100 if v < FORBIDDEN else v for v in c] for c in p["nodes"]["costs"]]
    ),
    "fractions": lambda p: p["nodes"].__setitem__(
        "costs", [[v + 0.25 if v < FORBIDDEN else v for v in c] for c in p["nodes"]["costs"]]
    ),
    "all pairs forbidden": lambda p: p["edges"].__setitem__(
        "costs", [[FORBIDDEN] * len(c) for c in p["edges"]["costs"]]
    ),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_instances_of_every_kind_are_solved(kind: str, tmp_path: Path) -> None:
    for seed in range(8):
        made = copy.deepcopy(instances.drawn(seed))
        KINDS[kind](made["problem"])
        best = instances.optimum(made)
        found = solve(instances.written(made, tmp_path), "iopddl")
        if best == np.inf:
            assert found["status"] == "infeasible", seed
            continue
        assert found["status"] == "optimal", seed
        assert found["cost"] == found["bound"] == best, seed


def test_nothing_to_decide(tmp_path: Path) -> None:
    nodes: dict[str, list[object]] = {"intervals": [], "costs": [], "usages": []}
    found = solve(instances.written({"problem": {"nodes": nodes}}, tmp_path), "iopddl")
    assert (found["status"], found["cost"], found["picks"]) == ("optimal", 0, [])


# Larger ones


def test_the_time_limit_holds_for_the_whole_run(tmp_path: Path) -> None:
    path = large(tmp_path)
    begun = time.monotonic()
    found = solve(path, "iopddl", time_limit_s=4.0)
    assert time.monotonic() - begun < 5.5
    assert found["status"] == "feasible"
    cost, bound = found["cost"], found["bound"]
    assert isinstance(cost, int)
    assert isinstance(bound, int)
    assert 0 < bound < cost
    assert found["gap"] == (cost - bound) / cost


def test_without_the_exact_solver_an_answer_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "available", lambda: False)
    found = solve(large(tmp_path, 120), "iopddl", time_limit_s=3.0)
    assert found["status"] == "feasible"


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "planner", "solve", str(large(tmp_path)), "--format"]
    with subprocess.Popen(
        [*command, "iopddl", "--time-limit", "60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        time.sleep(3.0)
        assert process.poll() is None
        os.kill(process.pid, number)
        process.wait(10.0)
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("a child was left behind")
