"""Text of emitted files: inert values and comment headers."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.emit.text import LONGEST, WIDTH, Header, one_line, shell_word, wrap


@given(st.text())
def test_one_line_is_one_ascii_line(text: str) -> None:
    out = one_line(text)
    assert out.isascii()
    assert out.isprintable() or out == ""
    assert "\n" not in out


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_shell_word_is_one_word_of_the_same_printable_text(text: str) -> None:
    words = shlex.split(shell_word(text))
    expected = "".join(c if c.isprintable() else " " for c in text)
    assert words == [expected]


def test_comments_are_cut_and_words_are_not() -> None:
    assert len(one_line("x" * 500)) == LONGEST
    assert shell_word("x" * 500) == "x" * 500


def test_shell_word_survives_a_lone_surrogate() -> None:
    assert shlex.split(shell_word("a\ud800b")) == ["a?b"]


@pytest.mark.parametrize(("value", "word"), [(8, "8"), ("bf16", "bf16"), ("a b", "'a b'")])
def test_shell_word_leaves_plain_words_alone(value: object, word: str) -> None:
    assert shell_word(value) == word


@given(st.text(st.characters(codec="ascii"), max_size=300))
def test_every_line_of_a_wrapped_comment_is_a_comment(text: str) -> None:
    for line in wrap(one_line(text)):
        assert line.startswith("#")


def test_header_says_what_is_lost_and_what_is_chosen() -> None:
    header = Header("Title", ["About."])
    header.not_expressible("schedule gpipe", "1F1B")
    header.chosen("the learning rate")
    lines = header.lines()
    assert lines[:2] == ["# Title", "# About."]
    assert "# Not expressible: schedule gpipe. Nearest: 1F1B." in lines
    assert "# Not from the plan: the learning rate." in lines
    assert all(len(line) <= WIDTH for line in lines)
