"""What a calibration makes of its readings: a profile that is read again, and what it says."""

import dataclasses
from pathlib import Path

import pytest
from synthetic_machine import KNOWN, LEVELS, SHARE, timed

from hardware_profiles.load import load
from hardware_profiles.write import dumps
from planner.calibrate.found import Findings, findings
from planner.calibrate.journal import Journal
from planner.calibrate.machine import Machine
from planner.calibrate.new_memory import rate
from planner.calibrate.points import Point
from planner.calibrate.run import levels_of
from planner.calibrate.session import Session
from planner.calibrate.summary import document, head
from planner.calibrate.timing import QUICK
from planner.errors import SpecError

HERE = Machine("cpu", "cpu", "A Processor", 8, 1, 1, 2e9, 18e9, 2, "jax 1.0, cpu")


def made(load_per_core: float, spread: float) -> Findings:
    rows = [
        dataclasses.replace(row, reading=dataclasses.replace(row.reading, spread=spread))
        for row in timed(KNOWN, 0.02)
    ]
    return findings(
        HERE, LEVELS, rows, name="here", date="2026-01-02", quick=False, load=load_per_core,
        wall_s=60.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def quiet() -> Findings:
    return made(0.1, 0.05)


def test_the_profile_is_read_back_and_owns_up(quiet: Findings, tmp_path: Path) -> None:
    path = tmp_path / "here.yaml"
    path.write_text(dumps(quiet.profile, head=head(quiet)), "utf-8")
    profile = load(str(path))
    assert profile == quiet.profile
    assert profile.host.contention is not None
    assert profile.host.contention.value == pytest.approx(SHARE, rel=0.15)
    assert (profile.host.devices, profile.host.busy) == (8, 8)
    assert [level.devices for level in profile.network] == [8, None]
    assert profile.network[0].latency_s.basis == "fitted"
    assert "2026-01-02, jax 1.0" in profile.network[0].latency_s.source
    assert profile.network[1].latency_s.basis == profile.power.device_w.basis == "assumed"
    assert profile.memory_bytes.value == 2e9
    new = profile.host.new_memory_bytes_per_s  # 64 MiB in 0.03 s, and 0.01 s in memory of its own
    assert new is not None and new.value == pytest.approx(2**26 / 0.02, rel=1e-3)
    said = path.read_text("utf-8")
    assert "BUSY" not in said
    assert "held back" in said


def test_memory_that_is_kept_has_no_rate() -> None:
    assert rate({"new memory": 3.0, "kept memory": 1.0}, 8.0) == 4.0
    assert rate({"new memory": 1.2, "kept memory": 1.0}, 8.0) is None
    assert rate({"new memory": 0.8, "kept memory": 1.0}, 8.0) is None


def test_the_document_has_every_point_and_constant(quiet: Findings) -> None:
    said = document(quiet, "here.yaml")
    points, constants = said["points"], said["constants"]
    assert isinstance(points, list) and isinstance(constants, list)
    assert len(points) == len(quiet.measured)
    assert {fit["name"] for fit in constants} >= {"elementwise", "attention", "process"}
    assert said["busy"] == []


def test_a_busy_machine_is_noticed() -> None:
    busy = made(2.0, 0.6)
    assert len(busy.busy) == 2
    assert "2.0 processes wanted each core" in busy.busy[0]
    assert "60%" in busy.busy[1]
    assert head(busy).count("BUSY") == 2


def test_levels_are_those_with_more_than_one_member() -> None:
    def names(**changed: int) -> list[tuple[str, int, int]]:
        machine = dataclasses.replace(HERE, **changed)  # type: ignore[arg-type]
        return [(level.name, level.members, level.stride) for level in levels_of(machine)]

    assert names() == [("process", 8, 1)]
    assert names(local=1) == []
    assert names(local=2, processes=4) == [("process", 2, 1), ("node", 4, 2)]
    assert names(local=1, hosts=3) == [("cluster", 3, 1)]
    assert names(processes=2, hosts=2)[2] == ("cluster", 2, 16)


def test_too_little_memory_is_refused_before_anything_runs(tmp_path: Path) -> None:
    small = dataclasses.replace(HERE, memory_bytes=1e4)
    session = Session(small, QUICK, Journal(None, "", ""))
    with pytest.raises(SpecError, match="too little memory.*--devices"):
        session.measure([Point("products", {"m": 8, "n": 8, "k": 8})], lambda *_: None)
