"""Every parallel plan's step does what the step of one device does, and sends what it must."""

import json
import subprocess
import sys
from pathlib import Path

import check_steps
import pytest

PROGRAM = Path(check_steps.__file__)


@pytest.fixture(scope="module")
def found():
    """Run all cases in one process of eight fake devices."""
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", check_steps.CASES)
def test_a_plan_learns_what_one_device_learns(found, name: str) -> None:
    case = found[name]
    assert case["loss"] < 1e-5
    assert case["losses"][1] < case["losses"][0], "the loss must fall on the batch it saw"
    assert max(case["moments"].values()) < 1e-4, case["moments"]


def test_what_each_axis_sends(found) -> None:
    """By hand, for bytes of float32: see the closed forms of `planner.workloads.training`."""
    m = check_steps.MODEL
    hidden, tokens = m["hidden"], check_steps.BATCH * check_steps.SEQUENCE
    layer = hidden * 16 * 8 + 64 * hidden + hidden * 2 * 64 + 64 * hidden + 2 * hidden
    layer += 0 * m["heads"]
    parameters = 2 * layer + 2 * 64 * hidden + hidden
    assert found["dp"]["sent"]["dp"] == 4 * 2 * 7 / 8 * parameters
    # two all-reduces a layer in each pass, one of the embedding, one before the head
    reduced = 4 * tokens // 2 * hidden * (4 * 2 + 2)
    softmax = 4 * tokens // 2 * 3
    assert found["tp"]["sent"]["tp"] == 2 * 3 / 4 * (reduced + softmax)
    # keys and values to the next rank, (cp - 1) times on and twice as often back
    keys = 4 * tokens // 8 * 4 * 8
    assert found["ring"]["sent"]["cp"] == 2 * 3 * 2 * 3 * keys
    # two all-to-alls of a layer in each pass, top_k copies of each token
    swapped = 4 * tokens // 8 * 2 * hidden
    assert found["ep"]["sent"]["ep"] == 2 * 4 * 3 / 4 * swapped
    # m + p - 1 ticks on, as many back
    boundary = 4 * 1 * check_steps.SEQUENCE * hidden
    assert found["pp"]["sent"]["pp"] == 2 * (4 + 1) * boundary


def test_losses_are_those_of_a_new_model(found) -> None:
    """A model that knows nothing is about as surprised as one that guesses evenly."""
    import math

    for case in found.values():
        assert case["losses"][0] == pytest.approx(math.log(check_steps.MODEL["vocab"]), rel=0.02)
