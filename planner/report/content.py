"""What a report is made of: sections of notes and tables, before anyone draws them.

The terminal and the page draw the same `Document`, so they cannot say different things. Every
figure is already text; only a `Bar` carries fractions, for drawing. Knows no plan and no output.

Parts: `Bar`, `Column`, `Table`, `Section`, `Document`, and `pairs` (a table of names and values).
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Bar", "Cell", "Column", "Document", "Section", "Table", "pairs"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: the solid part and the hatched part after it, as fractions of the longest bar."""

    solid: float
    hatched: float = 0.0


Cell = str | Bar


@dataclass(frozen=True, slots=True)
class Column:
    """A column: right-aligned for figures; `wide` ones are drawn only where there is room."""

    title: str
    right: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, every row as long as the columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part: notes (sentences), then a table. `wide`: only where there is room."""

    key: str
    title: str
    notes: tuple[str, ...] = ()
    table: Table | None = None
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A report: its title, the recommendation in a sentence, warnings, sections, sub-reports."""

    title: str
    headline: str
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    parts: tuple["Document", ...] = ()


def pairs(rows: Iterable[tuple[str, str, str]]) -> Table:
    """Make a table of name, value and remark without column titles; empty values are left out."""
    return Table((Column(""), Column(""), Column("")), tuple(row for row in rows if row[1]))
