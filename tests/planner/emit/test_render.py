"""Templates whose values are always Python literals."""

import ast
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from planner.emit.render import Source, literal, render

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.tuples(inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_a_literal_reads_back_as_the_value(value: object) -> None:
    assert ast.literal_eval(literal(value)) == value


def test_only_source_is_written_as_it_is() -> None:
    assert literal(Source("P('a')")) == "P('a')"
    assert literal("P('a')") == "\"P('a')\""


def test_what_has_no_literal_is_refused() -> None:
    with pytest.raises(TypeError):
        literal(math)


def test_a_template_must_get_all_its_values() -> None:
    with pytest.raises(UndefinedError):
        render("torchtitan.py.j2", header=Source("#"))
