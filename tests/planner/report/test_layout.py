"""Setting tables: never wider than asked, nothing lost, figures kept whole."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from planner.report.content import Bar, Column, Table
from planner.report.layout import Line, table_lines, wrap

TEXT = st.text(st.sampled_from("ab cdeé模型🙂 "), max_size=60)


def _plain(line: Line) -> str:
    return "".join(text for text, _ in line)


@given(TEXT, st.integers(2, 40))
def test_wrapped_lines_fit_and_keep_every_character(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.tuples(TEXT, TEXT, st.floats(0, 1)), max_size=6), st.integers(60, 120))
def test_tables_fit(rows: list[tuple[str, str, float]], width: int) -> None:
    columns = (Column("name"), Column("size", right=True), Column("bar"), Column("no", wide=True))
    cells = tuple((name, size[:12], Bar(part, part / 2), "HIDDEN") for name, size, part in rows)
    lines = [_plain(line) for line in table_lines(Table(columns, cells), width)]
    assert all(cell_len(line) <= width for line in lines)
    told = "".join(lines).replace(" ", "")
    assert "HIDDEN" not in told
    assert all(character in told for name, _, _ in rows for character in name.replace(" ", ""))


def test_a_table_as_it_is_set() -> None:
    table = Table(
        (Column("term"), Column("time", right=True), Column("")),
        (("matrix products of every layer", "2.41 s", Bar(0.5, 0.25)), ("b", "0 s", Bar(0.0))),
    )
    lines = [_plain(line).rstrip() for line in table_lines(table, 46)]
    assert lines == [
        "  term                  time",
        "  matrix products of  2.41 s  ████████░░░░",
        "  every layer",
        "  b                      0 s",
    ]


def test_a_small_share_still_shows() -> None:
    line = table_lines(Table((Column(""),), ((Bar(1e-6, 1e-6),),)), 60)[0]
    assert _plain(line).strip() == "█"
