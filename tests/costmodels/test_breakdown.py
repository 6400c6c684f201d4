"""Terms and footprints: sums left to right, rows of columns, kinds in order."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from costmodels.breakdown import Breakdown, Memory, Term

STEP = Breakdown(
    (
        Term("products", "compute", np.array([0.1, 1.0]), "roofline"),
        Term("gathers", "tp", np.array([0.2, 2.0]), "collectives", np.array([5.0, 6.0])),
        Term("norms", "compute", 0.3, "roofline"),
    ),
    (
        Memory("weights", "weights", np.array([1e9, 2e9]), "states"),
        Memory("context", "base", 5e8, "stack"),
    ),
)


def test_totals_are_left_to_right_sums() -> None:
    # 0.1 + 0.2 + 0.3 is 0.6000000000000001 from the left and 0.6 from the right
    total = np.asarray(STEP.total_s)
    assert total[0] == (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)
    assert total[1] == 3.3
    assert np.asarray(STEP.total_bytes).tolist() == [1.5e9, 2.5e9]


def test_hidden_seconds_are_not_summed() -> None:
    assert np.asarray(STEP.total_s)[1] == 3.3  # 6 s ran under other work


def test_nothing_takes_no_time_and_no_memory() -> None:
    assert Breakdown().total_s == 0.0
    assert Breakdown().total_bytes == 0.0
    assert Breakdown().by_kind() == {}


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_holds_plain_floats_and_has_the_same_total(row: int) -> None:
    one = STEP.at(row)
    figures = [x for t in one.terms for x in (t.time_s, t.hidden_s)] + [m.bytes for m in one.memory]
    assert all(type(figure) is float for figure in figures)
    assert one.total_s == np.asarray(STEP.total_s)[row]
    assert one.total_bytes == np.asarray(STEP.total_bytes)[row]
    assert one.terms[1].hidden_s == [5.0, 6.0][row]
    assert [t.name for t in one.terms] == ["products", "gathers", "norms"]


def test_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        STEP.at(2)


def test_sum_concatenates_and_merges_nothing() -> None:
    both = STEP + STEP
    assert both.terms == STEP.terms + STEP.terms
    assert both.memory == STEP.memory + STEP.memory
    assert (STEP + Breakdown()).terms == STEP.terms


def test_kinds_in_order_of_first_appearance() -> None:
    kinds = STEP.by_kind()
    assert list(kinds) == ["compute", "tp"]
    assert np.asarray(kinds["compute"]).tolist() == [0.1 + 0.3, 1.0 + 0.3]
    assert np.asarray(kinds["tp"]).tolist() == [0.2, 2.0]


def test_a_breakdown_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STEP.terms[0].time_s = 0.0  # type: ignore[misc]
