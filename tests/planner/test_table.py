"""A table of candidates: crossing, choosing and dropping against plain loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.table import Table


def rows(table: Table) -> list[tuple[float, ...]]:
    return list(zip(*(column.tolist() for column in table.columns.values()), strict=True))


def test_a_table_starts_with_one_row() -> None:
    table = Table(devices=8, batch=4)
    assert (len(table), rows(table)) == (1, [(8.0, 4.0)])
    assert table["devices"].dtype == np.float64


values = st.lists(st.integers(1, 9).map(float), min_size=0, max_size=4)


@given(values, values)
def test_crossing_is_every_pair_in_order(first: list[float], second: list[float]) -> None:
    table = Table(devices=8)
    table.cross("tp", first)
    table.cross("pp", second)
    assert rows(table) == [(8.0, a, b) for a in first for b in second]


@given(values, st.lists(st.tuples(st.integers(0, 4).map(float), st.integers(1, 4)), max_size=3))
def test_choosing_gives_a_row_the_options_that_its_mask_allows(
    tps: list[float], options: list[tuple[float, int]]
) -> None:
    """Option (value, k) is allowed where tp is a multiple of k; another is tp itself."""
    table = Table(devices=8)
    table.cross("tp", tps)
    own = (table["tp"], np.array(True))
    table.choose("sp", [(v, table["tp"] % k == 0) for v, k in options] + [own])
    expected = []
    for tp in tps:
        expected += [(8.0, tp, v) for v, k in options if tp % k == 0]
        expected.append((8.0, tp, tp))
    assert rows(table) == expected


def test_a_row_without_an_option_is_gone() -> None:
    table = Table(devices=8)
    table.cross("tp", [1.0, 2.0, 3.0])
    table.choose("sp", [(0.0, table["tp"] < 2), (1.0, table["tp"] < 3)])
    assert rows(table) == [(8.0, 1.0, 0.0), (8.0, 1.0, 1.0), (8.0, 2.0, 1.0)]


def test_a_derived_column_is_its_own() -> None:
    table = Table(devices=8)
    table.cross("tp", [1.0, 2.0])
    table.derive("dp", table["devices"] / table["tp"])
    table.derive("ep", 1.0)
    table["dp"][0] = 99.0
    assert rows(table) == [(8.0, 1.0, 99.0, 1.0), (8.0, 2.0, 4.0, 1.0)]


def test_rules_drop_and_are_counted_by_name() -> None:
    table = Table(devices=8)
    table.cross("tp", [1.0, 2.0, 3.0, 4.0, 5.0])
    table.require("tp divides devices", table["devices"] % table["tp"] == 0)
    table.require("never broken", table["tp"] > 0)
    table.require("tp at most 2", table["tp"] <= 2)
    table.require("tp divides devices", table["tp"] < 2)  # the same rule again adds up
    assert rows(table) == [(8.0, 1.0)]
    assert table.tally == {"tp divides devices": 3, "tp at most 2": 1}
    table.require("nothing", np.array(False))
    assert len(table) == 0
    assert table.tally["nothing"] == 1
