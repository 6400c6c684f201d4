"""Strict JSON: order, bits, and what it refuses."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InternalError
from planner.report.json_text import dumps


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_to_the_bit(value: float) -> None:
    back = json.loads(dumps({"x": value}))["x"]
    assert math.copysign(1, back) == math.copysign(1, value)
    assert back == value


def test_keys_of_a_plan_come_in_the_order_of_the_schema() -> None:
    text = dumps({"search": {}, "extra": 1, "strategy": {"pp": 1, "dp": 2}, "schema_version": 1})
    assert list(json.loads(text)) == ["schema_version", "strategy", "search", "extra"]
    assert list(json.loads(text)["strategy"]) == ["pp", "dp"]


def test_text_is_ascii_and_ends_a_line() -> None:
    text = dumps({"name": "Größe \ud800"})
    assert text.isascii()
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ({"a": {"b": [1.0, math.nan]}}, r"a\.b\[1\]"),
        ({"a": [{"c": math.inf}]}, r"a\[0\]\.c"),
        ({"a": np.int64(3)}, "a"),
        ({"a": {1, 2}}, "a"),
    ],
)
def test_what_json_has_no_word_for_is_our_fault(answer: dict[str, object], path: str) -> None:
    with pytest.raises(InternalError, match=f"^{path} cannot be written"):
        dumps(answer)
