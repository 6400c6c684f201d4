"""Orders of elimination are tree decompositions: by their definition, and small where they can."""

from itertools import combinations

import numpy as np

from planner.search.order import greedy


def test_every_pair_is_in_the_bag_of_the_first_to_go() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        count = int(rng.integers(1, 12))
        sizes = rng.integers(1, 5, count)
        pairs = [p for p in combinations(range(count), 2) if rng.random() < 0.3]
        order = greedy(sizes, pairs)
        assert order is not None
        assert sorted(order.decisions) == list(range(count))
        place = {d: at for at, d in enumerate(order.decisions)}
        bags = dict(zip(order.decisions, order.bags, strict=True))
        for a, b in pairs:
            first, second = sorted((a, b), key=place.__getitem__)
            assert second in bags[first]
        for d, bag in bags.items():
            assert all(place[other] > place[d] for other in bag)
            if bag:  # what a decision leaves behind is in the bag of the next of it to go
                after = min(bag, key=place.__getitem__)
                assert set(bag) - {after} <= set(bags[after])
        entries = [np.prod(sizes[[d, *bags[d]]]) for d in order.decisions]
        assert (order.largest, order.total) == (max(entries), sum(entries))


def test_a_chain_and_a_star_need_pairs_alone() -> None:
    sizes = np.full(30, 5)
    for pairs in ([(i, i + 1) for i in range(29)], [(0, i) for i in range(1, 30)]):
        order = greedy(sizes, pairs)
        assert order is not None
        assert order.largest == 25.0


def test_it_stops_at_a_table_that_is_too_large() -> None:
    every = list(combinations(range(8), 2))
    assert greedy(np.full(8, 4), every, 4.0**7) is None
    assert greedy(np.full(8, 4), every, 4.0**8) is not None
