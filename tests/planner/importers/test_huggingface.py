"""Reading the file itself: names, bad files, and fuzz. Only `SpecError` ever comes out."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.importers.families import FAMILIES
from planner.importers.huggingface import from_mapping, read_config
from planner.models.count import count

GOOD: dict[str, object] = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}


def written(folder: Path, text: str | bytes, name: str = "config.json") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    path = written(folder, json.dumps(GOOD))
    assert read_config(path).name == "my-model"
    said = written(folder, json.dumps(GOOD | {"_name_or_path": "org/said-7b/"}))
    assert read_config(said).name == "said-7b"
    assert read_config(written(folder, json.dumps(GOOD), "other.json")).name == "other"
    assert read_config(path) == read_config(written(folder, b"\xef\xbb\xbf" + path.read_bytes()))


def test_python_s_infinity_elsewhere_in_the_file_is_no_error(tmp_path: Path) -> None:
    raw = GOOD | {"time_step_limit": [0.0, float("inf")]}
    assert read_config(written(tmp_path, json.dumps(raw))).layers == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"a": 1,}', "is not JSON"),
        ("[1, 2]", "must be a JSON mapping"),
        ("3", "must be a JSON mapping"),
        ("null", "must be a JSON mapping"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ('{"vocab_size": ' + "9" * 5000 + "}", "is not JSON"),
        ("{}", "lacks num_hidden_layers, hidden_size"),
        ('{"model_type": 7}', "model_type: must be text"),
        ('{"model_type": "llama"}', "num_hidden_layers: is missing"),
        ('{"text_config": 3}', "text_config: must be a mapping"),
        ('{"model_type": "llama", "num_hidden_layers": "many"}', "must be a whole number"),
    ],
)
def test_a_bad_file_is_one_error_that_names_it(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SpecError, match=said) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_line_of_a_slip_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, '{\n "a": 1\n "b": 2\n}')
    with pytest.raises(SpecError, match="config.json:3: is not JSON"):
        read_config(path)


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json", tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(SpecError, match="cannot be read|is not"):
            read_config(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    with path.open("wb") as file:
        file.truncate(16_000_001)
    with pytest.raises(SpecError, match="is larger than"):
        read_config(path)


@pytest.mark.parametrize(
    "keys",
    [
        {"num_hidden_layers": 1_000_001},
        {"hidden_size": 10**9 + 8},
        {"vocab_size": 10**40},
        {"num_attention_heads": 0},
        {"num_attention_heads": 7},
        {"num_key_value_heads": 5},
        {"head_dim": -1},
    ],
)
def test_absurd_sizes_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        from_mapping(GOOD | keys)


def test_a_million_layers_are_read_quickly() -> None:
    for kind in ("qwen2", "gemma3_text", "llama4_text"):
        raw = GOOD | {"model_type": kind, "num_hidden_layers": 1_000_000}
        raw |= {"use_sliding_window": True, "max_window_layers": 3, "num_local_experts": 2}
        assert from_mapping(raw).layers == 1_000_000


KEYS = sorted(
    {
        *GOOD,
        *(
            "head_dim",
            "tie_word_embeddings",
            "attention_bias",
            "mlp_bias",
            "bias",
            "sliding_window",
        ),
        *("use_sliding_window", "max_window_layers", "layer_types", "sliding_window_pattern"),
        *("num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok"),
        *("moe_intermediate_size", "shared_expert_intermediate_size", "n_shared_experts"),
        *("first_k_dense_replace", "moe_layer_freq", "decoder_sparse_step", "mlp_only_layers"),
        *("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
        *("n_group", "topk_group", "topk_method", "num_nextn_predict_layers", "hidden_act"),
        *("d_model", "n_heads", "n_layers", "attn_config", "expansion_ratio", "no_bias"),
        *("n_embd", "n_embed", "n_head", "n_layer", "n_inner", "n_positions", "ffn_dim"),
        *("num_kv_heads", "multi_query", "new_decoder_architecture", "ffn_hidden_size"),
        *("text_config", "moe_layers", "no_rope_layers", "no_rope_layer_interval"),
        *("interleave_moe_layer_step", "intermediate_size_mlp", "max_position_embeddings"),
        *("architectures", "is_encoder_decoder", "_name_or_path", "word_embed_proj_dim"),
    }
)
numbers = st.integers(-2, 70) | st.sampled_from([10**6, 10**9, 10**30, 64, 128, 8])
leaves = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=5)
layer_kinds = st.lists(st.sampled_from(["full_attention", "sliding_attention", "x"]), max_size=6)
values = leaves | st.lists(leaves, max_size=4) | layer_kinds
mappings = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), values, max_size=6)


@given(
    st.sampled_from([*FAMILIES, "unknown"]),
    st.dictionaries(st.sampled_from(KEYS), values | mappings, max_size=12),
    st.booleans(),
)
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_file_says_only_spec_error_comes_out(
    kind: str, keys: dict[str, object], whole: bool
) -> None:
    older = {"d_model": 64, "n_heads": 8, "n_layers": 4, "n_layer": 4, "n_head": 8, "n_embd": 64}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_experts": 4}
    base = GOOD | older | experts if whole else {}
    try:
        model = from_mapping(base | {"model_type": kind, "hidden_act": "silu"} | keys)
    except SpecError as error:
        assert len(str(error)) < 1000
    else:
        assert count(model).total > 0
        assert count(model).active <= count(model).total


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_whatever_bytes_the_file_has_only_spec_error_comes_out(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(SpecError):
        read_config(written(tmp_path, text))
