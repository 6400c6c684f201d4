"""Tables mean what the problem means: the same picks allowed, at the same cost."""

from itertools import product

import numpy as np
import problems
import pytest

from planner.errors import InternalError
from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem, Sequence
from planner.search.tables import Tables, lower


def allowed(tables: Tables, picks: tuple[int, ...]) -> bool:
    kept = np.isfinite(tables.cost(picks))
    for row in tables.rows:
        used = sum(tables.of(row.usage, d)[picks[d]] for d in row.members)
        kept &= used <= row.capacity
    return bool(kept)


@pytest.mark.parametrize("seeds", [range(at, at + 50) for at in range(0, 200, 50)], ids=str)
def test_every_combination_means_the_same(seeds: range) -> None:
    for seed in seeds:
        problem = problems.problem(seed, most=4)
        tables = lower(problem)
        costs, scale = [np.inf], 0.0
        for picks in product(*(range(len(d.options)) for d in problem.decisions)):
            assert allowed(tables, picks) == problem.allows(picks), (seed, picks)
            if problem.allows(picks):
                costs.append(float(problem.cost(picks).total_s))
                scale = max(scale, *(abs(float(t.time_s)) for t in problem.cost(picks).terms))
                assert tables.cost(picks) == pytest.approx(costs[-1], rel=1e-9, abs=1e-9 * scale)
        assert tables.least() <= min(costs) + 1e-9 * scale


def test_couplings_of_a_pair_are_merged_either_way_round() -> None:
    two, three = (Decision("d", ("",) * n, problems.column(np.zeros(n))) for n in (2, 3))
    table = np.arange(6.0).reshape(2, 3)
    self = np.array([[5.0, 9.0], [9.0, 7.0]])
    couplings = (
        Coupling(0, 1, problems.column(table)),
        Coupling(1, 0, problems.column(10.0 * table.T)),
        Coupling(0, 0, problems.column(self)),
    )
    tables = lower(Problem((two, three), couplings))
    assert list(tables.pairs) == [(0, 1)]
    np.testing.assert_array_equal(tables.pairs[0, 1], 11.0 * table)
    np.testing.assert_array_equal(tables.of(tables.costs, 0), [5.0, 7.0])


def test_only_limits_that_can_bind_and_that_no_other_implies_are_kept() -> None:
    one = Decision("d", ("a", "b"), problems.column([0.0, 0.0], {"memory": [1.0, 3.0]}))
    limits = (
        Limit("part", "memory", (0, 1), 6.0 - 1.0),
        Limit("whole", "memory", (0, 1, 2), 5.0),
        Limit("again", "memory", (2, 1, 0), 5.0),
        Limit("tight part", "memory", (0, 1), 4.0),
        Limit("never", "memory", (0, 1, 2), 9.1),
        Limit("endless", "memory", (0, 1, 2), np.inf),
        Limit("twice", "memory", (1, 1), 4.0),
    )
    rows = lower(Problem((one,) * 3, limits=limits)).rows
    assert [row.name for row in rows] == ["whole", "tight part", "twice"]
    assert [tuple(row.members) for row in rows] == [(0, 1, 2), (0, 1), (1,)]
    np.testing.assert_array_equal(rows[2].usage, [1.0, 3.0, 2.0, 6.0, 1.0, 3.0])


def test_what_is_given_back_counts() -> None:
    """Less than no usage: a smaller set of members is not implied by a larger one."""
    more = Decision("d", ("a",), problems.column([0.0], {"memory": [3.0]}))
    less = Decision("d", ("a",), problems.column([0.0], {"memory": [-2.0]}))
    limits = (Limit("both", "memory", (0, 1), 2.0), Limit("first", "memory", (0,), 2.0))
    assert [row.name for row in lower(Problem((more, less), limits=limits)).rows] == ["first"]


def test_infinite_usage_and_load_forbid() -> None:
    usage = {"memory": [np.inf, 1.0, 1.0]}
    one = Decision("d", ("a", "b", "c"), problems.column([0.0, 0.0, 1.0], usage))
    slowest = Bottleneck("slowest", 0.0, ({0: np.array([1.0, np.inf, 2.0])},))
    problem = Problem((one,), limits=(Limit("l", "memory", (0,), 5.0),), bottlenecks=(slowest,))
    tables = lower(problem)
    np.testing.assert_array_equal(tables.costs, [np.inf, np.inf, 1.0])


def test_a_weight_below_zero_is_refused() -> None:
    one = Decision("d", ("a",), problems.column([0.0]))
    with pytest.raises(InternalError, match="weight"):
        lower(Problem((one,), bottlenecks=(Bottleneck("b", -1.0, ({},)),)))


def test_a_sequence_becomes_forbidden_pairs() -> None:
    one = Decision("d", ("a", "b", "c"), problems.column(np.zeros(3)))
    order = Sequence((0, 1), 3, (np.arange(3), np.arange(3)))
    tables = lower(Problem((one, one), sequences=(order,)))
    good = [(a, b) for a, b in product(range(3), repeat=2) if np.isfinite(tables.cost((a, b)))]
    assert good == []  # two items cannot fill three groups
    loose = Sequence((0, 1), 3, (np.arange(3), np.arange(3)), empty=True)
    tables = lower(Problem((one, one), sequences=(loose,)))
    good = [(a, b) for a, b in product(range(3), repeat=2) if np.isfinite(tables.cost((a, b)))]
    assert good == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
