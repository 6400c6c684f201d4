"""What every axis of a plan sends is what its compiled step sends, to the byte, up to 512 devices.

Fake devices of the CPU in float32: nothing runs, and nothing is left out or rounded.
"""

import json
import subprocess
import sys
from pathlib import Path

import check_witness
import pytest

from planner.check.expected import Part
from planner.check.grid import family, over
from planner.check.hlo import Collective, Communication
from planner.check.witness import compare

pytestmark = pytest.mark.xdist_group("witness")  # one process compiles for all
PROGRAM = Path(check_witness.__file__)
SENDS = {
    "dp": ["dp"], "zero 1": ["dp"], "zero 2": ["dp"], "zero 3": ["dp"], "hsdp": ["dp"],
    "tp": ["tp", "dp"], "tp, sp": ["tp", "dp"], "ring": ["cp", "dp"], "gathered": ["cp", "dp"],
    "exchanged": ["cp", "dp"], "pp": ["pp", "dp"], "ep": ["ep", "dp"],
    "ep, etp": ["ep", "tp", "dp"], "full": ["tp", "cp", "dp"],
    "full, gathered": ["cp", "dp"],
    "all": ["tp", "cp", "pp", "ep", "dp"], "512": ["tp", "cp", "pp", "ep", "dp"],
}  # fmt: skip
"""Axes of the plan that each case must be seen to send on."""


@pytest.fixture(scope="module")
def found():
    """Compile all cases in one process of fake devices."""
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", check_witness.CASES)
def test_what_is_compiled_is_what_is_predicted(found, name: str) -> None:
    case = found[name]
    assert case["unknown"] == []
    for line in case["lines"]:
        assert line["compiled"] == pytest.approx(line["predicted"], rel=1e-9), line
    assert case["equal"]


@pytest.mark.parametrize("name", check_witness.CASES)
def test_every_axis_is_seen_to_send(found, name: str) -> None:
    seen = {axis for line in found[name]["lines"] if line["counted"] for axis in line["axes"]}
    assert seen == set(SENDS[name])


@pytest.mark.parametrize("name", check_witness.CASES)
def test_arguments_are_the_shards(found, name: str) -> None:
    predicted, compiled = found[name]["arguments"]
    assert predicted == compiled


def test_what_a_plan_leaves_out_is_small(found) -> None:
    """Most of what is compiled the plan counts; pipelines of few microbatches run idle ticks."""
    for name in set(check_witness.CASES) - {"all", "512", "pp"}:
        for line in found[name]["lines"]:
            if line["counted"]:
                assert line["compiled"] == pytest.approx(line["counted"], rel=0.35), (name, line)


SIZES = {"dp": 2, "tp": 2}
OVER_TP = ((0, 1), (2, 3))


def one(kind: str = "all-reduce", groups=OVER_TP) -> Collective:
    return Collective(kind, "f32", 100.0, 100.0, groups, 1.0, "")


def part(axis: str, sent: float, axes: set[str]) -> Part:
    return Part("a reason", axis, "reduce", frozenset(axes), sent, counted=True)


def test_axes_that_vary_inside_groups() -> None:
    assert over(one(), SIZES) == {"tp"}
    assert over(one(groups=((0, 2), (1, 3))), SIZES) == {"dp"}
    assert over(one(groups=((0, 1, 2, 3),)), SIZES) == {"dp", "tp"}
    assert family(one("collective-permute")) == "send" and family(one("all-to-all")) == "exchange"


def test_a_byte_too_many_is_seen() -> None:
    found = Communication(4, (one(),), ())
    assert compare([part("tp", 100.0, {"tp"})], found, SIZES).equal
    assert not compare([part("tp", 101.0, {"tp"})], found, SIZES).equal
    assert not compare([part("dp", 100.0, {"dp"})], found, SIZES).equal
    assert not compare([], found, SIZES).equal
    unknown = Communication(4, (one(),), ("a loop",))
    assert not compare([part("tp", 100.0, {"tp"})], unknown, SIZES).equal


def test_axes_on_the_same_ranks_are_compared_together() -> None:
    parts = [part("tp", 60.0, {"tp"}), part("ep", 40.0, {"tp"})]
    found = compare(parts, Communication(4, (one(),), ()), SIZES)
    (line,) = found.lines
    assert line.equal and line.axes == ("tp", "ep")
    assert found.sent("ep") == (100.0, 100.0)


def test_the_device_that_sends_most_counts() -> None:
    on, back = (one("collective-permute", groups=(pair,)) for pair in ((0, 1), (1, 0)))
    (line,) = compare([], Communication(4, (on, back), ()), SIZES).lines
    assert line.compiled_bytes == 100.0
    (line,) = compare([], Communication(4, (on, on), ()), SIZES).lines
    assert line.compiled_bytes == 200.0
