"""Which counts of layers by kind the chunks of a stage may hold."""

import itertools

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
