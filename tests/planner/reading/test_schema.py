"""The JSON Schema agrees with the loader, and with the files that ship."""

from pathlib import Path

import jsonschema
import pytest

import planner
from planner.errors import SpecError
from planner.reading.document import Value, read_text
from planner.reading.schema import job_grammar, schema
from planner.spec import dump, load, with_set

EXAMPLES = sorted((Path(planner.__path__[0]) / "examples").glob("*.yaml"))
BASE = """\
name: llama3-70b-on-1024-h100
workload: {kind: training, model: llama-3.1-70b, sequence_length: 8192, global_batch: 1024,
           tokens: 15.0e12, precision: bf16, optimizer: adam, task: pretrain}
hardware: {system: dgx-h100, devices: 1024, set: {memory_bytes: 80.0e9}}
objective: {metric: step_time}
constraints: {memory_reserve: 0.06, max_cost_usd: null, deadline_s: null, confidence: 0.9}
failure: {node_mtbf_s: null, checkpoint_async: true, spare_nodes: 0}
strategy: {}
software: {preset: megatron-core}
emit: [megatron, torchtitan]
"""
RIGHT = [
    "name=",
    "strategy=",
    "constraints.memory_reserve=",
    "hardware.devices={min: 64, max: 4096}",
    "hardware.devices=[64, 128]",
    "hardware.devices=1.0e3",
    "hardware.system=[dgx-h100, dgx-b200]",
    "strategy={tp: [4, 8], recompute: {full: 3}, zero: 3, sp: true, offload: []}",
    "strategy.collectives={tp: nvls, dp: auto}",
    "strategy.placement={ep: cluster}",
    "software.compile=",
    "workload.sequence_lengths={mean: 900, p99: 8000}",
    "workload.model={layers: 2, hidden: 64, ffn_hidden: 256, heads: 4, vocab: 9, kv_heads: null}",
]
WRONG = [
    "workload.precison=bf16",
    "workload.kind=serving",
    "workload.kind=",
    "workload.precision=bf1",
    "workload.global_batch=1.5",
    "workload.global_batch=0",
    "workload.model={layers: 2}",
    "workload.tokens=-1",
    "hardware.devices=many",
    "hardware.devices={min: 4}",
    "hardware.slice={topology: 4by8}",
    "hardware.set.memory=3",
    "strategy.tp=[]",
    "strategy.tp=true",
    "strategy.zero=4",
    "strategy.recompute=ful",
    "strategy.mesh_order=[tp, xp]",
    "strategy.collectives={xx: ring}",
    "software.preset=megatron",
    "constraints.confidence=90",
    "emit=megatron",
]


def with_override(override: str) -> dict[str, object]:
    raw: Value = read_text(BASE).value
    assert isinstance(raw, dict)
    return with_set(raw, [override])


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("override", RIGHT)
def test_what_loads_validates(override: str, validator: jsonschema.Draft202012Validator) -> None:
    raw = with_override(override)
    load(BASE, sets=[override])
    validator.validate(raw)


@pytest.mark.parametrize("override", WRONG)
def test_what_does_not_validate_does_not_load(
    override: str, validator: jsonschema.Draft202012Validator
) -> None:
    assert not validator.is_valid(with_override(override))
    with pytest.raises(SpecError):
        load(BASE, sets=[override])


def test_a_resolved_job_validates(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(dump(load(BASE)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_validate_and_load(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    text = path.read_text(encoding="utf-8")
    validator.validate(read_text(text).value)
    assert load(path) == load(text, base_dir=path.parent)


def test_schema_completes_presets_and_systems() -> None:
    text = str(schema())
    for name in ("llama-3.1-70b", "dgx-h100", "tpu-v5p", "megatron-core", "torchtitan"):
        assert f"'{name}'" in text


def test_schema_is_a_copy() -> None:
    schema().clear()
    assert "properties" in schema()
    assert schema() == schema()


def test_every_key_of_strategy_is_described() -> None:
    definitions = schema()["$defs"]
    assert isinstance(definitions, dict)
    for section in ("Strategy",):
        for key, node in definitions[section]["properties"].items():
            assert node.get("description"), f"{section}.{key}"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("strategy", "sp"), "true or false, or a list of them"),
        (("workload", "task"), "one of pretrain, sft, lora"),
        (("hardware", "levels", 0, "latency_s"), "a number from 0 up to 1e+30"),
        (("hardware", "slice", "topology"), "text like 4x8x8"),
        (("nowhere", "at", "all"), ""),
    ],
)
def test_the_grammar_in_words(path: tuple[str | int, ...], said: str) -> None:
    assert job_grammar().allowed(path) == said


def test_keys_and_choices_of_the_grammar() -> None:
    assert job_grammar().keys(("hardware", "devices")) == ("min", "max")
    assert job_grammar().keys(("strategy", "consistency")) == ("local_sgd", "stale")
    assert "etp" in job_grammar().keys(("strategy", "placement"))
    assert job_grammar().choices(("workload", "task")) == ("pretrain", "sft", "lora")
