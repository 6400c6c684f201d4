"""The form of every decision problem: its one price, its limits and sequences, by hand."""

import numpy as np
import pytest

from costmodels.breakdown import Breakdown, Memory, Term
from planner.problem import Bottleneck, Coupling, Decision, Limit, Problem, Sequence

COMPUTE = Term("compute", "compute", np.array([1.0, 2.0]), "a")
HELD = (
    Memory("weights", "memory", np.array([10.0, 4.0]), "a"),
    Memory("kept", "memory", 1.0, "a"),
    Memory("sent", "links", np.array([0.0, 7.0]), "a"),
)
ONE = Decision("one", ("fast", "lean"), Breakdown((COMPUTE,), HELD))
TWO = Decision("two", ("fast", "lean"), Breakdown((COMPUTE,), HELD))
MOVED = Breakdown((Term("moved", "tp", np.array([[0.0, 5.0], [6.0, 0.5]]), "b"),))


def test_an_option_has_a_cost_and_uses_resources() -> None:
    np.testing.assert_array_equal(ONE.time_s, [1.0, 2.0])
    np.testing.assert_array_equal(ONE.usage("memory"), [11.0, 5.0])
    np.testing.assert_array_equal(ONE.usage("links"), [0.0, 7.0])
    np.testing.assert_array_equal(ONE.usage("none"), [0.0, 0.0])


def test_the_price_sums_what_the_form_says_and_merges_what_has_one_name() -> None:
    slowest = Bottleneck("slowest", 3.0, ({0: np.array([1.0, 0.0])}, {1: np.array([9.0, 0.5])}))
    base = Breakdown((Term("compute", "compute", 0.25, "a"), Term("fixed", "other", 4.0, "c")))
    problem = Problem((ONE, TWO), (Coupling(0, 1, MOVED),), (), (slowest,), (), base)
    price = problem.cost((0, 1))
    assert [(t.name, t.time_s) for t in price.terms] == [
        ("compute", 0.25 + 1.0 + 2.0),
        ("fixed", 4.0),
        ("moved", 5.0),
        ("slowest", 3.0 * 1.0),
    ]
    assert [(m.name, m.bytes) for m in price.memory] == [
        ("weights", 14.0),
        ("kept", 2.0),
        ("sent", 7.0),
    ]
    assert problem.combinations == 4.0
    assert Problem().combinations == 1.0
    assert Problem((ONE,) * 5000).combinations == np.inf


def test_a_bottleneck_bears_its_base_whatever_is_picked() -> None:
    slowest = Bottleneck("slowest", 1.0, ({0: np.array([1.0, 0.0])}, {}), (0.5, 1.25))
    np.testing.assert_array_equal(slowest.load((0,)), [1.5, 1.25])
    np.testing.assert_array_equal(slowest.load((1,)), [0.5, 1.25])


def test_a_limit_binds_its_members_alone_and_may_be_reached() -> None:
    both = Limit("both", "memory", (0, 1), 16.0)
    second = Limit("second", "memory", (1,), 10.0)
    problem = Problem((ONE, TWO), limits=(both, second))
    assert problem.used(both, (0, 1)) == 16.0
    assert problem.broken((0, 1)) == ()
    assert problem.broken((1, 0)) == (second,)
    assert problem.broken((0, 0)) == (both, second)
    assert problem.allows((0, 1))
    assert not problem.allows((1, 0))


def test_an_infinite_cost_forbids() -> None:
    never = Breakdown((Term("moved", "tp", np.array([[0.0, np.inf], [0.0, 0.0]]), "b"),))
    problem = Problem((ONE, TWO), (Coupling(0, 1, never),))
    assert not problem.allows((0, 1))
    assert problem.allows((1, 0))


@pytest.mark.parametrize(
    ("picks", "strict", "loose"),
    [
        ((0, 1, 2), True, True),
        ((0, 0, 1), False, True),  # the last group holds nothing
        ((1, 1, 2), False, True),  # the first one
        ((0, 0, 2), False, True),  # one between
        ((0, 2, 1), False, False),
    ],
)
def test_a_sequence_is_in_order_and_without_holes(
    picks: tuple[int, ...], strict: bool, loose: bool
) -> None:
    groups = (np.arange(3),) * 3
    assert Sequence((0, 1, 2), 3, groups).kept(picks) is strict
    assert Sequence((0, 1, 2), 3, groups, empty=True).kept(picks) is loose


def test_a_sequence_reads_the_group_of_an_option() -> None:
    order = Sequence((1, 0), 2, (np.array([1, 0]), np.array([0, 0, 1])))
    assert order.kept((2, 1))
    assert not order.kept((2, 0))


def test_no_items_fill_no_group() -> None:
    assert Sequence((), 0, ()).kept(())
    assert Sequence((), 2, (), empty=True).kept(())
    assert not Sequence((), 2, ()).kept(())


def test_a_broken_sequence_is_forbidden() -> None:
    problem = Problem((ONE, TWO), sequences=(Sequence((0, 1), 2, (np.arange(2), np.arange(2))),))
    assert problem.allows((0, 1))
    assert problem.cost((1, 0)).total_s == np.inf
