"""Presets: every file is whole, names are found without parsing all, bad names get a hint."""

import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from planner.errors import InternalError, SpecError
from planner.models.load import card, load, names

FOLDER = Path(__file__).parents[3] / "planner" / "models"

WANTED = [
    "gpt3-1.3b",
    "gpt3-2.7b",
    "gpt3-5b",
    "gpt3-6.7b",
    "gpt3-13b",
    "gpt3-20b",
    "gpt3-175b",
    "megatron-22b",
    "megatron-175b",
    "megatron-530b",
    "megatron-1t",
    "llama-7b",
    "llama-13b",
    "llama-33b",
    "llama-65b",
    "llama-2-7b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-3-8b",
    "llama-3-70b",
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.1-405b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "llama-3.3-70b",
    "llama-4-scout",
    "llama-4-maverick",
    "mistral-7b-v0.1",
    "mistral-nemo-12b",
    "mistral-small-24b",
    "mistral-large-123b",
    "mixtral-8x7b",
    "mixtral-8x22b",
    "qwen2.5-0.5b",
    "qwen2.5-1.5b",
    "qwen2.5-3b",
    "qwen2.5-7b",
    "qwen2.5-14b",
    "qwen2.5-32b",
    "qwen2.5-72b",
    "qwen2.5-vl-7b",
    "qwen2.5-vl-72b",
    "internvl2.5-78b",
    "qwen3-0.6b",
    "qwen3-1.7b",
    "qwen3-4b",
    "qwen3-8b",
    "qwen3-14b",
    "qwen3-32b",
    "qwen3-30b-a3b",
    "qwen3-235b-a22b",
    "deepseek-v2",
    "deepseek-v2-lite",
    "deepseek-v3",
    "deepseek-r1",
    "kimi-k2",
    "gpt-oss-20b",
    "gpt-oss-120b",
    "gemma-2-2b",
    "gemma-2-9b",
    "gemma-2-27b",
    "gemma-3-1b",
    "gemma-3-4b",
    "gemma-3-12b",
    "gemma-3-27b",
    "nemotron-4-15b",
    "nemotron-4-340b",
    "mpt-125m",
    "mpt-1b",
    "mpt-3b",
    "mpt-7b",
    "mpt-13b",
    "mpt-30b",
    "mpt-70b",
    "opt-175b",
    "bloom-176b",
    "falcon-40b",
    "falcon-180b",
    "olmo-2-7b",
    "olmo-2-13b",
    "olmo-2-32b",
    "phi-3-mini-4k",
    "phi-4",
    "internlm-7b",
    "internlm-20b",
]


def test_the_wanted_presets_are_there() -> None:
    assert set(WANTED) <= set(names())


def test_names_are_unique_and_those_a_yaml_reader_sees() -> None:
    seen = [name for path in sorted(FOLDER.glob("*.yaml")) for name in YAML(typ="safe").load(path)]
    assert list(names()) == seen
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("name", names())
def test_each_preset_loads_under_its_name_and_says_its_source(name: str) -> None:
    given = card(name)
    assert given.config == load(name)
    assert given.config.name == name
    assert len(given.source) > 5
    assert given.family in {path.stem for path in FOLDER.glob("*.yaml")}


def test_an_alias_has_the_shapes_of_its_twin() -> None:
    twin = load("deepseek-v3")
    assert load("deepseek-r1") == twin.model_copy(update={"name": "deepseek-r1"})
    assert card("deepseek-r1").parameters == card("deepseek-v3").parameters


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("llama-3.1-70", "llama-3.1-70b"),
        ("llama3.1-405b", "llama-3.1-405b"),
        ("Mixtral-8x7B", "mixtral-8x7b"),
        ("deepseekv3", "deepseek-v3"),
        ("qwen3-235b", "qwen3-235b-a22b"),
    ],
)
def test_a_wrong_name_is_told_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(SpecError, match=f"did you mean '{meant}'"):
        load(wrong)


@pytest.mark.parametrize(
    "wrong", ["", "zzzz", "#", "layers", "llama-2-7b:", "../config", ".*", "\n"]
)
def test_a_hopeless_name_is_one_error(wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(wrong)
    assert "no model preset" in str(caught.value)
    assert "`sixfold models`" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["llama-3.1-70b", "qwen3-235b-a22b", "deepseek-r1"])
def test_loading_one_preset_takes_less_than_20_ms(name: str) -> None:
    def took_s() -> float:
        start = time.perf_counter()
        load(name)
        return time.perf_counter() - start

    assert min(took_s() for _ in range(7)) < 0.020


@pytest.mark.parametrize(
    "text",
    [
        "x: {layers: 2}\n",
        "x: {layers: 2, hidden: 8, ffn_hidden: 8, heads: 2, vocab: 9, source: me}\n",
        "x: {layers: two, hidden: 8, ffn_hidden: 8, heads: 2, vocab: 9, parameters: 1, source: m}",
        "x: {layer: 2, hidden: 8, ffn_hidden: 8, heads: 2, vocab: 9, parameters: 1, source: m}",
        "x: [\n",
        "x: 3\n",
        "x: {same_as: y}\n",
    ],
)
def test_a_broken_file_is_our_fault(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    monkeypatch.setattr("planner.models.load._FOLDER", tmp_path)
    with pytest.raises((InternalError, SpecError), match="odd.yaml is broken|no model preset 'y'"):
        load("x")


def test_a_preset_is_read_without_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = "b: {layers: 2, hidden: 8, ffn_hidden: 8, heads: 2, vocab: 9, parameters: 1, source: me}"
    (tmp_path / "odd.yaml").write_text(f"a: [[[\n# b: no\n{good}\n#\nc: {{{{\n")
    monkeypatch.setattr("planner.models.load._FOLDER", tmp_path)
    assert names() == ("a", "b", "c")
    assert load("b").layers == 2
