"""Which counts of layers by kind the chunks of a stage may hold."""

import itertools

import numpy as np
import pytest

from planner.workloads.training.stage_tables import _anywhere


def plainly(kinds: tuple[int, ...], longest: int, chunks: int) -> set[tuple[int, ...]]:
    """Add up any `chunks` runs of layers, one by one; as many of a kind as there are of it."""
    spans = [kinds[i:j] for i in range(len(kinds) + 1) for j in range(i, len(kinds) + 1)]
    each = {tuple(span.count(kind) for kind in range(max(kinds) + 1)) for span in spans}
    some = itertools.product(each, repeat=chunks)
    sums = {tuple(map(sum, zip(*runs, strict=True))) for runs in some}
    return {
        key
        for key in sums
        if sum(key) <= longest and all(n <= kinds.count(kind) for kind, n in enumerate(key))
    }  # fmt: skip


@pytest.mark.parametrize("kinds", [(0,) * 8, (0, 1) * 4, (0, 0, 1, 1, 1, 1), (0, 0, 0, 1) * 2])
@pytest.mark.parametrize("longest", [3, 5])
@pytest.mark.parametrize("chunks", [2, 3])
def test_keys_are_what_contiguous_chunks_add_up_to(
    kinds: tuple[int, ...], longest: int, chunks: int
) -> None:
    walked = _anywhere(kinds, longest, chunks)
    assert walked is not None
    assert set(walked[0]) == plainly(kinds, longest, chunks)
    assert len(walked[0]) == len(set(walked[0]))


def test_no_stage_has_all_its_layers_of_one_of_two_kinds_that_alternate() -> None:
    walked = _anywhere((0, 1) * 10, 8, 2)
    assert walked is not None
    assert all(abs(a - b) <= 2 for a, b in walked[0])


def test_a_stage_holds_what_the_others_cannot():
    """Of 6 layers over 2 stages of at most 4, neither holds fewer than 2."""
    made = _anywhere((0, 1) * 3, 4, 2, 2)
    assert made is not None
    keys, before, arcs = made
    assert {sum(key) for key in keys} == {2, 3, 4}
    for state, into in enumerate(np.ndindex(4, 4)):
        for arc, number in enumerate(arcs[state]):
            if number >= 0:
                left = np.array(into) - keys[number]
                assert before[state, arc] == np.ravel_multi_index(tuple(left), (4, 4))
