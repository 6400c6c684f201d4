"""What a preset adds to an inline model of its name, and when it keeps out."""

from typing import Any

import pytest

from planner.models.load import load
from planner.models.published import completed

OSS: dict[str, Any] = {
    "name": "gpt-oss-120b", "layers": 36, "hidden": 2880, "ffn_hidden": 2880, "heads": 64,
    "kv_heads": 8, "head_dim": 64, "vocab": 201088, "gated_mlp": True, "tied_embeddings": False,
    "position": "rope", "moe": {"experts": 128, "top_k": 4, "ffn_hidden": 2880, "dropless": True},
}  # fmt: skip


def test_a_model_with_the_sizes_of_its_name_is_the_published_one() -> None:
    made = completed(OSS)
    preset = load("gpt-oss-120b")
    assert made["linear_bias"] is made["mlp_clamp"] is made["attention_sinks"] is True
    assert made["attention"] == {"window": 128}
    assert made["layer_types"] == list(preset.layer_types or ())
    assert {key: made[key] for key in OSS} == OSS
    assert completed(made) == made


@pytest.mark.parametrize(
    "other",
    [
        {"name": "gpt-oss"},
        {"name": None},
        {"layers": 12},
        {"vocab": 201216},
        {"linear_bias": False},
        {"moe": {**OSS["moe"], "experts": 64}},
        {"attention": {"window": 4096}},
    ],
)
def test_a_model_that_differs_stays_as_it_is_given(other: dict[str, Any]) -> None:
    assert completed(OSS | other) == OSS | other


def test_the_dense_width_of_a_model_without_dense_layers_is_no_difference() -> None:
    given = {"name": "qwen3-30b-a3b", "layers": 48, "hidden": 2048, "ffn_hidden": 768}
    assert completed(given)["qk_norm"] is True
    assert completed(given)["ffn_hidden"] == 768
    dense = {"name": "qwen3-8b", "layers": 36, "ffn_hidden": 768}
    assert completed(dense) == dense


def test_nulls_are_not_given() -> None:
    made = completed({"name": "gpt-oss-120b", "layers": 36, "attention": {"window": None}})
    assert made["attention"] == {"window": 128}


V3: dict[str, Any] = {
    "name": "deepseek-v3", "layers": 61, "hidden": 7168, "ffn_hidden": 18432, "heads": 128,
    "vocab": 129280, "moe": {"experts": 256, "top_k": 8, "ffn_hidden": 2048},
}  # fmt: skip


@pytest.mark.parametrize(
    "more", [{}, {"kv_heads": 128}, {"head_dim": 128}, {"kv_heads": 128, "head_dim": 192}]
)
def test_heads_of_keys_are_no_difference_where_keys_are_of_a_latent(more: dict[str, int]) -> None:
    made = completed(V3 | more)
    assert made["attention"]["kv_lora_rank"] == 512
    assert made["moe"]["shared_experts"] == 1
    assert (made["mtp_layers"], {key: made[key] for key in more}) == (1, more)
    assert completed(OSS | {"kv_heads": 4}) == OSS | {"kv_heads": 4}


def test_multi_token_prediction_is_left_out_where_it_is_not_trained() -> None:
    assert "mtp_layers" not in completed(V3, mtp=False)
    assert completed(V3 | {"mtp_layers": 1}, mtp=False)["mtp_layers"] == 1
