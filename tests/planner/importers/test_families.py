"""The `config.json` of published models, by family: each must give its preset, shape for shape.

Keys and values are those of the published files; keys that say nothing of the shapes (token ids,
dropout, initialisation) are mostly left out.
"""

import pytest

from planner.errors import SpecError
from planner.importers.families import FAMILIES
from planner.importers.huggingface import from_mapping
from planner.models.config import ModelConfig
from planner.models.count import count
from planner.models.load import load

Raw = dict[str, object]


def sizes(layers: int, hidden: int, ffn: int, heads: int, kv: int, vocab: int) -> Raw:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "initializer_range": 0.02,
    }


def typed(kind: str, architecture: str, **keys: object) -> Raw:
    return {"model_type": kind, "architectures": [architecture], "hidden_act": "silu"} | keys


def latent(q_lora_rank: int | None) -> Raw:
    return {
        "attention_bias": False,
        "q_lora_rank": q_lora_rank,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "moe_layer_freq": 1,
        "tie_word_embeddings": False,
    }


LLAMA = typed("llama", "LlamaForCausalLM", attention_bias=False, mlp_bias=False)
QWEN3 = {"head_dim": 128, "attention_bias": False, "use_sliding_window": False}
QWEN3 |= {"sliding_window": None, "max_window_layers": 94}
QWEN2 = {"use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 80}
V3 = {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True}
GEMMA3 = {"head_dim": 256, "sliding_window_pattern": 6, "max_position_embeddings": 32768}
GPT_OSS = {"head_dim": 64, "attention_bias": True, "num_local_experts": 128}
GPT_OSS |= {"num_experts_per_tok": 4, "experts_per_token": 4, "sliding_window": 128}

LLAMA4_TEXT = typed("llama4_text", "", **sizes(48, 5120, 8192, 40, 8, 202048))
LLAMA4_TEXT |= {"intermediate_size_mlp": 16384, "head_dim": 128, "attention_chunk_size": 8192}
LLAMA4_TEXT |= {"num_experts_per_tok": 1, "max_position_embeddings": 1048576}
LLAMA4_TEXT |= {"attention_bias": False, "use_qk_norm": False, "hidden_act": "silu"}

CONFIGS: dict[str, Raw] = {
    "llama-2-7b": LLAMA | sizes(32, 4096, 11008, 32, 32, 32000) | {"rope_scaling": None},
    "llama-3.1-70b": LLAMA
    | sizes(80, 8192, 28672, 64, 8, 128256)
    | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "max_position_embeddings": 131072},
    "llama-3.1-405b": LLAMA | sizes(126, 16384, 53248, 128, 8, 128256),
    "llama-3.2-1b": LLAMA
    | sizes(16, 2048, 8192, 32, 8, 128256)
    | {"head_dim": 64, "tie_word_embeddings": True},
    "llama-4-scout": {
        "model_type": "llama4",
        "architectures": ["Llama4ForConditionalGeneration"],
        "text_config": LLAMA4_TEXT | {"num_local_experts": 16, "interleave_moe_layer_step": 1},
        "vision_config": {"num_hidden_layers": 34, "hidden_size": 1408},
        "tie_word_embeddings": False,
    },
    "llama-4-maverick": {
        "model_type": "llama4",
        "architectures": ["Llama4ForConditionalGeneration"],
        "text_config": LLAMA4_TEXT
        | {
            "num_local_experts": 128,
            "interleave_moe_layer_step": 2,
            "moe_layers": list(range(1, 48, 2)),
            "no_rope_layers": [1, 1, 1, 0] * 12,
        },
    },
    "mistral-7b-v0.1": typed(
        "mistral", "MistralForCausalLM", sliding_window=4096, max_position_embeddings=32768
    )
    | sizes(32, 4096, 14336, 32, 8, 32000),
    "mistral-7b-v0.3": typed("mistral", "MistralForCausalLM", sliding_window=None)
    | sizes(32, 4096, 14336, 32, 8, 32768),
    "mistral-nemo-12b": typed("mistral", "MistralForCausalLM", sliding_window=None, head_dim=128)
    | sizes(40, 5120, 14336, 32, 8, 131072),
    "mixtral-8x7b": typed("mixtral", "MixtralForCausalLM", sliding_window=None)
    | sizes(32, 4096, 14336, 32, 8, 32000)
    | {"num_local_experts": 8, "num_experts_per_tok": 2, "output_router_logits": False},
    "mixtral-8x22b": typed("mixtral", "MixtralForCausalLM", sliding_window=None)
    | sizes(56, 6144, 16384, 48, 8, 32000)
    | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2.5-3b": typed("qwen2", "Qwen2ForCausalLM", tie_word_embeddings=True, **QWEN2)
    | sizes(36, 2048, 11008, 16, 2, 151936),
    "qwen2.5-72b": typed("qwen2", "Qwen2ForCausalLM", tie_word_embeddings=False, **QWEN2)
    | sizes(80, 8192, 29568, 64, 8, 152064),
    "qwen1.5-moe-a2.7b": typed("qwen2_moe", "Qwen2MoeForCausalLM", **QWEN2)
    | sizes(24, 2048, 5632, 16, 16, 151936)
    | {
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts_per_tok": 4,
        "num_experts": 60,
    },
    "qwen3-0.6b": typed("qwen3", "Qwen3ForCausalLM", tie_word_embeddings=True, **QWEN3)
    | sizes(28, 1024, 3072, 16, 8, 151936),
    "qwen3-32b": typed("qwen3", "Qwen3ForCausalLM", tie_word_embeddings=False, **QWEN3)
    | sizes(64, 5120, 25600, 64, 8, 151936),
    "qwen3-235b-a22b": typed("qwen3_moe", "Qwen3MoeForCausalLM", **QWEN3)
    | sizes(94, 4096, 12288, 64, 4, 151936)
    | {
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 1536,
        "num_experts": 128,
        "num_experts_per_tok": 8,
    },
    "deepseek-v2": typed("deepseek_v2", "DeepseekV2ForCausalLM", **latent(1536))
    | sizes(60, 5120, 12288, 128, 128, 102400)
    | {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 1536,
        "n_group": 8,
        "n_routed_experts": 160,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "topk_group": 3,
        "topk_method": "group_limited_greedy",
    },
    "deepseek-v2-lite": typed("deepseek_v2", "DeepseekV2ForCausalLM", **latent(None))
    | sizes(27, 2048, 10944, 16, 16, 102400)
    | {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 1408,
        "n_group": 1,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "topk_group": 1,
        "topk_method": "greedy",
    },
    "deepseek-v3": typed("deepseek_v3", "DeepseekV3ForCausalLM", **latent(1536), **V3)
    | sizes(61, 7168, 18432, 128, 128, 129280)
    | {
        "first_k_dense_replace": 3,
        "moe_intermediate_size": 2048,
        "n_group": 8,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "num_nextn_predict_layers": 1,
        "topk_group": 4,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    },
    "kimi-k2": typed("kimi_k2", "DeepseekV3ForCausalLM", **latent(1536), **V3)
    | sizes(61, 7168, 18432, 64, 64, 163840)
    | {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 2048,
        "n_group": 1,
        "n_routed_experts": 384,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "num_nextn_predict_layers": 0,
        "topk_group": 1,
    },
    "gpt-oss-120b": typed("gpt_oss", "GptOssForCausalLM", **GPT_OSS)
    | sizes(36, 2880, 2880, 64, 8, 201088)
    | {
        "layer_types": ["sliding_attention", "full_attention"] * 18,
        "max_position_embeddings": 131072,
    },
    "gemma-2-9b": typed("gemma2", "Gemma2ForCausalLM", head_dim=256, sliding_window=4096)
    | sizes(42, 3584, 14336, 16, 8, 256000)
    | {"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192},
    "gemma-2-27b": typed("gemma2", "Gemma2ForCausalLM", head_dim=128, sliding_window=4096)
    | sizes(46, 4608, 36864, 32, 16, 256000),
    "gemma-3-1b": typed("gemma3_text", "Gemma3ForCausalLM", sliding_window=512, **GEMMA3)
    | sizes(26, 1152, 6912, 4, 1, 262144),
    # The published file leaves heads, head_dim and vocabulary to the defaults of its class.
    "gemma-3-4b": {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "image_token_index": 262144,
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
    },
    "gemma-3-27b": {
        "model_type": "gemma3",
        "text_config": {
            "head_dim": 128,
            "hidden_size": 5376,
            "intermediate_size": 21504,
            "model_type": "gemma3_text",
            "num_attention_heads": 32,
            "num_hidden_layers": 62,
            "num_key_value_heads": 16,
            "query_pre_attn_scalar": 168,
            "sliding_window": 1024,
        },
    },
    "nemotron-4-340b": typed("nemotron", "NemotronForCausalLM", attention_bias=False)
    | sizes(96, 18432, 73728, 96, 8, 256000)
    | {"hidden_act": "relu2", "mlp_bias": False, "partial_rotary_factor": 0.5},
    "mpt-7b-alibi": {
        "model_type": "mpt",
        "architectures": ["MPTForCausalLM"],
        "attn_config": {"alibi": True, "attn_type": "multihead_attention", "qk_ln": False},
        "d_model": 4096,
        "expansion_ratio": 4,
        "learned_pos_emb": True,
        "max_seq_len": 2048,
        "n_heads": 32,
        "n_layers": 32,
        "no_bias": True,
        "vocab_size": 50432,
    },
    "mpt-1b": {
        "model_type": "mpt",
        "attn_config": {"attn_impl": "flash"},
        "d_model": 2048,
        "n_heads": 16,
        "n_layers": 24,
        "expansion_ratio": 4,
        "max_seq_len": 2048,
        "no_bias": False,
        "vocab_size": 50368,
    },
    "opt-175b": {
        "model_type": "opt",
        "architectures": ["OPTForCausalLM"],
        "activation_function": "relu",
        "do_layer_norm_before": True,
        "ffn_dim": 49152,
        "hidden_size": 12288,
        "max_position_embeddings": 2048,
        "num_attention_heads": 96,
        "num_hidden_layers": 96,
        "vocab_size": 50272,
        "word_embed_proj_dim": 12288,
    },
    "bloom-176b": {
        "model_type": "bloom",
        "architectures": ["BloomForCausalLM"],
        "n_embed": 14336,
        "n_layer": 70,
        "num_attention_heads": 112,
        "vocab_size": 250880,
        "apply_residual_connection_post_layernorm": False,
    },
    "bloom-560m": {
        "model_type": "bloom",
        "hidden_size": 1024,
        "n_layer": 24,
        "n_head": 16,
        "vocab_size": 250880,
    },
    "falcon-7b": {
        "model_type": "falcon",
        "architectures": ["FalconForCausalLM"],
        "alibi": False,
        "bias": False,
        "hidden_size": 4544,
        "multi_query": True,
        "new_decoder_architecture": False,
        "num_attention_heads": 71,
        "num_hidden_layers": 32,
        "num_kv_heads": 71,
        "parallel_attn": True,
        "vocab_size": 65024,
    },
    "falcon-40b": {
        "model_type": "falcon",
        "alibi": False,
        "bias": False,
        "hidden_size": 8192,
        "multi_query": True,
        "new_decoder_architecture": True,
        "num_attention_heads": 128,
        "num_hidden_layers": 60,
        "num_kv_heads": 8,
        "parallel_attn": True,
        "vocab_size": 65024,
    },
    "gpt2-xl": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "n_ctx": 1024,
        "n_embd": 1600,
        "n_head": 25,
        "n_layer": 48,
        "n_positions": 1024,
        "vocab_size": 50257,
    },
    "gpt-neox-20b": typed("gpt_neox", "GPTNeoXForCausalLM", use_parallel_residual=True)
    | sizes(44, 6144, 24576, 64, 64, 50432)
    | {"hidden_act": "gelu_fast", "tie_word_embeddings": False},
    "olmo-2-32b": typed("olmo2", "Olmo2ForCausalLM", tie_word_embeddings=False)
    | sizes(64, 5120, 27648, 40, 8, 100352),
    "phi-3-mini-4k": typed("phi3", "Phi3ForCausalLM", sliding_window=2047)
    | sizes(32, 3072, 8192, 32, 32, 32064)
    | {"max_position_embeddings": 4096},
    "phi-4": typed("phi3", "Phi3ForCausalLM", sliding_window=None)
    | sizes(40, 5120, 17920, 40, 10, 100352),
    # Its window is longer than its context and so cuts nothing.
    "phi-4-mini": typed("phi3", "Phi3ForCausalLM", sliding_window=262144)
    | sizes(32, 3072, 8192, 24, 8, 200064)
    | {"max_position_embeddings": 131072, "tie_word_embeddings": True},
    "internlm-7b": typed("internlm", "InternLMForCausalLM", bias=True, tie_word_embeddings=False)
    | {key: n for key, n in sizes(32, 4096, 11008, 32, 0, 103168).items() if n != 0},
    "internlm-2-20b": typed("internlm2", "InternLM2ForCausalLM", bias=False)
    | sizes(48, 6144, 16384, 48, 8, 92544),
    "command-r-35b": typed("cohere", "CohereForCausalLM", use_qk_norm=False, logit_scale=0.0625)
    | sizes(40, 8192, 22528, 64, 64, 256000),
    "command-r-plus-104b": typed("cohere", "CohereForCausalLM", use_qk_norm=True)
    | sizes(64, 12288, 33792, 96, 8, 256000),
}


