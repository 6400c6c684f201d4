"""Setting tables and sentences in a fixed width: columns that give way, words that wrap.

Rich's own tables take 70 ms for a plan's report; a plan must be on the screen 50 ms after it is
made, so the setting is done here, with Rich's measure of characters (wide ones take two cells).
Lines are pieces of text, each with the name of a style; who draws them decides what that is.

Parts: `Piece`, `Line`, `wrap`, `sentence_lines`, `table_lines`.
"""

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

from planner.report.content import Bar, Cell, Column, Table

__all__ = ["Line", "Piece", "sentence_lines", "table_lines", "wrap"]

Piece = tuple[str, str]
Line = list[Piece]

_GAP = 2
_BAR = 16
_LEAST = 8
_LONG_WORD = 20


def wrap(text: str, width: int) -> list[str]:
    """Break text at spaces into lines of at most `width` cells; a longer word is cut."""
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *whole, line = chop_cells(word, width) or [""]
        lines.extend(whole)
    return [*lines, line]


def sentence_lines(text: str, width: int, indent: int, style: str = "") -> list[Line]:
    """Set a sentence, indented."""
    return [[(" " * indent + line, style)] for line in wrap(text, width - indent)]


def table_lines(table: Table, width: int) -> list[Line]:
    """Set a table: the narrow columns as they are, the others as wide as the rest allows."""
    shown = [i for i, column in enumerate(table.columns) if not column.wide]
    columns = [table.columns[i] for i in shown]
    rows = [[row[i] for i in shown] for row in table.rows]
    widths = _widths(columns, rows, width)
    lines: list[Line] = []
    if any(column.title for column in columns):
        lines += _row([column.title for column in columns], columns, widths, "dim")
    for row in rows:
        lines += _row(row, columns, widths, "")
    return lines


def _natural(column: Column, cells: list[Cell]) -> int:
    sizes = (_BAR if isinstance(cell, Bar) else cell_len(cell) for cell in cells)
    return max(cell_len(column.title), *sizes) if cells else cell_len(column.title)


def _widths(columns: list[Column], rows: list[list[Cell]], width: int) -> list[int]:
    """Take from the widest text column until the row fits, then from bars, last from figures."""
    widths = [_natural(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    text = [
        i
        for i, column in enumerate(columns)
        if not column.right and not any(isinstance(row[i], Bar) for row in rows)
    ]
    least = {i: _longest_word([columns[i].title, *(row[i] for row in rows)]) for i in text}
    bars = [i for i in range(len(columns)) if any(isinstance(row[i], Bar) for row in rows)]
    room = width - _GAP * len(columns)
    while sum(widths) > room:
        givers: Sequence[int] = [i for i in text if widths[i] > least[i]]
        givers = givers or [i for i in bars if widths[i] > _LEAST]
        givers = givers or [i for i in text if widths[i] > _LEAST] or range(len(widths))
        widest = max(givers, key=lambda i: widths[i])
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return widths


def _longest_word(cells: list[Cell]) -> int:
    words = (word for cell in cells if isinstance(cell, str) for word in cell.split(" "))
    return min(max(map(cell_len, words), default=0), _LONG_WORD)


def _row(cells: list[Cell], columns: list[Column], widths: list[int], style: str) -> list[Line]:
    """Set one row, as many lines as its longest cell needs."""
    blocks = [
        [_bar(cell, size)]
        if isinstance(cell, Bar)
        else [[(line, style)] for line in wrap(cell, size)]
        for cell, size in zip(cells, widths, strict=True)
    ]
    lines: list[Line] = []
    for k in range(max(map(len, blocks), default=0)):
        line: Line = []
        for block, column, size in zip(blocks, columns, widths, strict=True):
            pieces = block[k] if k < len(block) else []
            space = " " * (size - sum(cell_len(text) for text, _ in pieces))
            before, after = (space, "") if column.right else ("", space)
            line += [(" " * _GAP + before, ""), *pieces, (after, "")]
        lines.append(line)
    return lines


def _bar(bar: Bar, size: int) -> Line:
    solid = _length(bar.solid, size)
    hatched = max(0, _length(bar.solid + bar.hatched, size) - solid)
    return [("█" * solid, "bar"), ("░" * hatched, "dim")]


def _length(fraction: float, size: int) -> int:
    """Return the cells of a bar; anything above zero shows."""
    return 0 if fraction <= 0 else max(1, round(min(fraction, 1.0) * size))
