"""Every parallel plan's step does what the step of one device does, and sends what it must."""

import json
import math
import subprocess
import sys
from pathlib import Path

import check_steps
import pytest

pytestmark = pytest.mark.xdist_group("steps")  # one process compiles for all
PROGRAM = Path(check_steps.__file__)


def _run(*more: str):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *more], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found():
    """Run the cases in one process of eight fake devices."""
    return _run()


def _judge(case) -> None:
    assert case["loss"] < 1e-5
    assert case["losses"][1] < case["losses"][0], "the loss must fall on the batch it saw"
    assert max(case["moments"].values()) < 1e-4, case["moments"]


@pytest.mark.parametrize("name", check_steps.CASES)
def test_a_plan_learns_what_one_device_learns(found, name: str) -> None:
    _judge(found[name])


@pytest.mark.slow
def test_more_plans_learn_what_one_device_learns() -> None:
    for case in _run("more").values():
        _judge(case)


def test_what_each_axis_sends(found) -> None:
    """By hand, in bytes of float32; Adam and the gradients have one number a parameter."""
    hidden, tokens = 32, check_steps.BATCH * check_steps.SEQUENCE
    layer = hidden * 16 * 8 + 64 * hidden + hidden * 2 * 64 + 64 * hidden + 2 * hidden
    parameters = 2 * layer + 2 * 64 * hidden + hidden
    assert found["zero 0"]["sent"]["dp"] == 4 * 2 * 3 / 4 * parameters
    # two microbatches reduced over 2 shards and 2 copies of them, parameters gathered once
    halves = 4 * parameters / 2
    assert found["zero 2, groups"]["sent"]["dp"] == 2 * (halves + halves) + halves
    # gathered twice for each of two microbatches, but for the tables and the last norm once
    once = 4 * (64 + 64 + 1) * hidden / 2
    assert found["zero 3, groups, full"]["sent"]["dp"] == 2 * (4 * halves - once)
    # two all-reduces a layer in each pass, one behind the embedding, one before the head
    rank_tokens = tokens // 4 // 2  # of one of two microbatches on one of 4 context ranks
    reduced = 4 * rank_tokens * hidden * (4 * 2 + 2)
    softmax = 4 * rank_tokens * 3
    assert found["tp, ring"]["sent"]["tp"] == 2 * 2 * 1 / 2 * (reduced + softmax)
    # keys and values of two heads to the next rank, 3 times on and 6 times back
    keys = 4 * rank_tokens * 2 * 8
    assert found["tp, ring"]["sent"]["cp"] == 2 * 2 * 2 * 9 * keys
    # m + p - 1 ticks on, as many back
    boundary = 4 * (check_steps.SEQUENCE // 2) * hidden
    assert found["pp, gathered"]["sent"]["pp"] == 2 * (4 + 1) * boundary
    # two all-to-alls a layer in each pass, of two copies of each token, one layer and 3 ticks
    swapped = 4 * 2 * check_steps.SEQUENCE // 2 * 2 * hidden
    assert found["ep, pp, exchanged"]["sent"]["ep"] == 3 * 4 * 3 / 4 * swapped


def test_losses_are_those_of_a_new_model(found) -> None:
    """A model that knows nothing is about as surprised as one that guesses evenly."""
    for case in found.values():
        assert case["losses"][0] == pytest.approx(math.log(check_steps.MODEL["vocab"]), rel=0.02)
