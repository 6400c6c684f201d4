"""`sixfold solve` through its door: the answer, the exit codes, the time, no child left."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planner.cli import app
from planner.solve import solve

EXAMPLE = Path(__file__).parents[1] / "data" / "iopddl" / "example.json"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["solve", *arguments], standalone_mode=False)
    return result.exit_code, result.stdout, result.stderr


def changed(tmp_path: Path, **parts: object) -> Path:
    raw: dict[str, Any] = json.loads(EXAMPLE.read_text("utf-8"))
    raw["problem"] |= parts
    path = tmp_path / "x.json"
    path.write_text(json.dumps(raw), "utf-8")
    return path


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


def test_without_a_limit_the_cheapest_picks_win(tmp_path: Path) -> None:
    found = solve(changed(tmp_path, usage_limit=None), "iopddl")
    assert found["status"] == "optimal"
    assert found["cost"] == found["bound"]
    assert isinstance(found["cost"], int)
    assert found["cost"] <= 445
