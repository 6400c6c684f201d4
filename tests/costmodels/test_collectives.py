"""Collectives: hand arithmetic by algorithm and level, plain counts of messages, measured times."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from costmodels.collectives import (
    all_gather_choice,
    all_gather_s,
    all_reduce_choice,
    all_reduce_s,
    all_to_all_s,
    point_to_point_s,
    reduce_scatter_s,
)
from costmodels.hops import Hop, Line, Shared, Span, Transport

NODE = Hop("node", 8.0, 3e-6, 450e9)
ONE_NODE: Span = (NODE,)
FOUR_NODES: Span = (NODE, Hop("cluster", 4.0, 10e-6, 400e9))


def of(message_bytes: float, span: Span, algorithm: str) -> float:
    return float(all_reduce_s(message_bytes, span, algorithm))


def test_the_ring_of_thakur() -> None:
    # T = 2 (p - 1) alpha + 2 (p - 1)/p n / beta, 1 GB over 8 ranks
    assert of(1e9, ONE_NODE, "ring") == pytest.approx(14 * 3e-6 + 1.75 * 1e9 / 450e9, rel=1e-12)
    assert round(of(1e9, ONE_NODE, "ring"), 9) == 0.003930889


def test_a_flat_ring_over_two_levels() -> None:
    # 31 steps: 7 in each of 4 nodes, 3 between nodes; the narrowest link paces the bytes
    steps_s = 28 * 3e-6 + 3 * 10e-6
    expected = 2 * (steps_s + 31 / 32 * 1e9 / 400e9)
    assert of(1e9, FOUR_NODES, "ring") == pytest.approx(expected, rel=1e-12)


def test_levels_of_a_hierarchy_add_latency_and_share_the_time() -> None:
    # 7/8 of n inside at 450 GB/s, 3/4 of n between nodes at 400 GB/s: the slower sets the pace
    inside_s, outside_s = 7 / 8 * 1e9 / 450e9, 3 / 4 * 1e9 / 400e9
    expected = 2 * (7 * 3e-6 + 3 * 10e-6 + max(inside_s, outside_s))
    assert of(1e9, FOUR_NODES, "hierarchical") == pytest.approx(expected, rel=1e-12)


def test_a_tree_is_a_chain_in_the_node_and_a_tree_of_nodes() -> None:
    # NCCL, src/graph/tuning.cc: 2 ((n/nodes - 1) intra + log2(nodes) inter);
    # a step of the tree takes two of the ring's between nodes
    expected = 2 * (7 * 3e-6 + 2 * 2 * 10e-6) + 2 * 1e6 / 400e9
    assert of(1e6, FOUR_NODES, "tree") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("domains", "sent"), [(2, 1.0), (3, 1.5), (4, 2.0), (64, 2.0)])
def test_the_busiest_domain_of_two_trees(domains: int, sent: float) -> None:
    # half a message for each parent and child of a node in both trees; NCCL's double binary tree
    edges = {2: 2, 3: 3, 4: 4, 64: 4}[domains]
    assert sent == edges / 2
    span = (Hop("node", 1.0, 0.0, 1e30), Hop("cluster", float(domains), 0.0, 1e9))
    assert of(1e9, span, "tree") == pytest.approx(sent, rel=1e-12)


def test_a_switch_that_reduces_moves_each_byte_once() -> None:
    switch = (Hop("node", 8.0, 3e-6, 450e9, True),)
    expected = 25e-6 + 1e9 * (1 + 1 / 8) / (0.85 * 450e9)
    assert of(1e9, switch, "in-switch") == pytest.approx(expected, rel=1e-12)
    both = (switch[0], FOUR_NODES[1])  # trees of four nodes take over: 2 n from the busiest
    expected = 25e-6 + 2 * 2 * 2 * 10e-6 + 2 * 1e9 / 400e9
    assert of(1e9, both, "in-switch") == pytest.approx(expected, rel=1e-12)


def test_an_algorithm_that_a_group_cannot_use_falls_back_to_the_cheapest() -> None:
    assert of(1e9, ONE_NODE, "in-switch") == of(1e9, ONE_NODE, "ring")  # no switch that reduces
    pair = (Hop("node", 2.0, 3e-6, 450e9, True),)  # two ranks exchange directly
    assert of(1e9, pair, "in-switch") == of(1e9, pair, "auto") == of(1e9, pair, "ring")
    column = (Hop("node", np.array([2.0, 8.0]), 3e-6, 450e9, True),)
    mixed = np.asarray(all_reduce_s(1e9, column, "in-switch"))
    assert mixed[0] == of(1e9, pair, "ring")
    assert mixed[1] == of(1e9, (Hop("node", 8.0, 3e-6, 450e9, True),), "in-switch")


def test_gather_and_scatter_are_half_an_all_reduce() -> None:
    for message_bytes in (1e3, 1e6, 1e9):
        half = of(message_bytes, FOUR_NODES, "ring") / 2
        assert float(all_gather_s(message_bytes, FOUR_NODES)) == pytest.approx(half, rel=1e-12)
        assert reduce_scatter_s(message_bytes, FOUR_NODES) == all_gather_s(
            message_bytes, FOUR_NODES
        )


def test_a_library_that_goes_level_by_level() -> None:
    by_levels = Transport(by_levels=True)
    span = tuple(replace(hop, transport=by_levels) for hop in FOUR_NODES)
    expected = of(1e9, FOUR_NODES, "hierarchical")
    assert of(1e9, span, "auto") == expected < of(1e9, FOUR_NODES, "auto")
    assert float(all_gather_s(1e9, span)) == pytest.approx(expected / 2, rel=1e-12)
    assert (all_gather_choice(span), all_reduce_choice(1e9, span)) == ("hierarchical",) * 2
    assert all_gather_choice(span[:1]) == "ring"


def test_the_cheapest_protocol_carries_a_message_and_a_rank_copies_its_own_part() -> None:
    quick, wide = Line(5e-6, 1.0, 0.1), Line(20e-6, 4.0, 1.0)
    transport = Transport((quick, wide), own_part=0.5)
    span = (replace(NODE, transport=transport),)
    small = 5e-6 + 7 * 3e-6 + 7.5 / 8 * 1e3 / 45e9
    large = 20e-6 + 7 * 12e-6 + 7.5 / 8 * 1e9 / 450e9
    assert float(all_gather_s(1e3, span)) == pytest.approx(small, rel=1e-12)
    assert float(all_gather_s(1e9, span)) == pytest.approx(large, rel=1e-12)
    # one kernel, and one copy, for the two turns of an all-reduce
    assert of(1e9, span, "ring") == pytest.approx(
        20e-6 + 14 * 12e-6 + 14.5 / 8 * 1e9 / 450e9, rel=1e-12
    )


def test_a_part_of_ones_own_is_copied_otherwise_where_buffers_are_scattered() -> None:
    transport = Transport(own_part=0.6, own_scattered=0.2)
    span = (replace(NODE, transport=transport),)
    gathered, scattered = 7 * 3e-6 + 7.6 / 8 * 1e9 / 450e9, 7 * 3e-6 + 7.2 / 8 * 1e9 / 450e9
    assert float(all_gather_s(1e9, span)) == pytest.approx(gathered, rel=1e-12)
    assert float(reduce_scatter_s(1e9, span)) == pytest.approx(scattered, rel=1e-12)
    # of an all-reduce's two turns one is of each kind: the mean of 0.6 and 0.2
    assert of(1e9, span, "ring") == pytest.approx(14 * 3e-6 + 14.4 / 8 * 1e9 / 450e9, rel=1e-12)


def test_a_pair_is_left_to_the_last_protocol_before_that_is_quicker() -> None:
    # lines cross at 20e-6 / (1/225e9 - 1/450e9) = 9 MB over the link; the library leaves at 1 MB
    quick, wide = Line(5e-6, 1.0, 0.5), Line(25e-6, 1.0, 1.0)
    transport = Transport((quick, wide), pair_most=1e6)
    pair = (Hop("node", 2.0, 3e-6, 450e9, transport=transport),)
    assert float(all_gather_s(2e6, pair)) == pytest.approx(8e-6 + 1e6 / 225e9, rel=1e-12)
    assert float(all_gather_s(2.01e6, pair)) == pytest.approx(28e-6 + 1.005e6 / 450e9, rel=1e-12)
    # an all-reduce passes the whole message over the link
    assert of(1e6, pair, "ring") == pytest.approx(11e-6 + 1e6 / 225e9, rel=1e-12)
    assert of(1.01e6, pair, "ring") == pytest.approx(31e-6 + 1.01e6 / 450e9, rel=1e-12)
    # more than two, or two that are apart: the cheapest
    four = (replace(pair[0], ranks=4.0),)
    assert float(all_gather_s(4e6, four)) == pytest.approx(14e-6 + 3e6 / 225e9, rel=1e-12)
    apart = (replace(pair[0], ranks=1.0), Hop("cluster", 2.0, 3e-6, 450e9, transport=transport))
    assert float(all_gather_s(4e6, apart)) == pytest.approx(8e-6 + 2e6 / 225e9, rel=1e-12)


def test_more_than_two_on_a_bus_pass_what_they_share_beside_their_links() -> None:
    # 45 GB/s of the link's 450 for each; quick protocols send a flag with every word, twice all
    quick, wide = Line(5e-6, 1.0, 0.5), Line(25e-6, 1.0, 1.0)
    shared = Shared(0.1, exchanged=0.8, rank_most=1e5, peer_most=1e5)
    transport = Transport((quick, wide), (quick, wide), pair_most=1e6, shared=shared)
    four = (Hop("node", 4.0, 3e-6, 450e9, transport=transport),)

    def quick_s(link_bytes: float, exchanged: float = 1.0) -> float:
        return math.hypot(14e-6 + link_bytes / 225e9, link_bytes / (22.5e9 * exchanged))

    def wide_s(link_bytes: float, exchanged: float = 1.0) -> float:
        return math.hypot(34e-6 + link_bytes / 450e9, link_bytes / (45e9 * exchanged))

    assert float(all_gather_s(4e5, four)) == pytest.approx(quick_s(3e5), rel=1e-12)
    assert float(all_gather_s(4e9, four)) == pytest.approx(wide_s(3e9), rel=1e-12)
    # the library does not know of what is shared, and may leave late
    late = replace(shared, rank_most=2e6, peer_most=2e6)
    more = (replace(four[0], transport=replace(transport, shared=late)),)
    assert wide_s(6e6) < quick_s(6e6)
    assert float(all_gather_s(8e6, more)) == pytest.approx(quick_s(6e6), rel=1e-12)
    # and what is larger takes no less
    assert wide_s(6.1e6) < float(all_gather_s(8.1e6, more)) == pytest.approx(quick_s(6e6))
    assert float(all_to_all_s(8e6, more)) == pytest.approx(quick_s(6e6, 0.8), rel=1e-12)
    assert float(all_to_all_s(8e9, more)) == pytest.approx(wide_s(6e9, 0.8), rel=1e-12)
    # two have their own links
    pair = (replace(four[0], ranks=2.0),)
    assert float(all_gather_s(1e6, pair)) == pytest.approx(8e-6 + 5e5 / 225e9, rel=1e-12)


def test_adding_up_costs_reductions_and_not_gathers() -> None:
    plain, slow = (
        (replace(NODE, transport=Transport(summed=summed)),) for summed in (0.0, 2.0)
    )  # fmt: skip
    added_s = 2.0 * 7 / 8 * 1e9 / 450e9
    assert float(all_gather_s(1e9, slow)) == float(all_gather_s(1e9, plain))
    scattered_s = float(reduce_scatter_s(1e9, plain))
    assert float(reduce_scatter_s(1e9, slow)) == pytest.approx(scattered_s + added_s, rel=1e-12)
    reduced_s = of(1e9, plain, "ring")
    assert of(1e9, slow, "ring") == pytest.approx(reduced_s + added_s, rel=1e-12)


def test_a_protocol_is_the_same_one_at_every_level() -> None:
    inner = Transport((Line(5e-6, 1.0, 0.1), Line(20e-6, 1.0, 1.0)))
    outer = Transport((Line(0.0, 1.0, 0.5), Line(0.0, 5.0, 1.0)))
    node, cluster = FOUR_NODES
    span = (replace(node, transport=inner), replace(cluster, transport=outer))
    first = 5e-6 + 28 * 3e-6 + 3 * 10e-6 + 31 / 32 * 1e3 / 45e9
    last = 20e-6 + 28 * 3e-6 + 3 * 50e-6 + 31 / 32 * 1e9 / 400e9
    assert float(all_gather_s(1e3, span)) == pytest.approx(first, rel=1e-12)
    assert float(all_gather_s(1e9, span)) == pytest.approx(last, rel=1e-12)


@pytest.mark.parametrize(
    ("message_bytes", "span", "chosen"),
    [
        (1e9, ONE_NODE, "ring"),
        (1e9, FOUR_NODES, "ring"),
        (1e9, (NODE, Hop("cluster", 2.0, 10e-6, 400e9)), "tree"),  # two nodes swap once
        (1e3, (NODE, Hop("cluster", 256.0, 10e-6, 400e9)), "tree"),
        (1e9, (Hop("node", 8.0, 3e-6, 450e9, True),), "in-switch"),
        (1e3, (Hop("node", 8.0, 3e-6, 450e9, True),), "in-switch"),  # 25 us against 42 us
        (1e3, (Hop("node", 8.0, 1e-6, 450e9, True),), "ring"),  # 14 us
    ],
)
def test_the_choice_is_the_cheapest(message_bytes: float, span: Span, chosen: str) -> None:
    named = all_reduce_choice(message_bytes, span)
    assert named == chosen
    assert of(message_bytes, span, named) == of(message_bytes, span, "auto")


@pytest.mark.parametrize("price", [all_gather_s, reduce_scatter_s, all_reduce_s, all_to_all_s])
def test_one_rank_sends_nothing(price) -> None:  # type: ignore[no-untyped-def]
    alone = (Hop("node", 1.0, 3e-6, 450e9, True), Hop("cluster", 1.0, 10e-6, 400e9))
    assert float(price(1e9, alone)) == 0.0


@pytest.mark.parametrize("price", [all_gather_s, all_reduce_s, all_to_all_s])
def test_levels_that_a_group_does_not_cross_cost_nothing(price) -> None:  # type: ignore[no-untyped-def]
    idle = Hop("idle", 1.0, 1.0, 1.0)
    plain = float(price(1e8, FOUR_NODES))
    for place in range(1, 3):
        crossed = (*FOUR_NODES[:place], idle, *FOUR_NODES[place:])
        assert float(price(1e8, crossed)) == pytest.approx(plain, rel=1e-12)


def test_all_to_all_by_counting_messages() -> None:
    # rank 0 sends an equal part to each of 32; its node's 8 ranks share the link out
    sent = 1e9
    leaves_device = sum(sent / 32 for rank in range(32) if rank != 0)
    leaves_node = sum(sent / 32 for rank in range(32) if rank // 8 != 0)
    inside_s = 7 * 3e-6 + leaves_device / 450e9
    outside_s = 3 * 10e-6 + 8 * leaves_node / 400e9
    expected = max(inside_s, outside_s)
    assert float(all_to_all_s(sent, FOUR_NODES)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("domains", "copies"), [(2, 2), (3, 2), (4, 3), (2, 5)])
def test_a_token_crosses_to_a_domain_once(domains: int, copies: int) -> None:
    # every way to draw `copies` destinations among the domains, domain 0 being home
    draws = list(itertools.product(range(domains), repeat=copies))
    once = sum(len(set(draw) - {0}) for draw in draws) / len(draws)
    every = sum(sum(1 for d in draw if d != 0) for draw in draws) / len(draws)
    span = (Hop("node", 8.0, 0.0, 1e30), Hop("cluster", float(domains), 0.0, 1.0))
    dense, dedup = (float(all_to_all_s(1.0, span, k)) for k in (1.0, float(copies)))
    assert dense == pytest.approx(8 * (domains - 1) / domains, rel=1e-12)
    assert dedup / dense == pytest.approx(once / every, rel=1e-12)


def test_copies_save_nothing_inside_a_node_unless_they_are_sent_once_a_rank() -> None:
    plain = all_to_all_s(1e9, ONE_NODE, 1.0)
    assert all_to_all_s(1e9, ONE_NODE, 8.0) == plain
    assert all_to_all_s(1e9, ONE_NODE, 1.0, once_a_rank=1.0) == plain
    waits = all_to_all_s(0.0, ONE_NODE)
    joined = all_to_all_s(1e9, ONE_NODE, 8.0, once_a_rank=1.0)
    share = 1.0 - (1.0 - 1.0 / 8.0) ** 8
    assert float(joined - waits) == pytest.approx(share * float(plain - waits), rel=1e-12)


def test_a_message_to_a_neighbour() -> None:
    assert point_to_point_s(1e9, 1e-5, 5e10) == pytest.approx(0.02001, rel=1e-12)


def test_columns_of_spans() -> None:
    span = (Hop("node", np.array([1.0, 4.0, 8.0]), 3e-6, 450e9),)
    got = np.asarray(all_gather_s(1e9, span))
    assert got[0] == 0.0
    assert got[1] == pytest.approx(3 * 3e-6 + 0.75 * 1e9 / 450e9, rel=1e-12)
    assert got[2] == pytest.approx(7 * 3e-6 + 0.875 * 1e9 / 450e9, rel=1e-12)
