"""YAML text -> values with lines: what is read, what is refused, in bounded time."""

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.reading.document import (
    MAX_BYTES,
    ON_COMMAND_LINE,
    Document,
    read_file,
    read_text,
    scalar,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("15.0e12", 15e12),
        ("15e12", 15e12),
        ("-3", -3),
        ("+3", 3),
        (".5", 0.5),
        ("1.", 1.0),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 17),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ("null", None),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("-", "-"),
        (".", "."),
        ("4x8x8", "4x8x8"),
        ("llama-3.1-70b", "llama-3.1-70b"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e400", "9" * 500, "0x" + "f" * 99])
def test_absurd_numbers_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not a number that a job can hold") as caught:
        read_text(f"a: 1\nb: {text}", file="f.yaml")
    assert (caught.value.line, caught.value.key) == (2, "b")


def test_values_and_lines() -> None:
    document = read_text("a: 1\nb:\n  - x\n  - {c: 'q'}\nd: |\n  text\n", file="f.yaml")
    assert document.value == {"a": 1, "b": ["x", {"c": "q"}], "d": "text\n"}
    assert document.line_of(("b", 1, "c")) == 4
    assert document.line_of(("b", 1, "absent")) == 4
    assert document.line_of(("d",)) == 5
    assert str(document.error("wrong", ("b", 0))) == "f.yaml:3: b.0: wrong"


def test_json_is_yaml() -> None:
    assert read_text('{"a": [1, 2.5e3, null, true, "x\\ty"]}').value == {
        "a": [1, 2500.0, None, True, "x\ty"]
    }


def test_aliases_work_within_limits() -> None:
    value = read_text("a: &x {b: [1, 2]}\nc: *x").value
    assert value == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "key given twice, first on line 1"),
        ("a: 1\nb: [1, 2", 2, "not YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("---\na: 1\n---\nb: 2", 3, "more than one document"),
        ("a:\n  b: !!python/object:os.system x", 2, "tags"),
        ("a: !x {b: 1}", 1, "tags"),
        ("? [a, b]\n: c", 1, "a key must be plain text"),
        ("a: *b", 1, "stands before its anchor"),
        ("a: &x [1, *x]", 1, "stands before its anchor"),
        ('- "\\ud800"', 1, "surrogate"),
        ("[" * 100, 1, "nested more than 40 deep"),
        ("{a: " * 100, 1, "nested more than 40 deep"),
    ],
)
def test_refused_with_the_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read_text(text, file="f.yaml")
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["\x00", "a: \x07", '"\\U99999999"', "%YAML 1\n--- a"])
def test_what_the_parser_chokes_on_is_the_texts_fault(text: str) -> None:
    with pytest.raises(SpecError, match="not YAML"):
        read_text(text)


def test_alias_bombs_are_refused() -> None:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(SpecError, match="too many values"):
        read_text(bomb)


def test_depth_counts_through_aliases() -> None:
    deep = "a: &a " + "[" * 25 + "]" * 25
    with pytest.raises(SpecError, match="nested more than 40 deep"):
        read_text(f"{deep}\nb: {'[' * 20}*a{']' * 20}")
    assert read_text(f"{deep}\nb: {'[' * 10}*a{']' * 10}").value is not None


def test_messages_stay_on_one_short_line() -> None:
    with pytest.raises(SpecError) as caught:
        read_text(f'"{"k" * 5000}\\n\\e[31m": 1\n"{"k" * 5000}\\n\\e[31m": 2', file="f.yaml")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert str(Document(None).error("a\nb\x1b[31m", ("c\n",))) == "c\\n: a\\nb\\x1b[31m"


def test_keys_from_the_command_line_say_so() -> None:
    document = Document({"a": 1}, "f.yaml", {("a",): ON_COMMAND_LINE})
    assert str(document.error("wrong", ("a",))) == "--set: a: wrong"


@pytest.mark.parametrize(
    "text",
    ["- 1\n" * 250_000, "a: 1 #\n" + "#\n" * 400_000, "[" + "a," * 400_000, "---\n" * 200_000],
)
def test_hostile_text_is_answered_in_bounded_time(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(SpecError):
        read_text(text)
    assert time.process_time() - start < 20.0


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_text(text)
    except SpecError as error:
        assert str(error).isprintable()


@given(st.text(alphabet="ab:- \n{}[],'\"&*!|>#?%@0.e~\t\\", max_size=60))
def test_any_text_of_marks_is_read_or_refused(text: str) -> None:
    try:
        read_text(text)
    except SpecError as error:
        assert str(error).isprintable()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_file(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match="cannot read"):
        read_file(tmp_path)
    with pytest.raises(SpecError, match="cannot read"):
        read_file(Path("a\x00b"))
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(SpecError, match="not UTF-8") as caught:
        read_file(tmp_path / "latin.yaml")
    assert caught.value.line == 2
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SpecError, match="larger than"):
        read_file(tmp_path / "big.yaml")


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_text(read_file(tmp_path / "bom.yaml")).value == {"a": 1}
