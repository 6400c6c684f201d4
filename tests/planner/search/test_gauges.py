"""Gauges count above the least: by hand."""

import numpy as np
import problems

from planner.problem import Bottleneck, Decision, Limit, Problem
from planner.search.gauges import Gauges, Peak, gauges_of
from planner.search.tables import lower


def gauges(problem: Problem, slack: float = 0.0) -> Gauges:
    return gauges_of(lower(problem), slack)


ONE = Decision("one", ("a", "b"), problems.column([0.0, 1.0], {"memory": [5.0, 2.0]}))
SAME = Decision("same", ("a", "b"), problems.column([0.0, 1.0], {"memory": [3.0, 3.0]}))


def test_a_limit_is_what_its_members_use_above_their_least() -> None:
    (gauge,) = gauges(Problem((ONE, SAME), limits=(Limit("l", "memory", (0, 1), 7.0),))).gauges
    assert list(gauge.members) == [0]  # the other uses the same whatever is picked
    np.testing.assert_array_equal(gauge.members[0], [3.0, 0.0])
    assert (gauge.room, gauge.most, gauge.peak) == (2.0, 3.0, -1)


def test_a_forbidden_option_does_not_make_room() -> None:
    never = Decision("n", ("a", "b"), problems.column([0.0, np.inf], {"memory": [5.0, 2.0]}))
    found = gauges(Problem((never, ONE), limits=(Limit("l", "memory", (0, 1), 8.0),)))
    (gauge,) = found.gauges
    assert (list(gauge.members), gauge.room) == ([1], 1.0)


def test_a_limit_below_the_least_is_hopeless_but_for_slack() -> None:
    problem = Problem((ONE,), limits=(Limit("l", "memory", (0,), 2.0 - 1e-9),))
    assert gauges(problem).hopeless
    assert not gauges(problem, 1e-8).hopeless


def test_groups_that_cannot_be_the_slowest_are_no_gauges() -> None:
    loads = ({0: np.array([1.0, 9.0])}, {1: np.array([1.0, 3.0])}, {})
    slowest = Bottleneck("b", 2.0, loads, (0.0, 1.0, 4.0))
    found = gauges(Problem((ONE, SAME), bottlenecks=(slowest,)))
    assert found.peaks == (Peak(2.0, 4.0, 1),)
    (gauge,) = found.gauges
    assert (gauge.start, gauge.room, gauge.most, gauge.peak) == (1.0, 3.0, 8.0, 0)
    assert found.of == {0: (0,)}
