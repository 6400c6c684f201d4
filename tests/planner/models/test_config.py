"""The architecture's own checks and the small questions that it answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.models.config import Attention, ModelConfig, MoE

PLAIN = {"layers": 4, "hidden": 64, "ffn_hidden": 128, "heads": 8, "vocab": 100}


def made(**keys: object) -> ModelConfig:
    return ModelConfig.model_validate(PLAIN | keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"kv_heads": 3}, "not a multiple of kv_heads"),
        ({"heads": 7}, "give head_dim"),
        ({"layer_types": ["sliding_attention"]}, "give attention.window"),
        ({"attention": {"kind": "mla", "kv_lora_rank": 8}}, "needs qk_nope_head_dim"),
        ({"moe": {"experts": 4, "top_k": 5, "ffn_hidden": 8}}, "more than experts"),
        ({"layers": 0}, "greater than 0"),
        ({"layers": 1_000_001}, "less than or equal to 1000000"),
        ({"hidden": 1_000_000_001}, "less than or equal to 1000000000"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_what_is_no_model_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        made(**keys)


def test_defaults_are_read_from_the_other_sizes() -> None:
    model = made()
    assert (model.kv_heads_or_all, model.head_dim_or_even) == (8, 8)
    assert made(kv_heads=2, head_dim=32).head_dim_or_even == 32
    assert (model.norms_each_layer, made(post_norms=True).norms_each_layer) == (2, 4)
    assert made(norms_per_layer=1).norms_each_layer == 1
    assert made(norms_per_layer=0).norms_each_layer == 0


def test_layer_types_repeat_and_default_to_the_window() -> None:
    mixed = made(
        attention={"window": 8}, layer_types=["sliding_attention", "full_attention"], layers=3
    )
    kinds = [mixed.layer_type(layer) for layer in range(3)]
    assert kinds == ["sliding_attention", "full_attention", "sliding_attention"]
    assert made(attention={"window": 8}).layer_type(1) == "sliding_attention"
    assert made().layer_type(1) == "full_attention"


def test_which_layers_have_experts() -> None:
    every_second = made(layers=6, moe={"experts": 2, "top_k": 1, "ffn_hidden": 8, "every": 2})
    assert [every_second.is_moe(i) for i in range(6)] == [False, True] * 3
    behind = made(moe={"experts": 2, "top_k": 1, "ffn_hidden": 8, "first_dense_layers": 3})
    assert [behind.is_moe(i) for i in range(4)] == [False, False, False, True]
    assert not made().is_moe(0)
    assert made().moe_layers == 0


@given(st.integers(1, 200), st.integers(0, 250), st.integers(1, 9))
def test_the_number_of_moe_layers_is_their_count(layers: int, dense: int, every: int) -> None:
    moe = MoE(experts=2, top_k=1, ffn_hidden=8, first_dense_layers=dense, every=every)
    model = ModelConfig(
        layers=layers, hidden=8, ffn_hidden=8, heads=1, vocab=9, moe=moe, attention=Attention()
    )
    assert model.moe_layers == sum(model.is_moe(layer) for layer in range(layers))
