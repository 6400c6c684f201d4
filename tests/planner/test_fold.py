"""Folding of equal rows: exact, complete, and loud where two rows are mixed to one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner.fold
from planner.dims import ParallelDims
from planner.errors import InternalError
from planner.fold import fold

ONES = dict.fromkeys(ParallelDims.names(), 1.0)
value = st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.1, 1e9, 2.0**52 + 1])


@given(st.lists(st.tuples(value, value, value), min_size=1, max_size=40))
def test_every_row_gets_its_own_value_back(rows: list[tuple[float, float, float]]) -> None:
    tp, pp, dp = (np.array(column) for column in zip(*rows, strict=True))
    dims = ParallelDims.from_columns({**ONES, "tp": tp, "pp": pp, "dp": dp})
    folded = fold(dims, ("tp", "pp"))
    assert len(folded.few) == len({row[:2] for row in rows})
    assert np.asarray(folded.spread(folded.few.tp)).tolist() == tp.tolist()
    assert (
        np.asarray(folded.spread(folded.few.tp * 3 + folded.few.pp)).tolist()
        == (tp * 3 + pp).tolist()
    )


def test_the_last_axis_is_over_rows() -> None:
    dims = ParallelDims.from_columns({**ONES, "tp": [4.0, 2.0, 4.0]})
    folded = fold(dims, ("tp",))
    table = np.stack([folded.few.tp, -folded.few.tp])
    assert np.asarray(folded.spread(table)).tolist() == [[4.0, 2.0, 4.0], [-4.0, -2.0, -4.0]]
    assert folded.spread(7.0) == 7.0


def test_columns_in_another_order_are_other_rows() -> None:
    dims = ParallelDims.from_columns({**ONES, "tp": [2.0, 4.0], "pp": [4.0, 2.0]})
    assert len(fold(dims, ("tp", "pp")).few) == 2
    assert len(fold(dims, ("dp",)).few) == 1


def test_no_rows() -> None:
    dims = ParallelDims.from_columns({**ONES, "tp": np.zeros(0)})
    assert len(fold(dims, ("tp",)).few) == 0


def test_a_collision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner.fold, "_MIX", np.uint64(0))  # mixes everything to one value
    dims = ParallelDims.from_columns({**ONES, "tp": [2.0, 4.0]})
    with pytest.raises(InternalError, match="folded into one"):
        fold(dims, ("tp",))
