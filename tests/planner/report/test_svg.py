"""Drawings that belong in a page: own ids, the page's colours, the same bytes, inert names."""

import re
from typing import TYPE_CHECKING
from xml.dom import minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.report.numbers import clean
from planner.report.svg import COLOURS, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _labelled(label: str, name: str = "chart") -> str:
    def draw(axes: "Axes") -> None:
        axes.barh([0], [1.0], color=COLOURS["c1"], label=label or None)
        axes.set_yticks([0], [label])
        axes.legend()

    return drawing(name, "One bar.", (4, 1), draw)


def test_it_takes_the_colours_of_the_page() -> None:
    svg = _labelled("a")
    assert "var(--c1)" in svg
    assert "var(--ink)" in svg
    assert "#0101f" not in svg
    assert 'role="img"' in svg
    assert 'aria-label="One bar."' in svg


def test_ids_are_its_own_and_every_reference_is_met() -> None:
    svg = _labelled("a", "first-")
    ids = re.findall(r' id="([^"]*)"', svg)
    assert len(ids) == len(set(ids)) > 3
    assert all(name.startswith("first-") for name in ids)
    used = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg)
    assert used
    assert {one or other for one, other in used} <= set(ids)


def test_the_same_drawing_is_the_same_bytes_without_a_date() -> None:
    assert _labelled("a") == _labelled("a")
    assert "metadata" not in _labelled("a")


@pytest.mark.parametrize(
    "label", ["$\\frac{1}{0$", "</svg><script>x</script>", 'a" onload="x', "&amp;", "模型 🙂", "$$"]
)
def test_a_name_is_drawn_as_it_is(label: str) -> None:
    texts = [
        "".join(node.data for node in text.childNodes)
        for text in minidom.parseString(_labelled(label)).getElementsByTagName("text")
    ]
    assert label in texts


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=30).map(clean))
def test_any_cleaned_name_gives_well_formed_svg(label: str) -> None:
    root = minidom.parseString(_labelled(label)).documentElement
    assert root is not None
    names = {node.tagName for node in root.getElementsByTagName("*")}
    assert names <= {"g", "defs", "style", "path", "use", "text", "clipPath", "rect"}
