"""Files on disk: whole or not at all, and never outside the folder."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.emit.write import write_files
from planner.errors import SpecError


def test_writes_files_and_folders(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    paths = write_files({"megatron/run.sh": "echo\n", "plan.json": "{}"}, out)
    assert sorted(str(p.relative_to(out)) for p in paths) == ["megatron/run.sh", "plan.json"]
    assert (out / "megatron/run.sh").read_text() == "echo\n"
    assert os.access(out / "megatron/run.sh", os.X_OK)
    assert not os.access(out / "plan.json", os.X_OK)
    assert sorted(os.listdir(out)) == ["megatron", "plan.json"]


def test_replaces_what_is_there(tmp_path: Path) -> None:
    write_files({"a": "old, and longer"}, tmp_path)
    write_files({"a": "new"}, tmp_path)
    assert (tmp_path / "a").read_text() == "new"


OUTSIDE = ["../a", "a/../../b", "/etc/a", "..", "", ".", "a/..", "x\0y"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_refuses_paths_outside(tmp_path: Path, path: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(SpecError, match="inside the folder"):
        write_files({"good": "x", path: "y"}, out)
    assert os.listdir(out) == []
    assert os.listdir(tmp_path) == ["out"]


def test_refuses_a_link_that_leads_outside(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (out / "jax").symlink_to(other)
    with pytest.raises(SpecError, match="inside the folder"):
        write_files({"jax/mesh.py": "x"}, out)
    assert os.listdir(other) == []


def test_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.write_text("theirs")
    (out / "a").symlink_to(other)
    write_files({"a": "ours"}, out)
    assert other.read_text() == "theirs"
    assert (out / "a").read_text() == "ours"
    assert not (out / "a").is_symlink()


def test_a_failure_leaves_the_old_files(tmp_path: Path) -> None:
    write_files({"a": "old"}, tmp_path)
    with pytest.raises(UnicodeEncodeError):
        write_files({"a": "new", "b": "\ud800"}, tmp_path)
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_says_why_the_disk_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpecError, match="cannot write there"):
        write_files({"a": "x"}, tmp_path / "file")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=12) | st.lists(st.sampled_from(["..", ".", "a", ""])).map("/".join))
def test_any_path_stays_inside_or_is_refused(tmp_path: Path, path: str) -> None:
    out = tmp_path / "out"
    try:
        places = write_files({path: "x"}, out)
    except (SpecError, UnicodeEncodeError):
        places = []
    for place in places:
        assert place.resolve().is_relative_to(out.resolve())
    assert os.listdir(tmp_path) == ["out"]
