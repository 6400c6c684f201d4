"""Overlap: what shows and what hides of communication beside compute."""

import numpy as np
import pytest

from costmodels.overlap import exposed_s, hidden_s


@pytest.mark.parametrize(
    ("comm_s", "compute_s", "frac", "shown_s"),
    [
        (2.0, 10.0, 1.0, 0.0),  # all hides
        (2.0, 10.0, 0.0, 2.0),  # switched off
        (2.0, 10.0, 0.75, 0.5),  # a quarter cannot hide
        (12.0, 10.0, 1.0, 2.0),  # longer than the compute
        (12.0, 3.0, 0.5, 9.0),  # half cannot, and half of the rest finds no compute
        (2.0, 0.0, 0.9, 2.0),  # nothing to hide under
        (0.0, 10.0, 0.5, 0.0),
    ],
)
def test_by_hand(comm_s: float, compute_s: float, frac: float, shown_s: float) -> None:
    assert exposed_s(comm_s, compute_s, frac) == pytest.approx(shown_s, abs=1e-15)
    assert hidden_s(comm_s, compute_s, frac) == pytest.approx(comm_s - shown_s, abs=1e-15)


def test_columns() -> None:
    shown = exposed_s(np.array([2.0, 12.0]), np.array([10.0, 3.0]), np.array([0.75, 0.5]))
    assert np.asarray(shown).tolist() == [0.5, 9.0]
