"""The configuration module, judged by torchtitan's own names, and its launch script.

Names, keywords, types and choices are those that Python's inspection of torchtitan reports
(tests/data). The module is read, not run: torchtitan needs PyTorch.
"""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.emit.torchtitan import emit

Plan = dict[str, Any]
FACTS = json.loads(
    (Path(__file__).parents[2] / "data" / "torchtitan_names.json").read_text(encoding="utf-8")
)
NAMES = ["dense", "moe", "fsdp", "case", "plain"]
TYPES = {"int": int, "bool": bool, "float": float, "str": str}


def complaints(text: str) -> Iterator[str]:
    """Find what torchtitan would not take: imports, keywords, types, choices."""
    tree = ast.parse(text)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("torchtitan"):
            for alias in node.names:
                known[alias.name] = str(node.module)
                if alias.name not in FACTS["imports"].get(node.module, ()):
                    yield f"{node.module} has no {alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.split(".")[0] in known:
                if name in FACTS["calls"]:
                    yield from call_complaints(name, node, FACTS["calls"][name])
                elif name.endswith(".Config") or name[0].islower():
                    yield f"unknown {name}"


def call_complaints(name: str, node: ast.Call, fields: dict[str, Plan]) -> Iterator[str]:
    given_ = [keyword.arg for keyword in node.keywords]
    given_ += list(fields)[: len(node.args)]
    for field, fact in fields.items():
        if fact.get("required") and field not in given_:
            yield f"{name} lacks {field}"
    for keyword in node.keywords:
        fact = fields.get(str(keyword.arg))
        if fact is None:
            yield f"{name} has no {keyword.arg}"
        elif isinstance(keyword.value, ast.Constant):
            value = keyword.value.value
            if "choices" in fact and value not in fact["choices"]:
                yield f"{name}.{keyword.arg} is {value!r}"
            if "type" in fact and type(value) is not TYPES[fact["type"]]:
                yield f"{name}.{keyword.arg} is a {type(value).__name__}"


