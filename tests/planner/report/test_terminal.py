"""The report in the terminal: what it says, its width, its colour, its speed."""

import copy
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from planner.errors import SpecError
from planner.report.terminal import render


def _replaced(value: Any, text: str) -> Any:
    """Put `text` in place of every text of a plan, keys left as they are."""
    if isinstance(value, dict):
        return {key: _replaced(member, text) for key, member in value.items()}
    if isinstance(value, list):
        return [_replaced(member, text) for member in value]
    return text if isinstance(value, str) else value


def test_it_says_what_the_plan_says(plan: dict[str, Any]) -> None:
    text = render(plan)
    words = " ".join(text.split())
    for told in (
        "llama-3.1-70b on 1,024 x dgx-h100 with tp 8, pp 4, vpp 5, dp 32, zero 1, micro-batch 1, "
        "interleaved schedule, selective recompute: a step takes 9.98 s (90% sure of 9.08 s to "
        "11.1 s), 821 tokens/s per device, 45.1% MFU, 61.2 GB of 79.9 GB.",
        "mesh tp 8, sp yes, cp 1, pp 4, vpp 5, dp 32, ep 1, etp 1",
        "pipeline schedule interleaved, layers_per_stage 4 x20",
        "memory 61.2 GB of 79.9 GB 76.6% of the limit, fits",
        "goodput 96.2% a checkpoint every 23.5 min, 12.4 s each",
        "failures 303 one in 17.0 h",
        "done within 223 days 90% sure",
        "The interval: step times of 41 dense runs on H100, residual 0.1.",
        "Looked at: strong scaling: global batch fixed",
        "time to train 215 days 15.0 T tokens",
        "cost $4.03 M the whole run",
        "matrix products, backward 4.82 s 48.3% -",
        "activations in flight 38.7 GB 63.2%",
        "Fastest at 3,072 devices (p*). Communication dominates from 3,400 devices.",
        "dgx-a100-80gb 2,048 14.9 s $6.60 M tp 4, pp 4, vpp 5, dp 128",
        "The pinned values cost 200 ms a step (2.0%): left free, a step takes 9.78 s with tp 4",
        "31,250 of 48,212 candidates priced in 412 ms. 16,962 do not fit in memory.",
        "It covers every uniform plan that the rules allow.",
        "Status optimal: no plan of the space is better.",
        "+2.1% 78.8 GB",
    ):
        assert told in words, told
    for heading in ("Six stages", "Six slots", "Scaling", "Alternatives", "What the pins cost"):
        assert f"\n{heading}\n" in text


def test_terms_are_listed_by_their_exposed_time(plan: dict[str, Any]) -> None:
    text = render(plan)
    places = [text.index(name) for name in ("products, back", "products, forw", "attention  ")]
    assert places == sorted(places)


def test_terms_that_take_no_time_are_not_listed(plan: dict[str, Any]) -> None:
    plan["prediction"]["time"].append({"name": "expert all-to-all", "exposed_s": 0.0})
    assert "expert all-to-all" not in render(plan)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_it_fits_and_is_plain(plan: dict[str, Any], width: int) -> None:
    text = render(plan, width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert not re.search(r"[ \t]\n", text)


def test_colour_changes_nothing_but_colour(plan: dict[str, Any]) -> None:
    coloured = render(plan, colour=True)
    assert "\x1b[1;36m" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in bare.splitlines()] == render(plan).splitlines()


def test_a_prediction_alone_is_a_report(plan: dict[str, Any]) -> None:
    only = {key: plan[key] for key in ("job", "strategy", "prediction")}
    only["prediction"]["fits"] = False
    text = render(only)
    assert "This does not fit" in text
    assert "does NOT fit" in text
    assert "Alternatives" not in text
    assert render({}) == "plan\nThis job.\n"


def test_the_parts_of_a_composition_follow_the_whole(plan: dict[str, Any]) -> None:
    part = copy.deepcopy(plan)
    part["job"]["name"] = "second part"
    text = render({"job": {"name": "whole"}, "parts": [plan, part]})
    assert text.startswith("whole\nwhole.\n\nllama3-70b-on-1024-h100\n")
    assert "\n\nsecond part\n" in text


def test_a_file_that_is_no_plan_is_the_users(plan: dict[str, Any]) -> None:
    plan["prediction"]["time"][3]["exposed_s"] = "much"
    with pytest.raises(SpecError, match=r"^prediction\.time\[3\]\.exposed_s: this is text; "):
        render(plan)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        "job",
        "strategy",
        "prediction",
        "checklist",
        "design",
        "axes",
        "patterns",
        "scaling",
        "search",
        "alternatives",
        "frontier",
        "pins",
        "provenance",
        "parts",
        "notes",
    ]
)
INNER = [
    "time",
    "memory",
    "memory_by_stage",
    "points",
    "name",
    "workload",
    "hardware",
    "tokens",
    "emit",
    "interval_s",
    "step_time_s",
    "memory_bytes",
    "figures",
    "version",
    "status",
    "p_star",
    "tp",
    "recompute",
]


@given(st.dictionaries(KEYS, JSON | st.dictionaries(st.sampled_from(INNER), JSON)))
def test_any_json_is_a_report_or_one_complaint(plan: dict[str, Any]) -> None:
    try:
        text = render(plan)
    except SpecError as error:
        assert error.key.split(".")[0].split("[")[0] in plan
    else:
        assert text.endswith("\n")


@settings(max_examples=30)
@given(st.text(min_size=1))
def test_hostile_text_steers_nothing(text: str) -> None:
    plan = {
        "job": {"name": text, "workload": {"model": text}, "hardware": {"system": text}},
        "strategy": {text: text, "recompute": text},
        "prediction": {"step_time_s": 1.0, "time": [{"name": text, "exposed_s": 1.0}]},
        "design": {text: {"choice": text, "because": text}},
    }
    told = render(plan).replace("\n", "")
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in told)


def test_markup_in_names_is_text(plan: dict[str, Any]) -> None:
    hostile = "[bold red]x[/] :smile: {{7*7}}"
    assert hostile in render(_replaced(plan, hostile), colour=True)
