"""What the other commands print."""

from typing import Any

from planner.predictor import fitted_table, speedup_table
from planner.report.answers import (
    explain_sections,
    speedup_sections,
    what_if_sections,
)
from planner.report.content import Section
from planner.report.terminal import render_sections


def _text(sections: tuple[Section, ...]) -> str:
    return render_sections(sections)


def _words(sections: tuple[Section, ...]) -> str:
    return " ".join(_text(sections).split())


# Output 41.4.1 of "Building AI systems at scale", the table of its predictor.
PRINTED = """\
 1    1.0000   0.0000   1.0000     1.00      0.000
    2    0.5000   0.0408   0.5408     1.85      0.082
    4    0.2500   0.0624   0.3124     3.20      0.250
    8    0.1250   0.0756   0.2006     4.99      0.605
   16    0.0625   0.0870   0.1495     6.69      1.392
   32    0.0312   0.1023   0.1336     7.49      3.274
   64    0.0156   0.1291   0.1448     6.91      8.266
  128    0.0078   0.1810   0.1888     5.30     23.165
  256    0.0039   0.2837   0.2876     3.48     72.624
  512    0.0020   0.4886   0.4906     2.04    250.186
 1024    0.0010   0.8983   0.8993     1.11    919.882
"""


def test_the_speedup_table_is_the_printed_one_to_the_last_digit() -> None:
    text = _text(speedup_sections({**speedup_table(1.0, 0.0008, 0.040)}))
    rows = [line.replace(",", "").split() for line in text.splitlines()]
    assert [line.split() for line in PRINTED.splitlines()] == rows[-11:]
    words = " ".join(text.split())
    assert "p* = 34: speed-up 7.49x, efficiency 22.0%, comm/compute 3.54." in words
    assert "Communication dominates from p = 13, where the speed-up is 6.24x." in words


def test_short_steps_are_told_in_their_own_unit() -> None:
    told = _words(speedup_sections({**speedup_table(2e-3, 1e-7, 3e-5, (1, 2000))}))
    assert "1 2.00 ms 0 s 2.00 ms 1.00 0.000" in told


def test_a_fit_says_what_it_knows() -> None:
    told = _words(speedup_sections({**fitted_table([(1, 10.0), (2, 6.0)])}))
    assert "Fitted to 2 measured counts, largest error 0.0%; identified: compute_s" in told
    assert "measure a third count" in told


def test_an_explanation_shows_each_part_that_is_there() -> None:
    entry = {"what": "memory", "because": "2% is left", "numbers": {"slack_bytes": 1.6e9}}
    text = _text(explain_sections({"binds": [entry], "alternatives": [], "why_not": [entry]}))
    assert text.startswith(
        "What binds\n  what    because     figures\n  memory  2% is left  slack 1.6"
    )
    assert "Why not" in text
    assert "alternative" not in text


def test_a_what_if_puts_both_plans_side_by_side(plan: dict[str, Any]) -> None:
    changed = {**plan, "prediction": {**plan["prediction"], "step_time_s": 4.5}}
    sensitivity = [
        {"figure": "alpha_s", "factor": 10, "step_time_s": 10.3, "strategy": {"tp": 4},
         "changed": True},
        {"figure": "alpha_s", "factor": 0.1, "step_time_s": 9.9, "strategy": {}, "changed": False},
    ]  # fmt: skip
    answer = {"base": plan, "changed": changed, "sensitivity": sensitivity}
    told = _words(what_if_sections(answer))
    assert "step time 9.98 s 4.50 s" in told
    assert "alpha 10 10.3 s tp 4" in told
    assert "alpha 0.1 9.90 s the same" in told
    short = {"base": {"step_time_s": 1.0}, "changed": {"step_time_s": 2.0}}
    assert "step time 1.00 s 2.00 s" in _words(what_if_sections(short))
