"""Copies drawn over domains, by listing every draw."""

import itertools

import numpy as np
import pytest

from costmodels.occupancy import distinct_share


@pytest.mark.parametrize(("domains", "copies"), [(1, 1), (1, 3), (2, 2), (3, 2), (4, 3), (2, 5)])
def test_the_share_of_copies_that_go_to_different_domains(domains: int, copies: int) -> None:
    draws = list(itertools.product(range(domains), repeat=copies))
    occupied = sum(len(set(draw)) for draw in draws) / len(draws)
    share = float(np.asarray(distinct_share(float(domains), float(copies))))
    assert share == pytest.approx(occupied / copies, rel=1e-12)


def test_one_copy_and_many_domains_share_nothing() -> None:
    domains = np.array([1.0, 2.0, 64.0])
    assert np.array_equal(distinct_share(domains, 1.0), np.ones(3))
    assert float(np.asarray(distinct_share(1e6, 8.0))) == pytest.approx(1.0, rel=1e-4)
