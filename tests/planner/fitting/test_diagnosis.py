"""What explains errors: the figure that was changed, the term that is off, or the whole source."""

import numpy as np
import pytest
from measured import job, measured_under, runs_file

from hardware_profiles.load import load
from planner.fitting import Constant, figure_at
from planner.fitting.diagnosis import by_figure, by_term, explained
from planner.validate.prepared import prepare_all, price

PATH = "kernels.training.matmul.bf16"
VALUE = figure_at(load("dgx-h100").model_dump(), PATH)["value"]
PRODUCTS = Constant(PATH, ("dgx-h100",), (PATH,), (VALUE,), 0.3, 9.0)
JOBS = [job(devices, tp=tp, micro_batch=size)
        for devices in (8, 16) for tp in (1, 2, 4) for size in (1, 4)]  # fmt: skip


def pairs(path):
    return [(run, price(run)) for run in prepare_all([path])]


@pytest.fixture
def slow(tmp_path):
    """Return runs on a machine whose products reach 0.85 of what the profile says."""
    return pairs(measured_under(tmp_path / "runs.yaml", JOBS, [PRODUCTS], {PATH: 0.85}))


def test_the_figure_that_was_changed_explains_best(slow):
    best, *others = by_figure([run for run, _ in slow])
    assert (best.figure, best.file) == (PATH, "dgx-h100")
    assert best.factor == pytest.approx(0.85, abs=0.03)
    assert best.low < best.factor < best.high
    assert best.error < 0.01
    assert [one.error for one in others] == sorted(one.error for one in others)
    assert all(one.error > best.error for one in others)


def test_it_is_said_in_a_sentence(slow):
    made = explained(slow)
    assert made["runs"] == len(slow)
    assert made["said"][0].startswith("12 timed runs are ")
    assert made["said"][0].endswith(" too fast.")
    assert f"explains most is {PATH} of dgx-h100" in made["said"][1]


def test_right_predictions_blame_no_figure(tmp_path):
    made = explained(pairs(measured_under(tmp_path / "r.yaml", JOBS, [PRODUCTS], {PATH: 1.0})))
    assert "No single figure" in made["said"][1]


def test_too_few_runs_explain_nothing(slow):
    made = explained(slow[:3])
    assert made["figures"] == made["terms"] == []
    assert "4 are needed" in made["said"][0]


def test_a_source_that_is_off_as_a_whole_is_named(tmp_path):
    seconds = np.array([one.step_s for _, one in pairs(runs_file(tmp_path / "a.yaml", JOBS))])
    path = runs_file(tmp_path / "b.yaml", JOBS, seconds / 1.2, source="cluster b")
    (told,) = [text for text in explained(pairs(path))["said"] if "All runs" in text]
    assert told.startswith("All runs of cluster b are predicted too slow alike, by 20.0%")


def test_a_term_that_is_off_has_its_factor():
    kinds = [{"compute": 1.0, "dp": share} for share in (0.1, 0.2, 0.5, 1.0)]
    truth = np.array([one["compute"] + 2.0 * one["dp"] for one in kinds])
    errors = np.log([sum(one.values()) for one in kinds] / truth)
    best, other = by_term(kinds, errors)
    assert best["kind"] == "dp"
    assert best["factor"] == pytest.approx(2.0, rel=0.03)
    assert best["error"] < 0.01 < other["error"]
    assert best["correlation"] < -0.9


def test_a_term_that_no_run_has_is_not_named():
    kinds = [{"compute": 1.0, "pp": 0.0}] * 4
    assert [one["kind"] for one in by_term(kinds, np.zeros(4))] == ["compute"]
    assert by_term(kinds, np.zeros(4))[0]["correlation"] is None
