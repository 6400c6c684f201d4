"""What ships, as data and as tables that fit."""

from rich.cells import cell_len

from planner.emit import EMITTERS
from planner.report import catalogue
from planner.report.terminal import render_sections


def test_systems_give_the_figures_of_their_profiles() -> None:
    rows = {row["name"]: row for row in catalogue.systems()}
    assert rows["dgx-h100"]["node_devices"] == 8
    assert rows["dgx-h100"]["memory_bytes"] == 85.0e9
    text = render_sections([catalogue.catalogue_section("Systems", list(rows.values()))])
    assert "dgx-h100" in text
    assert max(map(cell_len, text.splitlines())) <= 80


def test_models_give_counted_parameters() -> None:
    rows = catalogue.models()
    found = next(row for row in rows if row["name"] == "deepseek-v3")
    assert found["parameters"] == 671026419200
    assert found["experts"] == 256
    text = render_sections([catalogue.catalogue_section("Models", rows, ("source", "family"))])
    assert "deepseek-v3" in text
    assert "671 B" in text
    assert "arXiv" not in text


def test_targets_are_the_emitters() -> None:
    rows = catalogue.targets()
    assert [row["name"] for row in rows] == list(EMITTERS)
    assert all(row["checked_with"] for row in rows)


def test_no_rows_is_a_title() -> None:
    assert render_sections([catalogue.catalogue_section("Systems", [])]).strip() == "Systems"
