"""The search over rows against sorting them all, in chunks of every size; bounds, ties, time."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.search import columns
from planner.search.columns import Found, Priced, top_rows


def search(
    used: list[float], cost: list[float], *, limit: float = 5.0, keep: int = 3, **options: object
) -> Found:
    """Search rows whose bound is half of their cost."""
    objective, weight = np.array(cost), np.array(used)

    def price(rows: Rows, worst: float) -> Priced:
        fits = rows[weight[rows] <= limit]
        least = rows[int(np.argmin(weight[rows]))]
        priced = fits[~(objective[fits] / 2 > worst)]
        dropped = len(rows) - len(fits)
        return Priced(priced, objective[priced], dropped, float(weight[least]), int(least))

    bounds = np.nan_to_num(objective, nan=0.0, posinf=1e9) / 2
    return top_rows(bounds, price=price, keep=keep, **options)  # type: ignore[arg-type]


Rows = NDArray[np.intp]
rows = st.tuples(st.integers(0, 9).map(float), st.sampled_from([1.0, 2.0, 3.0, 5.0, np.inf]))


@given(st.lists(rows, min_size=1, max_size=30), st.integers(1, 5), st.sampled_from([1, 2, 7, 100]))
def test_against_sorting_all(table: list[tuple[float, float]], keep: int, chunk: int) -> None:
    used, cost = [row[0] for row in table], [row[1] for row in table]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "CHUNK", chunk)
        found = search(used, cost, keep=keep)
    fit = [i for i in range(len(table)) if used[i] <= 5.0]
    best = sorted((i for i in fit if cost[i] < np.inf), key=lambda i: (cost[i], i))[:keep]
    assert found.rows.tolist() == best
    assert found.objective.tolist() == [cost[i] for i in best]
    assert sorted(found.fits) == sorted(set(found.fits)) and set(found.fits) <= set(fit)
    assert set(best) <= set(found.fits) and found.priced == len(found.fits)
    worst = cost[best[-1]] if len(best) == keep else np.inf
    left = set(fit) - set(found.fits)
    assert all(cost[i] / 2 > worst for i in left), "closed, though it could be among the best"
    if len(best) < keep:  # nothing was closed by a bound
        assert found.dropped == len(table) - len(fit)
        assert found.least_bytes == min(used)
        assert used[found.least_row] == min(used)
    assert found.bound == (cost[best[0]] if best else np.inf)
    assert found.status == "optimal"


def test_no_rows() -> None:
    found = search([], [])
    assert (found.priced, found.dropped, found.least_row, found.bound) == (0, 0, -1, np.inf)
    assert found.status == "optimal"


def test_a_row_at_the_limit_fits() -> None:
    assert search([5.0, np.nextafter(5.0, 6.0)], [2.0, 1.0]).rows.tolist() == [0]


def test_a_price_that_is_not_a_number_is_never_the_best() -> None:
    assert search([1.0, 1.0], [np.nan, 3.0]).rows.tolist() == [1]


def test_a_deadline_leaves_an_honest_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four chunks are priced; the rest could hold a plan of half its cheapest row."""
    monkeypatch.setattr(columns, "CHUNK", 2)
    ticks = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr(columns, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    cost = [9.0, 8.0, 7.0, 6.0, 5.0, 20.0, 30.0, 40.0]
    found = search([1.0] * 8, cost, keep=5, deadline=1.5)
    assert found.status == "time_limit"
    assert found.rows.tolist() == [4, 3, 2, 1]
    assert (found.priced, found.bound) == (4, 4.5)


def test_a_deadline_that_is_past_prices_nothing() -> None:
    found = search([1.0, 1.0], [3.0, 4.0], deadline=time.monotonic() - 1.0)
    assert (found.status, found.priced, found.rows.tolist()) == ("time_limit", 0, [])
    assert found.bound == 1.5


def test_an_open_row_never_raises_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK", 1)
    ticks = iter([0.0, 9.0])
    monkeypatch.setattr(columns, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    found = search([1.0, 1.0], [3.0, 100.0], deadline=1.0)
    assert (found.objective.tolist(), found.bound) == ([3.0], 3.0)


def test_progress_is_told_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK", 2)
    told: list[tuple[int, int]] = []
    search([1.0] * 5, [1.0] * 5, keep=9, progress=lambda done, of: told.append((done, of)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_rows_that_a_bound_closes_are_not_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK", 4)
    cost = [100.0 - i for i in range(64)] + [10.0, 11.0]
    found = search([1.0] * 66, cost, keep=2)
    assert found.objective.tolist() == [10.0, 11.0]
    assert found.priced == 4
    assert (found.status, found.bound) == ("optimal", 10.0)
