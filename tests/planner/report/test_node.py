"""Reading a plan: absent is nothing, wrong is one message with the path."""

import math

import pytest

from planner.errors import SpecError
from planner.report.node import Node

PLAN = Node({"a": {"b": [1, 2.5, None], "c": "text\x07", "d": True}, "n": math.nan, "h": 10**400})


def test_absent_keys_are_nothing_all_the_way_down() -> None:
    node = PLAN["x"]["y"]["z"]
    assert not node
    assert node.number() is None
    assert node.text() == ""
    assert list(node.items()) == []
    assert list(node.entries()) == []


def test_values_are_read_with_their_type() -> None:
    assert [item.number() for item in PLAN["a"]["b"].items()] == [1.0, 2.5, None]
    assert PLAN["a"]["c"].text() == "text\ufffd"
    assert [key for key, _ in PLAN["a"].entries()] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: PLAN["a"].number(), "a: this is a mapping; a plan has a number here"),
        (lambda: PLAN["a"]["c"].number(), "a.c: this is text; a plan has a number here"),
        (lambda: PLAN["a"]["d"].number(), "a.d: this is a truth value; a plan has a number here"),
        (lambda: PLAN["n"].number(), "n: this is a number; a plan has a finite number here"),
        (lambda: PLAN["h"].number(), "h: this is a number; a plan has a number below 1e308 here"),
        (lambda: list(PLAN["a"].items()), "a: this is a mapping; a plan has a list here"),
        (lambda: PLAN["a"]["b"]["k"], "a.b: this is a list; a plan has a mapping here"),
        (lambda: PLAN["a"]["b"].text(), "a.b: this is a list; a plan has text here"),
    ],
)
def test_a_wrong_type_names_the_path(read, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpecError) as caught:
        read()
    assert str(caught.value) == message
