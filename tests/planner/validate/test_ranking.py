"""Ranking of runs: Kendall's tau against another library's, regret by hand, what is left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from planner.validate.ranking import Entry, Ranking, rankings


def entries(measured: list[float], predicted: list[float], source: str = "paper") -> list[Entry]:
    pairs = zip(measured, predicted, strict=True)
    return [Entry(source, "g", f"job {i}", m, p) for i, (m, p) in enumerate(pairs)]


def only(found: list[Ranking]) -> Ranking:
    (ranking,) = found
    return ranking


def test_by_hand() -> None:
    # of six pairs only (2, 3) is the wrong way round; the predicted best is the measured best
    ranking = only(rankings(entries([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]), {}))
    assert ranking == Ranking("paper", "g", 4, pytest.approx(4 / 6), 0.0)


def test_regret_is_what_the_predicted_best_costs() -> None:
    ranking = only(rankings(entries([1.0, 1.3, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0]), {}))
    assert ranking.regret == pytest.approx(0.3)


def test_order_and_its_reverse() -> None:
    times = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert only(rankings(entries(times, times), {})).tau == 1.0
    assert only(rankings(entries(times, times[::-1]), {})).tau == -1.0
    assert only(rankings(entries(times, [7.0] * 5), {})).tau == 0.0


seconds = st.integers(1, 6).map(float)


@given(st.lists(st.tuples(seconds, seconds), min_size=4, max_size=12))
def test_tau_is_tau_b_of_scipy(pairs: list[tuple[float, float]]) -> None:
    measured, predicted = ([float(x) for x in column] for column in zip(*pairs, strict=True))
    found = rankings(entries(measured, predicted), {})
    if len(set(measured)) == 1:  # no spread: nothing to rank
        assert found == []
        return
    expected = 0.0 if len(set(predicted)) == 1 else kendalltau(measured, predicted).statistic
    assert only(found).tau == pytest.approx(expected, abs=1e-12)


def test_a_ranking_needs_four_distinct_jobs() -> None:
    three = entries([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    again = [Entry("paper", "g", "job 0", 1.1, 1.0)]
    assert rankings(three + again, {}) == []
    assert only(rankings([*three, Entry("paper", "g", "new", 9.0, 9.0)], {})).jobs == 4


def test_releases_of_one_job_are_merged_to_their_median() -> None:
    """Job 0 was measured at 1, 8 and 9: its median is the slowest of all."""
    base = entries([1.0, 2.0, 3.0, 4.0], [5.0, 2.0, 3.0, 4.0])
    more = [Entry("paper", "g", "job 0", time, 5.0) for time in (8.0, 9.0)]
    assert only(rankings(base, {})).tau == 0.0
    merged = only(rankings(base + more, {}))
    assert (merged.jobs, merged.tau) == (4, 1.0)


def test_groups_and_sources_are_ranked_apart() -> None:
    mixed = entries([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]) + entries(
        [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], "blog"
    )
    assert [(r.source, r.tau) for r in rankings(mixed, {})] == [("paper", 1.0), ("blog", -1.0)]


def test_a_spread_within_the_noise_says_nothing() -> None:
    close = entries([1.0, 1.01, 1.02, 1.03], [4.0, 3.0, 2.0, 1.0])
    assert rankings(close, {"paper": 0.03 + 1e-9}) == []
    assert only(rankings(close, {"paper": 0.02})).tau == -1.0
    assert only(rankings(close, {"other": 0.5})).tau == -1.0


def test_more_than_floats_of_numpy_do_not_leak() -> None:
    ranking = only(rankings(entries(list(np.arange(1.0, 6.0)), [1.0, 2.0, 3.0, 5.0, 4.0]), {}))
    assert type(ranking.tau) is float
    assert type(ranking.regret) is float
