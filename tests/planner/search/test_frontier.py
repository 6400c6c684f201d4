"""Labels worth keeping, against comparing every pair."""

import numpy as np
import pytest

from planner.search import frontier
from planner.search.frontier import undominated


def kept(key: np.ndarray, cost: np.ndarray, used: np.ndarray) -> set[tuple[float, ...]]:
    """Keep each different label that no other of its group beats, by plain loops."""
    rows = {(int(k), float(c), *map(float, u)) for k, c, u in zip(key, cost, used, strict=True)}
    return {
        row
        for row in rows
        if not any(
            other != row
            and other[0] == row[0]
            and all(o <= r for o, r in zip(other, row, strict=True))
            for other in rows
        )
    }


@pytest.mark.parametrize("resources", range(4))
def test_what_is_kept_is_what_nothing_beats(resources: int) -> None:
    rng = np.random.default_rng(resources)
    for rows in (0, 1, 7, 60):
        key = rng.integers(0, 4, rows)
        cost = rng.integers(0, 6, rows).astype(float)
        used = rng.integers(0, 5, (rows, resources)).astype(float)
        found = undominated(key, cost, used)
        labels = [(int(key[i]), float(cost[i]), *map(float, used[i])) for i in found]
        assert len(labels) == len(set(labels)), "one of equal labels stays"
        assert set(labels) == kept(key, cost, used)
        assert labels == sorted(labels, key=lambda row: row[:2])


def test_a_frontier_too_long_to_compare_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier, "MOST_PASSES", 2)
    rng = np.random.default_rng(9)
    key, cost, used = np.zeros(50, int), rng.random(50), rng.random((50, 2))
    found = {(0, float(cost[i]), *map(float, used[i])) for i in undominated(key, cost, used)}
    assert found >= kept(key, cost, used)
