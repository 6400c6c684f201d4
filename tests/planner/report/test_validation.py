"""What `validate` prints and plots: errors, explanations and fits; the same plots each time."""

from xml.dom import minidom

from planner.report.terminal import render_sections
from planner.report.validation import validate_sections
from planner.report.validation_plots import plots

FIGURE = {"figure": "network.0.efficiency", "file": "dgx-h100", "factor": 0.9, "low": 0.8,
          "high": 1.0, "runs": 9, "error": 0.03}  # fmt: skip
EXPLAINED = {
    "runs": 9, "said": ["9 timed runs are 10.0% off on average, 9.0% too slow."],
    "terms": [{"kind": "dp", "share": 0.2, "correlation": None, "factor": 1.5, "error": 0.04}],
    "figures": [FIGURE],
}  # fmt: skip
FIT = {
    "profile": "mine", "runs": 9, "mean_absolute_error_before": 0.1,
    "mean_absolute_error_after": 0.02, "mean_absolute_error_held_out": 0.03,
    "figures": [{"figure": "network.0.efficiency", "before": 0.7, "after": 0.63, "low": 0.6,
                 "high": 0.66}], "kept": ["network.0.latency_s"],
}  # fmt: skip


def run(number, **given):
    made = {"id": f"r{number}", "source": "lab $x$ <b>", "metric": "step_time_s", "measured": 1.0,
            "predicted": 1.1, "error": 0.1, "skipped": None, "measured_step_s": 1.0 + number,
            "predicted_step_s": 1.1 + number, "machine": "dgx-h100", "family": "fsdp",
            "experts": False}  # fmt: skip
    return {**made, **given}


ANSWER = {
    "runs": [run(0), run(1, experts=True), run(2, error=None, metric=None)],
    "summary": {"overall": {"rankings": [{"group": "g", "tau": 0.5, "regret": 0.02}]},
                "by_source": {}},
}  # fmt: skip


def words(answer):
    return " ".join(render_sections(validate_sections(answer), width=100).split())


def test_explanations_and_the_fit_are_shown():
    text = words({**ANSWER, "explained": EXPLAINED, "fit": FIT})
    assert "9 timed runs are 10.0% off on average" in text
    assert "dp 20.0% - 1.50x 4.0%" in text
    assert "network.0.efficiency dgx-h100 0.90x 0.80x to 1.00x 3.0%" in text
    assert "mean error 10.0% before, 2.0% after, 3.0% on runs that a fit did not see" in text
    assert "left as they were: network.0.latency_s." in text


def test_without_them_nothing_is_said():
    text = words(ANSWER)
    assert "explains" not in text
    assert "Adjusted" not in text


def test_three_plots_the_same_each_time():
    made = plots(ANSWER)
    assert list(made) == ["predicted.svg", "regimes.svg", "ranking.svg"]
    assert made == plots(ANSWER)
    for text in made.values():
        minidom.parseString(text)
    assert "lab $x$ &lt;b&gt; (2)" in made["predicted.svg"]
    assert "dgx-h100, fsdp, experts (1)" in made["regimes.svg"]
    assert "2.0%" in made["ranking.svg"]


def test_nothing_to_plot_is_left_out():
    assert plots({"runs": [], "summary": {"overall": {"rankings": []}}}) == {}


def test_a_validation_sums_up_skips_and_names_the_worst():
    run = {"id": "a-1", "metric": "step_time_s", "measured": 1.0, "predicted": 1.5, "error": 0.5}
    answer = {
        "runs": [
            {**run, "skipped": None},
            {**run, "id": "a-2", "predicted": 0.4, "error": -0.6, "skipped": None},
            {"id": "a-3", "error": None, "skipped": "no price for fp4 here"},
        ],
        "summary": {
            "overall": {
                "priced": 2,
                "mean_absolute_error": 0.55,
                "kendall_tau": 0.66667,
                "oom_right": 3,
                "oom_wrong": 1,
            },
            "by_source": {"lab": {"priced": 2, "mean_absolute_error": 0.5, "kendall_tau": None}},
        },
    }
    told = words(answer)
    assert "all 2 55.0% - 0.667 - 3 of 4" in told
    assert "lab 2 50.0% - - - -" in told
    assert "2 of 3 runs were priced." in told
    assert "1 no price for fp4 here" in told
    assert told.index("a-2") < told.index("a-1")
    assert "a-2 step time 1.00 s 400 ms -60.0%" in told