def shapes(model: ModelConfig) -> dict[str, object]:
    """All fields but names, defaults filled in."""
    filled = {"kv_heads": model.kv_heads_or_all, "head_dim": model.head_dim_or_even}
    return model.model_dump(exclude={"name", "left_out"}) | filled


@pytest.mark.parametrize("name", CONFIGS)
def test_a_published_config_gives_its_preset(name: str) -> None:
    model = from_mapping(CONFIGS[name], name=name)
    assert shapes(model) == shapes(load(name))
    assert count(model) == count(load(name))


def test_every_family_that_has_a_preset_is_tried() -> None:
    tried = {str(raw["model_type"]) for raw in CONFIGS.values()}
    alone = {"cohere2", "gemma", "llama4_text", "qwen2_vl", "qwen2_5_vl"}
    assert tried | alone | {"qwen3_vl_text", "qwen3_vl_moe_text"} == set(FAMILIES)


def test_families_without_a_preset_by_their_totals() -> None:
    """Gemma 2B as KerasHub states it; Command R7B: 8 billion by its model card."""
    gemma = typed("gemma", "GemmaForCausalLM", head_dim=256) | sizes(18, 2048, 16384, 8, 1, 256000)
    assert count(from_mapping(gemma)).total == 2_506_172_416
    cohere2 = typed("cohere2", "Cohere2ForCausalLM", sliding_window=4096)
    cohere2 |= sizes(32, 4096, 14336, 32, 8, 256000) | {"sliding_window_pattern": 4}
    r7b = from_mapping(cohere2)
    assert count(r7b).total / 1e9 == pytest.approx(8, abs=0.05)
    assert r7b.layer_types == ("sliding_attention",) * 3 + ("full_attention",)


