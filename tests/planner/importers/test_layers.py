"""Patterns of layers: found, shortened, and left out where a window cuts nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.importers.fields import Fields
from planner.importers.layers import alternating, every_layer, from_layer, layer_count, shortest

S, F = "sliding_attention", "full_attention"


def fields(**keys: object) -> Fields:
    return Fields({"num_hidden_layers": 6} | keys, "config.json")


@given(st.lists(st.sampled_from("sf"), max_size=40))
def test_the_shortest_pattern_repeats_to_the_whole_and_none_shorter_does(kinds: list[str]) -> None:
    def repeats(pattern: list[str] | tuple[str, ...]) -> bool:
        return all(kind == pattern[i % len(pattern)] for i, kind in enumerate(kinds))

    found = shortest(kinds)
    if kinds:
        assert repeats(found)
        assert not any(repeats(kinds[:size]) for size in range(1, len(found)))
    else:
        assert found == ()


def test_the_shortest_pattern_of_many_layers_is_quick() -> None:
    assert shortest([S] * 5 + [F] + [S] * 499_994) == (S,) * 5 + (F,) + (S,) * 499_989
    assert shortest(([S] * 5 + [F]) * 100_000) == (S,) * 5 + (F,)


def test_all_layers_in_one_window() -> None:
    assert every_layer(fields(sliding_window=8), None) == {
        "attention": {"window": 8},
        "layer_types": (S,),
    }
    assert every_layer(fields(sliding_window=None), 4096) == {}
    assert every_layer(fields(), 4096)["attention"] == {"window": 4096}
    assert every_layer(fields(sliding_window=8, max_position_embeddings=8), None) == {}


def test_qwen_slides_from_a_layer_on_if_at_all() -> None:
    on = fields(use_sliding_window=True, sliding_window=8, max_window_layers=4)
    assert from_layer(on)["layer_types"] == (F, F, F, F, S, S)
    assert from_layer(fields(sliding_window=8, max_window_layers=4)) == {}
    late = fields(use_sliding_window=True, sliding_window=8, max_window_layers=70)
    assert from_layer(late) == {}


def test_each_nth_layer_is_full() -> None:
    assert alternating(fields(), period=3, window=8)["layer_types"] == (S, S, F)
    listed = fields(layer_types=[F, "chunked_attention"] * 3)
    assert alternating(listed, period=3, window=8)["layer_types"] == (F, S)
    assert alternating(fields(layer_types=[F] * 6), period=3, window=8) == {}
    assert alternating(fields(), period=1, window=8) == {}


@pytest.mark.parametrize("layers", [0, -1, 1_000_001, 10**12, 2.5, "6", None, True, [], {}])
def test_absurd_numbers_of_layers_are_refused(layers: object) -> None:
    with pytest.raises(SpecError, match="num_hidden_layers"):
        layer_count(Fields({"num_hidden_layers": layers}, "config.json"))


def test_an_absurd_period_is_refused() -> None:
    with pytest.raises(SpecError, match="sliding_window_pattern"):
        alternating(fields(), period=10**9, window=8)
