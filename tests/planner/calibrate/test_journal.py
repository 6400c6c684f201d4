"""A journal: what was measured is not measured again, and what was cut short is."""

from pathlib import Path

from planner.calibrate.journal import Journal, journal_of
from planner.calibrate.points import Point, Reading

POINT = Point("products", {"m": 8, "n": 16, "k": 4})
READING = Reading(0.5, 0.1, 0, 3)


def test_a_rerun_finds_what_was_measured(tmp_path: Path) -> None:
    path = journal_of(tmp_path / "machine.yaml")
    assert path.name == "machine.yaml.journal.jsonl"
    Journal(path, "this machine", "quick").add(POINT, READING)
    again = Journal(path, "this machine", "quick")
    assert again.readings == {POINT.key: READING}
    held = Point("products", {"k": 4, "n": 16, "m": 8}, held=True)
    assert held.key in again.readings  # held back or not, it is the same program


def test_a_line_cut_short_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "m", "quick").add(POINT, READING)
    path.write_text(path.read_text() + '["[\\"attention\\"', "utf-8")
    again = Journal(path, "m", "quick")
    assert list(again.readings) == [POINT.key]
    other = Point("attention", {"batch": 1})
    again.add(other, READING)
    assert set(Journal(path, "m", "quick").readings) == {POINT.key, other.key}


def test_another_machine_or_effort_starts_anew(tmp_path: Path) -> None:
    for machine, effort, fresh in [("b", "quick", False), ("a", "full", False), ("a", "quick", 1)]:
        path = tmp_path / f"{machine}{effort}{fresh}"
        Journal(path, "a", "quick").add(POINT, READING)
        assert Journal(path, machine, effort, bool(fresh)).readings == {}


def test_points_differ_by_what_they_run() -> None:
    same = Point("products", {"n": 16, "m": 8, "k": 4})
    others = [
        Point("experts", POINT.sizes),
        Point("products", {**POINT.sizes, "m": 9}),
        Point("products", POINT.sizes, "bf16"),
        Point("products", POINT.sizes, busy=2),
        Point("products", POINT.sizes, level="node"),
    ]
    assert same.key == POINT.key
    assert len({point.key for point in (POINT, *others)}) == 6