def call(text: str, name: str) -> dict[str, Any]:
    """Keywords of the one call of `name` that are literals."""
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]
    assert len(found) == 1
    out: dict[str, Any] = {}
    for keyword in found[0].keywords:
        try:
            out[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            out[str(keyword.arg)] = ast.unparse(keyword.value)
    return out


def constant(text: str, name: str) -> Any:
    """Value of a module's constant."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(name)


@pytest.mark.parametrize("name", NAMES)
def test_torchtitan_has_every_name(plans: dict[str, Plan], name: str) -> None:
    assert list(complaints(emit(plans[name])["sixfold_plan.py"])) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tensor_parallel_degree=", "tensor_degree="),
        ('fsdp_reshard_after_forward="never"', 'fsdp_reshard_after_forward="no"'),
        ("steps=1788140", "steps=1788140.0"),
        ("make_ffn_config", "make_mlp_config"),
        ("hidden_dim=MODEL", "hidden=MODEL"),
    ],
)
def test_a_wrong_name_would_be_caught(plans: dict[str, Plan], old: str, new: str) -> None:
    text = emit(plans["dense"])["sixfold_plan.py"]
    assert old in text
    assert list(complaints(text.replace(old, new)))


@pytest.mark.parametrize("precision", ["fp8", "mxfp8", "nvfp4", "bf16", "fp32", "int8"])
@pytest.mark.parametrize("name", ["moe", "fsdp"])
def test_number_formats(plans: dict[str, Plan], name: str, precision: str) -> None:
    work = plans[name]["job"]["workload"]
    work.update(precision=precision, task="lora", lora={"rank": 8, "targets": "attention"})
    text = emit(plans[name])["sixfold_plan.py"]
    assert list(complaints(text)) == []
    kind = {"fp8": "Float8", "mxfp8": "MXFP8", "nvfp4": "NVFP4"}.get(precision)
    assert ("LinearConverter.Config(" in text) is (kind is not None)
    assert call(text, "LoRAConverter.Config")["rank"] == 8
    param = call(text, "TrainingConfig")["mixed_precision_param"]
    assert param == ("float32" if precision == "fp32" else "bfloat16")
    assert ("# Not expressible: precision int8" in text) is (precision == "int8")


@pytest.mark.parametrize("name", NAMES)
def test_degrees_make_up_the_devices(plans: dict[str, Plan], name: str) -> None:
    plan = plans[name]
    text = emit(plan)["sixfold_plan.py"]
    mesh, strategy = call(text, "ParallelismConfig"), plan["strategy"]
    product = 1
    for key in (
        "data_parallel_replicate_degree",
        "data_parallel_shard_degree",
        "tensor_parallel_degree",
        "context_parallel_degree",
        "pipeline_parallel_degree",
    ):
        product *= mesh[key]
    assert product == plan["job"]["hardware"]["devices"]
    sparse = (
        mesh["data_parallel_shard_degree"]
        * mesh["context_parallel_degree"]
        * mesh["tensor_parallel_degree"]
    )
    assert sparse % mesh["expert_parallel_degree"] == 0
    assert mesh["tensor_parallel_degree"] == strategy["tp"]
    assert mesh["expert_parallel_degree"] == strategy["ep"]


@pytest.mark.parametrize(
    ("name", "shard", "replicate"),
    [("dense", 32, 1), ("fsdp", 8, 8), ("case", 8, 4), ("plain", 1, 2)],
)
def test_shard_groups(plans: dict[str, Plan], name: str, shard: int, replicate: int) -> None:
    """The shard set is dp_shard * cp: 16 ranks in the case of the contract."""
    mesh = call(emit(plans[name])["sixfold_plan.py"], "ParallelismConfig")
    assert mesh["data_parallel_shard_degree"] == shard
    assert mesh["data_parallel_replicate_degree"] == replicate


def test_the_batch_is_in_tokens(plans: dict[str, Plan]) -> None:
    plan = plans["plain"]
    text = emit(plan)["sixfold_plan.py"]
    training = call(text, "TrainingConfig")
    assert training["num_tokens_per_microbatch_per_dp_rank"] == 4 * 2048
    assert training["num_tokens_per_train_step"] == 64 * 2048
    assert call(text, "ParallelismConfig")["num_pp_microbatches"] == 8  # 64 / (2 * 4)


def test_pipeline_chunks(plans: dict[str, Plan]) -> None:
    text = emit(plans["moe"])["sixfold_plan.py"]
    assert constant(text, "LAYERS_PER_CHUNK") == (3, *[4] * 14, 2)
    assert call(text, "ParallelismConfig")["pipeline_parallel_schedule"] == "1F1B"
    text = emit(plans["dense"])["sixfold_plan.py"]
    assert constant(text, "LAYERS_PER_CHUNK") == (4,) * 20
    assert call(text, "ParallelismConfig")["pipeline_parallel_schedule"] == "Interleaved1F1B"
    assert "module_fqns_per_model_part" not in emit(plans["fsdp"])["sixfold_plan.py"]


@pytest.mark.parametrize(
    ("schedule", "name"), [("zero-bubble", "ZBVZeroBubble"), ("dualpipe", "DualPipeV")]
)
def test_v_shaped_schedules_have_two_chunks_a_rank(
    plans: dict[str, Plan], schedule: str, name: str
) -> None:
    plans["plain"]["strategy"]["schedule"] = schedule
    text = emit(plans["plain"])["sixfold_plan.py"]
    assert call(text, "ParallelismConfig")["pipeline_parallel_schedule"] == name
    assert constant(text, "LAYERS_PER_CHUNK") == (6, 6, 6, 6)
    assert f"# Not expressible: schedule {schedule}" in text


@pytest.mark.parametrize(
    ("recompute", "policy", "lost"),
    [
        ("none", None, False),
        ("selective", None, True),
        ("per-operator", "SelectiveAC.Config()", False),
        ("projections", "SelectiveAC.Config()", True),
        ("full", "FullAC.Config()", False),
        ({"full": 2}, "FullAC.Config()", True),
    ],
)
def test_recompute(
    plans: dict[str, Plan], recompute: object, policy: str | None, lost: bool
) -> None:
    plans["fsdp"]["strategy"]["recompute"] = recompute
    text = emit(plans["fsdp"])["sixfold_plan.py"]
    assert call(text, "Trainer.Config")["activation_checkpoint"] == policy
    assert ("# Not expressible" in text) is lost


def test_families(plans: dict[str, Plan]) -> None:
    assert "Llama3Model.Config(" in emit(plans["dense"])["sixfold_plan.py"]
    assert "Qwen3Model.Config(" in emit(plans["case"])["sixfold_plan.py"]
    assert "DeepSeekV3Model.Config(" in emit(plans["moe"])["sixfold_plan.py"]


def test_multi_token_prediction_without_a_pipeline(plans: dict[str, Plan]) -> None:
    strategy = plans["moe"]["strategy"]
    assert "# Not expressible: multi-token" in emit(plans["moe"])["sixfold_plan.py"]
    strategy.update(pp=1, dp=2048, zero_group=2048, layers_per_stage=None)
    plans["moe"]["job"]["workload"]["global_batch"] = 2048
    text = emit(plans["moe"])["sixfold_plan.py"]
    assert "MTPLoss.Config(" in text
    assert "# Not expressible: multi-token" not in text
    assert list(complaints(text)) == []


def test_what_torchtitan_has_not_is_said(plans: dict[str, Plan]) -> None:
    text = emit(plans["plain"])["sixfold_plan.py"]
    for what in (
        "learned positions",
        "an MLP without a gate",
        "biases of linear maps",
        "tied embeddings with pp",
        "precision fp16",
        "full recomputation of 6 layers",
    ):
        assert f"# Not expressible: {what}" in text


def test_the_launch_script(plans: dict[str, Plan], launch: Callable[..., Any]) -> None:
    run = launch(emit(plans["fsdp"])["run.sh"], "--training.steps", "3", split="torchtitan.train")
    assert run.args == ["--module", "sixfold_plan", "--config", "plan", "--training.steps", "3"]
    assert int(run.value("--nnodes")) * int(run.value("--nproc-per-node")) == 64
    assert run.environment["PYTHONPATH"].endswith("/work")


def check_inert(
    plan: Plan, text: str, launch: Callable[..., Any], spoil: Callable[[Plan, str], Plan]
) -> None:
    good, bad = emit(plan), emit(spoil(plan, text))
    assert ast.dump(ast.parse(bad["sixfold_plan.py"])) == ast.dump(
        ast.parse(good["sixfold_plan.py"])
    )
    run = launch(bad["run.sh"], split="torchtitan.train")
    assert run.args == ["--module", "sixfold_plan", "--config", "plan"]


def test_names_are_inert(
    plans: dict[str, Plan],
    launch: Callable[..., Any],
    spoil: Callable[[Plan, str], Plan],
    hostile: tuple[str, ...],
) -> None:
    for text in hostile:
        check_inert(plans["fsdp"], text, launch, spoil)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60))
def test_any_name_is_inert(
    plans: dict[str, Plan],
    launch: Callable[..., Any],
    spoil: Callable[[Plan, str], Plan],
    text: str,
) -> None:
    check_inert(plans["fsdp"], text, launch, spoil)
