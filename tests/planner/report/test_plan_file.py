"""Plan files: read or refused with a line; written whole or not at all."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from planner.errors import SpecError
from planner.report.plan_file import emit_targets, read_plan, write_text


def test_a_plan_comes_back(plan: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan), "utf-8")
    assert read_plan(tmp_path / "plan.json") == plan
    assert emit_targets(plan) == ("megatron", "torchtitan")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "a": 1,\n}', r"p\.json:3: not JSON"),
        ("[1]", "not a plan: `sixfold plan JOB"),
        ('{"a": 1}', "not a plan"),
        ('{"strategy": NaN}', "NaN is not a number of JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_not_a_plan_is_refused(
    text: str | bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SpecError, match=message) as caught:
        read_plan(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_writing_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_text(path, "one")
    write_text(path, "two é")
    assert path.read_text("utf-8") == "two é"
    assert os.listdir(tmp_path) == ["plan.json"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


def test_writing_to_a_device_keeps_the_device() -> None:
    write_text(Path("/dev/null"), "x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no/plan.json: cannot be written: No such file"):
        write_text(tmp_path / "no" / "plan.json", "x")
    with pytest.raises(SpecError, match="cannot be written: Is a directory"):
        write_text(tmp_path, "x")
    assert os.listdir(tmp_path) == []