def test_a_vision_model_gives_its_language_model() -> None:
    inner = CONFIGS["qwen3-0.6b"] | {"model_type": "qwen3_vl_text"}
    outer = {"model_type": "qwen3_vl", "text_config": inner, "vision_config": {"depth": 24}}
    assert shapes(from_mapping(outer)) == shapes(load("qwen3-0.6b"))
    flat = CONFIGS["qwen2.5-3b"] | {"model_type": "qwen2_vl", "vision_config": {"depth": 32}}
    assert shapes(from_mapping(flat)) == shapes(load("qwen2.5-3b"))
    bare = {"text_config": {k: v for k, v in inner.items() if k != "model_type"}}
    assert shapes(from_mapping({"model_type": "qwen3"} | bare)) == shapes(load("qwen3-0.6b"))


def test_the_outer_tie_holds_where_the_inner_says_nothing() -> None:
    inner = LLAMA | sizes(2, 64, 128, 4, 4, 100)
    outer = {"model_type": "llava", "tie_word_embeddings": True, "text_config": inner}
    assert from_mapping(outer).tied_embeddings
    closer = outer | {"text_config": inner | {"tie_word_embeddings": False}}
    assert not from_mapping(closer).tied_embeddings


UNKNOWN = typed("brand_new", "BrandNewForCausalLM") | sizes(4, 64, 128, 8, 2, 100)


