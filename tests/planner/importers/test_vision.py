"""Vision towers of published config.json files: read into the presets' own shapes."""

import pytest

from planner.errors import SpecError
from planner.importers.huggingface import from_mapping
from planner.models.load import load

# Keys as OpenGVLab/InternVL2_5-78B/config.json has them (those that say shapes).
INTERNVL = {
    "architectures": ["InternVLChatModel"],
    "downsample_ratio": 0.5,
    "dynamic_image_size": True,
    "force_image_size": 448,
    "model_type": "internvl_chat",
    "tie_word_embeddings": False,
    "llm_config": {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "max_position_embeddings": 32768,
        "model_type": "qwen2",
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
        "num_key_value_heads": 8,
        "vocab_size": 151674,
    },
    "vision_config": {
        "architectures": ["InternVisionModel"],
        "hidden_act": "gelu",
        "hidden_size": 3200,
        "image_size": 448,
        "intermediate_size": 12800,
        "model_type": "intern_vit_6b",
        "norm_type": "rms_norm",
        "num_attention_heads": 25,
        "num_channels": 3,
        "num_hidden_layers": 45,
        "patch_size": 14,
        "qk_normalization": True,
        "qkv_bias": False,
    },
}

# Keys as Qwen/Qwen2.5-VL-72B-Instruct/config.json has them.
QWEN = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "hidden_act": "silu",
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "max_position_embeddings": 128000,
    "model_type": "qwen2_5_vl",
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
    "vision_config": {
        "depth": 32,
        "hidden_act": "silu",
        "hidden_size": 1280,
        "intermediate_size": 3456,
        "num_heads": 16,
        "in_chans": 3,
        "out_hidden_size": 8192,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "temporal_patch_size": 2,
    },
}


@pytest.mark.parametrize(
    ("raw", "preset"), [(INTERNVL, "internvl2.5-78b"), (QWEN, "qwen2.5-vl-72b")]
)
def test_a_published_config_gives_its_preset(raw: dict[str, object], preset: str) -> None:
    assert from_mapping(raw, name=preset) == load(preset)


def test_a_tower_that_is_not_known_leaves_the_language_model_alone() -> None:
    other = INTERNVL | {"vision_config": {"model_type": "siglip_vision_model"}}
    assert from_mapping(other).vision is None


@pytest.mark.parametrize("ratio", ["half", 0, 0.4, -1.0])
def test_a_ratio_that_merges_no_whole_patches_is_refused(ratio: object) -> None:
    with pytest.raises(SpecError, match="downsample_ratio: must be one over a whole number"):
        from_mapping(INTERNVL | {"downsample_ratio": ratio})


def test_patches_that_do_not_merge_are_refused() -> None:
    odd = QWEN | {"vision_config": QWEN["vision_config"] | {"patch_size": 13}}  # type: ignore[operator]
    odd["vision_config"]["spatial_merge_size"] = 3  # type: ignore[index]
    with pytest.raises(SpecError, match="cuts an image into 34 patches a side, not by 3"):
        from_mapping(odd)
