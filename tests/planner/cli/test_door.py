"""The progress line: only on a terminal, and gone when the work is."""

import io

import pytest

from planner.cli.door import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress() as progress:
        progress("meshes", 1, 10)
    assert stream.getvalue() == ""


def test_progress_is_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress() as progress:
        for done in range(1000):
            progress("meshes", done, 1000)
        progress("unknown", 5, 0)
    text = stream.getvalue()
    assert text.startswith("\r\x1b[Kmeshes: 0 of 1,000")
    assert text.endswith("\r\x1b[K")
    assert "\n" not in text
    assert text.count("meshes") < 5