def test_an_unknown_family_is_read_as_llama_like() -> None:
    as_llama = from_mapping(UNKNOWN | {"model_type": "llama", "tie_word_embeddings": True})
    assert shapes(from_mapping(UNKNOWN)) == shapes(as_llama)
    moe = UNKNOWN | {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    moe |= {"n_shared_experts": 1, "first_k_dense_replace": 1}
    read = from_mapping(moe).moe
    assert read is not None
    assert (read.experts, read.top_k, read.ffn_hidden) == (8, 2, 32)
    assert (read.shared_experts, read.first_dense_layers) == (1, 1)
    assert from_mapping(UNKNOWN | latent(16)).attention.kind == "mla"
    assert from_mapping(UNKNOWN | {"sliding_window": 8}).attention.window == 8
    assert not from_mapping(UNKNOWN | {"tie_word_embeddings": False}).tied_embeddings
    said_of_all = {"moe_layer_freq": 1, "router_aux_loss_coef": 0.01, "norm_topk_prob": True}
    assert from_mapping(moe | said_of_all).moe == read


def test_an_unknown_family_says_its_latent_attention_itself() -> None:
    """A width that is absent is not DeepSeek's: MiniCPM3's values are 64 wide, not 128."""
    with pytest.raises(SpecError, match="v_head_dim: is missing"):
        from_mapping(UNKNOWN | latent(16) | {"v_head_dim": None})


def test_a_tower_that_is_not_read_is_named() -> None:
    outer = {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}}
    model = from_mapping(outer | {"text_config": UNKNOWN | {"model_type": "llama"}})
    assert model.left_out == "vision encoder (clip_vision_model)"
    assert from_mapping(UNKNOWN).left_out is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"hidden_size": None, "vocab_size": None}, "lacks hidden_size, vocab_size"),
        ({"hidden_act": "gelu"}, "its hidden_act is not silu"),
        ({"architectures": ["BertForMaskedLM"]}, "it is no decoder"),
        ({"is_encoder_decoder": True}, "it is no decoder"),
        ({"mamba_num_heads": 8}, "it has mamba_num_heads"),
        ({"hybrid_override_pattern": "M-M*"}, "it has hybrid_override_pattern"),
        ({"moe_num_experts": 64, "moe_k": 6}, "it has moe_num_experts, moe_k"),
        ({"num_experts": 8, "moe_layer_freq": 2}, "it has moe_layer_freq"),
        ({"num_experts": 8, "shared_expert_intermediate_size": 64}, "it has shared_expert"),
        ({"model_type": None}, "(absent) is not known"),
    ],
)
def test_what_is_not_llama_like_is_refused_with_the_known_families(keys: Raw, said: str) -> None:
    raw = UNKNOWN | {"hidden_act": None} | keys if "model_type" in keys else UNKNOWN | keys
    with pytest.raises(SpecError) as caught:
        from_mapping(raw)
    assert said in str(caught.value)
    assert "deepseek_v3, falcon, gemma" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("deepseek-v3", {"moe_layer_freq": 2}, "moe_layer_freq: must be 1"),
        ("deepseek-v3", {"attention_bias": True}, "attention_bias: must be false"),
        ("gpt-oss-120b", {"attention_bias": False}, "attention_bias: must be true"),
        ("gpt-oss-120b", {"layer_types": ["full_attention"]}, "1 entries for 36 layers"),
        ("gpt-oss-120b", {"layer_types": ["mamba"] * 36}, "'mamba' is none of"),
        ("gpt-oss-120b", {"layer_types": ["linear_attention"] * 36}, "are not read"),
        ("opt-175b", {"word_embed_proj_dim": 512}, "word_embed_proj_dim: must be"),
        ("opt-175b", {"do_layer_norm_before": False}, "do_layer_norm_before: must be true"),
        ("qwen3-235b-a22b", {"mlp_only_layers": [5]}, "mlp_only_layers: must be the first"),
        ("llama-3.1-70b", {"hidden_size": None}, "hidden_size: is missing"),
        ("llama-3.1-70b", {"num_key_value_heads": 3}, "not a multiple of kv_heads"),
    ],
)
def test_what_our_model_cannot_say_is_refused(name: str, keys: Raw, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        from_mapping(CONFIGS[name] | keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"moe_layers": [1, 2]}, "moe_layers: must be"), ({"no_rope_layers": [1] * 48}, "must be 0")],
)
def test_llama_4_of_another_pattern_is_refused(keys: Raw, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        from_mapping(LLAMA4_TEXT | {"num_local_experts": 16, "model_type": "llama4_text"} | keys)


def test_biases_of_a_llama_are_counted() -> None:
    plain = LLAMA | sizes(2, 64, 128, 8, 2, 100)
    less = count(from_mapping(plain)).total
    both = count(from_mapping(plain | {"attention_bias": True, "mlp_bias": True})).total
    assert both - less == 2 * ((64 + 2 * 16 + 64) + (2 * 128 + 64))


def test_older_layouts() -> None:
    rw = CONFIGS["falcon-7b"] | {"multi_query": False, "parallel_attn": False, "num_kv_heads": None}
    model = from_mapping(rw | {"alibi": True, "bias": True})
    assert (model.kv_heads_or_all, model.norms_each_layer) == (71, 2)
    assert (model.position, model.linear_bias) == ("alibi", True)
    assert from_mapping(CONFIGS["mpt-1b"] | {"learned_pos_emb": False}).position == "none"
    rope = CONFIGS["mpt-1b"] | {"attn_config": {"rope": True, "kv_n_heads": 4}}
    assert from_mapping(rope).position == "rope"
    assert from_mapping(rope).kv_heads == 4
    one = CONFIGS["mpt-1b"] | {"attn_config": {"attn_type": "multiquery_attention"}}
    assert from_mapping(one).kv_heads == 1
    unbiased = from_mapping(CONFIGS["gpt-neox-20b"] | {"attention_bias": False})
    less = 44 * (4 * 6144)
    assert count(load("gpt-neox-20b")).total - count(unbiased).total == less
