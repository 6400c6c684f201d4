"""Parameter counts against published figures, a plain list of tensors, and hand arithmetic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.models.config import ModelConfig
from planner.models.count import count
from planner.models.load import card, load, names

BILLION = {"M": 1e6, "B": 1e9, "T": 1e12}

# Exact totals of checkpoints, as Hugging Face and KerasHub (presets of 2026-08) state them.
EXACT = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-70b": 68_976_648_192,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "mistral-7b-v0.1": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "mistral-small-24b": 23_572_403_200,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_620_634_112,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen2.5-vl-72b": 73_410_777_344,
    "internvl2.5-78b": 78_408_318_336,
    "qwen3-0.6b": 596_049_920,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "deepseek-v3": 671_026_419_200,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "gemma-3-1b": 999_885_952,
    "phi-3-mini-4k": 3_821_079_552,
    "bloom-560m": 559_214_592,
    "bloom-3b": 3_002_557_440,
    "bloom-176b": 176_247_271_424,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
}


def agrees(published: int | str, ours: int) -> bool:
    """Equal, where published as an integer; else equal when rounded or cut to its last digit."""
    if isinstance(published, int):
        return published == ours
    digits = published[:-1]
    unit = 10.0 ** -len(digits.partition(".")[2])
    over = ours / BILLION[published[-1]] - float(digits)
    return -0.5 * unit <= over < unit


@pytest.mark.parametrize(("name", "published"), EXACT.items())
def test_exact_totals(name: str, published: int) -> None:
    assert count(load(name)).total == published


@pytest.mark.parametrize("name", names())
def test_each_preset_has_its_published_total(name: str) -> None:
    published = card(name).parameters
    if published is not None:
        assert agrees(published, count(load(name)).total)
    else:
        assert name.startswith(("mpt-", "nemotron-3-"))


@pytest.mark.parametrize(
    ("name", "billions"),
    [("mpt-125m", 0.125), ("mpt-1b", 1.316), ("mpt-7b", 6.7), ("mpt-30b", 30), ("mpt-70b", 65)]
    + [("nemotron-3-8b", 8.5), ("nemotron-3-22b", 21.3)],
)
def test_unpublished_totals_are_near_the_name(name: str, billions: float) -> None:
    assert count(load(name)).total / 1e9 == pytest.approx(billions, rel=0.01)


ADDS_THE_TABLE = ("llama-4-scout", "llama-4-maverick", "qwen1.5-moe-a2.7b")


@pytest.mark.parametrize("name", [name for name in names() if card(name).active is not None])
def test_active_parameters(name: str) -> None:
    published, ours = card(name).active, count(load(name))
    assert published is not None
    table = ours.embedding if name in ADDS_THE_TABLE else 0
    assert agrees(published, ours.active + table)


def test_active_parameters_named_by_the_papers() -> None:
    assert count(load("deepseek-v3")).active / 1e9 == pytest.approx(36.6, abs=0.05)
    assert count(load("qwen3-235b-a22b")).active / 1e9 == pytest.approx(22, abs=0.5)
    assert count(load("mixtral-8x22b")).active / 1e9 == pytest.approx(39, abs=0.1)
    dense = count(load("llama-3.1-8b"))
    assert dense.active == dense.total - dense.embedding
    tied = count(load("llama-3.2-1b"))
    assert tied.active == tied.total


def test_gpt_oss_by_part_as_its_model_card_gives_it() -> None:
    """arXiv:2508.10925, table 1, in billions."""
    for name, mlp, attention in (("gpt-oss-120b", 114.71, 0.96), ("gpt-oss-20b", 19.12, 0.64)):
        parts = count(load(name))
        experts = parts.routed + parts.moe_layers * parts.router_per_layer
        assert experts / 1e9 == pytest.approx(mlp, abs=0.006)
        assert parts.layers * parts.attention_per_layer / 1e9 == pytest.approx(attention, abs=0.006)
        assert (parts.embedding + parts.head) / 1e9 == pytest.approx(1.16, abs=0.006)


@pytest.mark.parametrize(
    ("name", "billions", "within"),
    [
        ("qwen3-0.6b", 0.44, 0.005),
        ("qwen3-1.7b", 1.4, 0.05),
        ("qwen3-4b", 3.6, 0.05),
        ("qwen3-8b", 6.95, 0.005),
        ("qwen3-14b", 13.2, 0.05),
        ("qwen3-32b", 31.2, 0.05),
        ("qwen3-30b-a3b", 29.9, 0.05),
        ("qwen3-235b-a22b", 234, 0.5),
        ("nemotron-4-15b", 12.5, 0.05),
        ("nemotron-4-340b", 331.6, 0.05),
    ],
)
def test_published_counts_without_embedding(name: str, billions: float, within: float) -> None:
    parts = count(load(name))
    without = (parts.total - parts.embedding - parts.head) / 1e9
    assert without == pytest.approx(billions, abs=within)


def test_bloom_embedding_as_its_model_card_gives_it() -> None:
    assert count(load("bloom-176b")).embedding == 3_596_615_680


def test_deepseek_v3_with_its_prediction_module_is_685_billion() -> None:
    """DeepSeek: 11.5B of its own; the checkpoint holds copies of the embedding and the head too."""
    parts = count(load("deepseek-v3"))
    assert parts.mtp / 1e9 == pytest.approx(11.6, abs=0.1)
    checkpoint = parts.total + parts.mtp + parts.embedding + parts.head
    assert checkpoint / 1e9 == pytest.approx(684.5, abs=0.05)


def test_llama_4_with_its_vision_tower_is_its_checkpoint() -> None:
    """34 layers of 1408, patches of 14 on 336, projector 5632-4096-4096-5120."""
    layer = 4 * (1408**2 + 1408) + 1408 * 5632 + 5632 + 5632 * 1408 + 1408 + 4 * 1408
    tower = 3 * 14 * 14 * 1408 + (1 + 577) * 1408 + 34 * layer + 4 * 1408
    projector = 5632 * 4096 + 4096 * 4096 + 4096 * 5120
    assert count(load("llama-4-scout")).total + tower + projector == 108_641_793_536
    assert count(load("llama-4-maverick")).total + tower + projector == 401_583_781_376


def test_gemma_3_text_models_have_64_unused_rows_more_than_kerashub_counts() -> None:
    published = {
        "gemma-3-4b": 3_880_099_328,
        "gemma-3-12b": 11_765_788_416,
        "gemma-3-27b": 27_009_002_240,
    }
    for name, total in published.items():
        model = load(name)
        assert count(model).total - 64 * model.hidden == total


def test_falcon_checkpoints_store_the_tied_table_twice() -> None:
    stored = {"falcon-7b": 7_217_189_760, "falcon-180b": 179_522_565_120}
    for name, total in stored.items():
        parts = count(load(name))
        assert parts.head == 0
        assert parts.total + parts.embedding == total


def test_megatron_formula() -> None:
    """12 l h^2 (1 + 13/(12 h) + (V + s)/(12 l h)); Narayanan et al. 2021, section 5.

    It leaves out the last norm, 2 h.
    """
    for name in (name for name in names() if name.startswith("megatron-")):
        model = load(name)
        layers, hidden = model.layers, model.hidden
        formula = 12 * layers * hidden**2 + 13 * layers * hidden + (51200 + 2048) * hidden
        assert count(model).total == formula + 2 * hidden


BASE = {"layers": 2, "hidden": 6, "ffn_hidden": 10, "heads": 3, "kv_heads": 1, "vocab": 7}


@pytest.mark.parametrize(
    ("keys", "more"),
    [
        ({"tied_embeddings": True}, -42),
        ({"head_bias": True}, 7),
        ({"position": "learned", "max_positions": 5}, 30),
        ({"position": "learned"}, 0),
        ({"gated_mlp": False}, -2 * 60),
        ({"qkv_bias": True}, 2 * (6 + 4)),
        ({"output_bias": True}, 2 * 6),
        ({"mlp_bias": True}, 2 * (20 + 6)),
        ({"linear_bias": True}, 2 * (10 + 6 + 26)),
        ({"linear_bias": True, "qkv_bias": True, "mlp_bias": True}, 2 * (10 + 6 + 26)),
        ({"attention_sinks": True}, 2 * 3),
        ({"norm_bias": True}, 5 * 6),
        ({"norm_weight": False}, -5 * 6),
        ({"post_norms": True}, 4 * 6),
        ({"norms_per_layer": 1}, -2 * 6),
        ({"embedding_norm": True}, 6),
        ({"qk_norm": True}, 2 * 4),
        ({"qk_norm": True, "qk_norm_all": True}, 2 * 8),
        ({"head_dim": 4}, 2 * 6 * (12 + 8 + 12) - 2 * 6 * (6 + 4 + 6)),
        ({"attention": {"window": 3}}, 0),
    ],
)
def test_each_flag_adds_what_it_says(keys: dict[str, object], more: int) -> None:
    plain = count(ModelConfig.model_validate(BASE)).total
    assert count(ModelConfig.model_validate(BASE | keys)).total == plain + more


def tensors(model: ModelConfig) -> int:
    """Every tensor of every layer, one by one: an oracle that shares nothing with `count`."""
    h, d = model.hidden, model.head_dim_or_even
    shapes: list[tuple[int, ...]] = [(model.vocab, h), (h,)]
    if not model.tied_embeddings:
        shapes.append((h, model.vocab))
    for layer in range(model.layers):
        shapes += [(h,), (h,)]
        a = model.attention
        if a.kind == "mla":
            assert a.kv_lora_rank and a.qk_nope_head_dim and a.qk_rope_head_dim and a.v_head_dim
            qk = a.qk_nope_head_dim + a.qk_rope_head_dim
            if a.q_lora_rank:
                shapes += [(h, a.q_lora_rank), (a.q_lora_rank,), (a.q_lora_rank, model.heads, qk)]
            else:
                shapes.append((h, model.heads, qk))
            shapes += [(h, a.kv_lora_rank), (h, a.qk_rope_head_dim), (a.kv_lora_rank,)]
            shapes += [(a.kv_lora_rank, model.heads, a.qk_nope_head_dim)]
            shapes += [(a.kv_lora_rank, model.heads, a.v_head_dim)]
            shapes += [(model.heads, a.v_head_dim, h)]
        else:
            kv = model.kv_heads_or_all
            shapes += [(h, model.heads, d), (h, kv, d), (h, kv, d), (model.heads, d, h)]
        maps = 3 if model.gated_mlp else 2
        if model.moe and model.is_moe(layer):
            shapes.append((h, model.moe.experts))
            runs = model.moe.experts + model.moe.shared_experts
            shapes += [(h, model.moe.ffn_hidden)] * maps * runs
        else:
            shapes += [(h, model.ffn_hidden)] * maps
    total = 0
    for shape in shapes:
        size = 1
        for extent in shape:
            size *= extent
        total += size
    return total


small = st.integers(1, 12)


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    heads = draw(st.integers(1, 4))
    keys: dict[str, object] = {
        "layers": draw(small),
        "hidden": draw(small) * heads,
        "ffn_hidden": draw(small),
        "heads": heads,
        "kv_heads": draw(st.sampled_from([None, 1, heads])),
        "head_dim": draw(st.sampled_from([None, 5])),
        "vocab": draw(small),
        "gated_mlp": draw(st.booleans()),
        "tied_embeddings": draw(st.booleans()),
    }
    if draw(st.booleans()):
        sizes = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        keys["attention"] = {key: draw(small) for key in sizes} | {
            "kind": "mla",
            "q_lora_rank": draw(st.none() | small),
        }
    if draw(st.booleans()):
        experts = draw(st.integers(1, 5))
        keys["moe"] = {
            "experts": experts,
            "top_k": draw(st.integers(1, experts)),
            "ffn_hidden": draw(small),
            "shared_experts": draw(st.integers(0, 2)),
            "first_dense_layers": draw(st.integers(0, 5)),
            "every": draw(st.integers(1, 3)),
        }
    return ModelConfig.model_validate(keys)


@given(models())
@settings(max_examples=150, deadline=None)
def test_the_total_is_the_sum_of_all_tensors(model: ModelConfig) -> None:
    parts = count(model)
    assert parts.total == tensors(model)
    assert 0 < parts.active <= parts.total
    assert parts.dense_layers + parts.moe_layers == parts.layers == model.layers
    if model.moe and model.moe.top_k == model.moe.experts and model.tied_embeddings:
        assert parts.active == parts.total
