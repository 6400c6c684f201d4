"""A fitted profile predicts the runs better, says what changed, and refuses what it cannot know."""

from pathlib import Path

import pytest
from measured import job, measured_under, runs_file

from hardware_profiles.load import load
from hardware_profiles.write import dumps
from planner.errors import SpecError
from planner.fitting import Constant, figure_at
from planner.fitting.adjusted import adjusted, check_name
from planner.validate import validate
from planner.validate.prepared import prepare_all

PATH = "kernels.training.matmul.bf16"
VALUE = figure_at(load("dgx-h100").model_dump(), PATH)["value"]
PRODUCTS = Constant(PATH, ("dgx-h100",), (PATH,), (VALUE,), 0.3, 9.0)
JOBS = [job(devices, tp=tp, micro_batch=size)
        for devices in (8, 16) for tp in (1, 2, 4) for size in (1, 4)]  # fmt: skip


@pytest.fixture
def slow(tmp_path):
    return measured_under(tmp_path / "runs.yaml", JOBS, [PRODUCTS], {PATH: 0.85})


def test_the_profile_that_is_written_predicts_better(slow, tmp_path):
    made = adjusted(prepare_all([slow]), "mine")
    assert made.after < 0.4 * made.before
    assert made.held_out < 0.6 * made.before
    mine = tmp_path / "mine.yaml"
    mine.write_text(dumps(made.profile), "utf-8")
    slow.write_text(slow.read_text("utf-8").replace('"dgx-h100"', f'"{mine}"'), "utf-8")
    again = validate([slow])["summary"]["overall"]
    assert again["mean_absolute_error"] == pytest.approx(made.after, abs=1e-3)


def test_it_says_what_changed_and_leaves_the_rest(slow):
    made, old = adjusted(prepare_all([slow]), "mine"), load("dgx-h100")
    (products,) = [one for one in made.figures if one["figure"] == PATH]
    assert products["after"] < products["before"] == VALUE
    assert products["low"] < products["after"] < products["high"]
    new = made.profile.kernels.training.matmul["bf16"]
    assert new.basis == "fitted"
    assert "12 runs" in new.source and "of dgx-h100's" in new.source
    assert made.profile.name == "mine"
    for name in made.kept:
        assert figure_at(made.profile.model_dump(), name) == figure_at(old.model_dump(), name)
    assert made.profile.memory_bytes == old.memory_bytes


def test_the_same_each_time(slow):
    runs = prepare_all([slow])
    assert dumps(adjusted(runs, "mine").profile) == dumps(adjusted(runs, "mine").profile)


def test_too_few_runs_are_refused(tmp_path):
    same = prepare_all([runs_file(tmp_path / "r.yaml", [job()] * 9)])
    with pytest.raises(SpecError, match="6 timed runs of distinct jobs, not 1"):
        adjusted(same, "mine")
    with pytest.raises(SpecError, match="no run is timed"):
        adjusted([], "mine")


def test_two_machines_are_refused(tmp_path):
    other = job()
    other["hardware"]["system"] = "dgx-a100-80gb"
    runs = prepare_all([runs_file(tmp_path / "r.yaml", [job(), other])])
    with pytest.raises(SpecError, match="of one machine, the runs are of 2"):
        adjusted(runs, "mine")


@pytest.mark.parametrize("name", ["mine", "mine.json", "nowhere/at/all.yaml"])
def test_a_file_that_could_not_be_read_back_is_refused(name):
    with pytest.raises(SpecError, match="--fit"):
        check_name(Path(name))
