"""Typed reading: what is right comes back, what is wrong is one error that names the key."""

import pytest

from planner.errors import SpecError
from planner.importers.fields import LIMIT, Fields


def fields(**keys: object) -> Fields:
    return Fields(keys, "config.json")


def test_the_first_key_that_is_there_counts() -> None:
    f = fields(a=None, b=3, c=4)
    assert f.whole("a", "b", "c") == 3
    assert f.whole("z", default=7) == 7
    assert f.whole("a", default=7) == 7
    assert fields(a=4.0).whole("a") == 4
    assert fields(a=0).whole("a", least=0) == 0


def test_null_and_absent_differ_where_the_family_says_so() -> None:
    assert fields(a=None).whole_or_none("a", absent=5) is None
    assert fields().whole_or_none("a", absent=5) == 5
    assert fields(a=3).whole_or_none("a", absent=5) == 3


@pytest.mark.parametrize(
    "value",
    ["4096", True, 2.5, float("nan"), float("inf"), [1], {}, 0, -3, LIMIT + 1, 1e300],
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="^config.json: size: must be") as caught:
        fields(size=value).whole("size")
    assert len(str(caught.value)) < 200


def test_a_number_too_long_to_print_is_refused_all_the_same() -> None:
    with pytest.raises(SpecError, match="is a number of 16610 bits"):
        fields(size=10**5000).whole("size")


def test_other_types() -> None:
    f = fields(flag=True, text="x", items=[1], inner={"deep": "no"}, nothing=None)
    assert f.flag("flag", False)
    assert f.flag("nothing", True)
    assert f.text("text") == "x"
    assert f.text("nothing", "y") == "y"
    assert f.items("items") == (1,)
    assert f.items("nothing") is None
    assert f.nested("nothing") is None
    inner = f.nested("inner")
    assert inner is not None
    with pytest.raises(SpecError, match="inner.deep: must be a whole number, is 'no'"):
        inner.whole("deep")


@pytest.mark.parametrize("reader", ["flag", "text", "items", "nested"])
def test_wrong_types_are_refused(reader: str) -> None:
    f = fields(key=3.5)
    with pytest.raises(SpecError, match="key: must be"):
        f.flag("key", False) if reader == "flag" else getattr(f, reader)("key")


def test_a_missing_key_names_its_other_names() -> None:
    with pytest.raises(SpecError, match="n_layer: is missing: give n_layer or layers"):
        fields().whole("n_layer", "layers")
