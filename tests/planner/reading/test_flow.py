"""The fast reader of one-line flow YAML agrees with the general one, or declines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.reading.document import read_text
from planner.reading.flow import read_flow


def test_a_run() -> None:
    line = (
        "{id: a-1, group: null, job: {workload: {name: llama-3.1-8b, tokens: 15.0e12, x: }, "
        "set: {}}, text: 'it''s: a, b', other: \"#1\", list: [true, -2, [], .5], last: NeMo 24}"
    )
    value = read_flow(line)
    assert value == read_text(line).value
    assert isinstance(value, dict)
    assert value["text"] == "it's: a, b"
    assert value["list"] == [True, -2, [], 0.5]
    assert value["last"] == "NeMo 24"


@pytest.mark.parametrize(
    "text",
    [
        "{a: 1",
        "{a: 1}}",
        "{a: 1} # c",
        "{a: &x 1}",
        "{a: *x}",
        "{a: !t 1}",
        '{a: "\\n"}',
        "{a: 1, a: 2}",
        "{a: é}",
        "{a, b}",
        "{a: 1,}",
        "{a:1}",
        "{a: b:c}",
        "{a: - 1}",
        "{a: b 'c'}",
        "{a: .inf}",
        "[" * 60 + "]" * 60,
        "",
        "{a: 1, , b: 2}",
    ],
)
def test_declines_what_is_not_plain(text: str) -> None:
    with pytest.raises(ValueError):
        read_flow(text)


pieces = ["a", "b: ", ": ", ", ", ",", "{", "}", "[", "]", "'", '"', "#", " ", "-", "?", ".0e", "~"]


@given(st.lists(st.sampled_from(pieces), max_size=25))
def test_whatever_it_reads_it_reads_as_the_general_parser(parts: list[str]) -> None:
    text = f"{{{''.join(parts)}}}"
    try:
        fast = read_flow(text)
    except ValueError:
        return
    assert fast == read_text(text).value


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(-1e30, 1e30)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc_", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=5), plain, max_size=4))
def test_json_is_read_alike_or_declined(value: dict[str, object]) -> None:
    text = json.dumps(value)
    try:
        fast = read_flow(text)
    except ValueError:
        return
    try:
        assert fast == read_text(text).value
    except SpecError as error:
        pytest.fail(f"the general parser refuses it: {error}")
    assert fast == value
