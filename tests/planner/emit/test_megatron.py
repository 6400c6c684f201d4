"""The launch script, run with a launcher that writes down what it is given.

Flags are judged by the list of options that Megatron-LM's own parser reports (tests/data).
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.emit import emit_all
from planner.emit.megatron import emit
from planner.errors import SpecError

Plan = dict[str, Any]
DATA = Path(__file__).parents[2] / "data" / "megatron_flags.json"
PARSE: dict[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "str": str,
    "pattern": lambda text: eval(text, {}),  # noqa: S307  lists and tuples of numbers
}
NAMES = ["dense", "moe", "fsdp", "case", "plain"]


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    """Parse the options that Megatron-LM reports; anything else is an error."""
    flags = json.loads(DATA.read_text(encoding="utf-8"))["flags"]
    made = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for flag, fact in flags.items():
        if fact["values"] == 0:
            made.add_argument(flag, action="store_true")
        else:
            nargs = fact["values"] if fact["values"] in ("+", "*") else None
            made.add_argument(
                flag, type=PARSE[fact["type"]], nargs=nargs, choices=fact.get("choices")
            )
    return made


def parsed(parser: argparse.ArgumentParser, args: list[str]) -> argparse.Namespace:
    known, unknown = parser.parse_known_args(args)
    assert unknown == []
    return known


@pytest.mark.parametrize("name", NAMES)
def test_the_parser_reads_the_plan_back(
    plans: dict[str, Plan],
    launch: Callable[..., Any],
    parser: argparse.ArgumentParser,
    name: str,
) -> None:
    plan = plans[name]
    strategy, work = plan["strategy"], plan["job"]["workload"]
    run = launch(emit(plan)["pretrain.sh"], split="pretrain_gpt.py")
    args = parsed(parser, run.args)
    assert args.tensor_model_parallel_size == strategy["tp"]
    assert args.pipeline_model_parallel_size == strategy["pp"]
    assert args.context_parallel_size == strategy["cp"]
    assert args.micro_batch_size == strategy["micro_batch"]
    assert args.global_batch_size == work["global_batch"]
    assert args.seq_length == work["sequence_length"]
    assert args.num_layers == work["model"]["layers"]
    assert args.vocab_size == work["model"]["vocab"]
    assert args.use_distributed_optimizer == (strategy["zero"] >= 1)
    assert args.use_megatron_fsdp == (strategy["zero"] >= 2 and strategy["pp"] == 1)
    assert args.ckpt_format == ("fsdp_dtensor" if args.use_megatron_fsdp else "torch_dist")
    assert args.mock_data is True
    if "moe" in work["model"]:
        assert args.expert_model_parallel_size == strategy["ep"]
        assert args.expert_tensor_parallel_size == strategy["etp"]
        assert len(args.moe_layer_freq) == work["model"]["layers"]
    hosts, each = int(run.value("--nnodes")), int(run.value("--nproc-per-node"))
    assert hosts * each == plan["job"]["hardware"]["devices"]
    assert each == 8


def test_a_misspelt_flag_would_be_caught(parser: argparse.ArgumentParser) -> None:
    with pytest.raises(AssertionError):
        parsed(parser, ["--tensor-parallel-size", "8"])
    with pytest.raises(argparse.ArgumentError):
        parsed(parser, ["--recompute-granularity", "some"])
    with pytest.raises(argparse.ArgumentError):
        parsed(parser, ["--num-layers", "eighty"])


@pytest.mark.parametrize(
    ("name", "value"), [("dense", "1"), ("moe", None), ("fsdp", None), ("case", "1")]
)
def test_connections_as_megatron_demands(
    plans: dict[str, Plan], launch: Callable[..., Any], name: str, value: str | None
) -> None:
    """Megatron wants 1 with tp or cp on Hopper, and refuses 1 with FSDP."""
    script = emit(plans[name])["pretrain.sh"]
    run = launch(script, split="pretrain_gpt.py")
    assert run.environment.get("CUDA_DEVICE_MAX_CONNECTIONS") == value


def test_the_environment_gives_data_tokenizer_and_checkpoints(
    plans: dict[str, Plan], launch: Callable[..., Any], parser: argparse.ArgumentParser
) -> None:
    run = launch(
        emit(plans["dense"])["pretrain.sh"],
        "--train-iters",
        "5",
        split="pretrain_gpt.py",
        DATA_PATH="/data/my corpus",
        TOKENIZER_MODEL="/tok;rm",
        CHECKPOINT_DIR="/ckpt/$X",
        NODE_RANK="3",
        MEGATRON_PATH="/opt/Mega tron",
    )
    args = parsed(parser, run.args)
    assert args.data_path == ["/data/my corpus"]
    assert args.tokenizer_model == "/tok;rm"
    assert args.save == args.load == "/ckpt/$X"
    assert args.train_iters == 5  # arguments of the script come last
    assert args.mock_data is False
    assert run.value("--node-rank") == "3"


def test_the_run_follows_tokens_and_checkpoints(
    plans: dict[str, Plan], launch: Callable[..., Any], parser: argparse.ArgumentParser
) -> None:
    run = launch(emit(plans["dense"])["pretrain.sh"], split="pretrain_gpt.py")
    args = parsed(parser, run.args)
    assert args.train_iters == 1_788_140
    assert args.save_interval == 180
    assert args.lr_warmup_iters < args.train_iters


def test_a_long_layout_comes_out_whole(
    plans: dict[str, Plan],
    planned: Callable[..., Plan],
    launch: Callable[..., Any],
    parser: argparse.ArgumentParser,
) -> None:
    model = plans["dense"]["job"]["workload"]["model"] | {"layers": 126}
    strategy = {"tp": 8, "pp": 16, "vpp": 4, "schedule": "interleaved"}
    plan = planned("405b", model, strategy, devices=16384)
    run = launch(emit(plan)["pretrain.sh"], split="pretrain_gpt.py")
    chunks = parsed(parser, run.args).pipeline_model_parallel_layout.split("|")
    assert len(chunks) == 64
    assert sum(int(chunk.strip("EL").removeprefix("t*")) for chunk in chunks) == 126
    assert chunks[0].startswith("E")
    assert chunks[-1].endswith("L")


def test_packing_sft_and_adapters(
    plans: dict[str, Plan], launch: Callable[..., Any], parser: argparse.ArgumentParser
) -> None:
    work = plans["fsdp"]["job"]["workload"]
    work.update(packing=True, task="sft", optimizer="adafactor")
    script = emit(plans["fsdp"])["pretrain.sh"]
    trial = parsed(parser, launch(script, split="pretrain_gpt.py").args)
    assert trial.dataloader_inter_document_masking is True
    assert trial.optimizer == "adam"
    assert trial.mock_data is True and trial.sft is False  # no conversations are synthetic
    given = {"DATA_PATH": "chats.jsonl", "TOKENIZER_MODEL": "tok"}
    args = parsed(parser, launch(script, split="pretrain_gpt.py", **given).args)
    assert args.sft is True
    assert args.tokenizer_type == "SFTTokenizer"  # the one that can read a conversation
    assert args.sft_tokenizer_prompt_format == "default"
    assert "# Not expressible: optimizer adafactor" in script


def test_adapters_are_left_to_those_that_can(plans: dict[str, Plan]) -> None:
    """The launch script trains all weights: a lora plan in it would take other memory and time."""
    plans["fsdp"]["job"]["workload"]["task"] = "lora"
    with pytest.raises(SpecError, match="megatron cannot do task lora; allowed: torchtitan, jax"):
        emit_all(plans["fsdp"], ["megatron"])
    assert "LoRAConverter" in str(emit_all(plans["fsdp"], ["torchtitan"]))


@pytest.mark.parametrize(
    ("system", "asked", "given", "said"),
    [
        ("dgx-v100", "bf16", ["--fp16"], "bf16 on dgx-v100. Nearest: fp16"),
        ("dgx-v100", "fp16", ["--fp16"], ""),
        ("dgx-a100-80gb", "fp8", ["--bf16"], "fp8 on dgx-a100-80gb. Nearest: bf16"),
        ("dgx-h100", "nvfp4", ["--bf16", "--fp8-recipe", "tensorwise"], "Nearest: fp8"),
        ("dgx-h100", "mxfp8", ["--bf16", "--fp8-recipe", "tensorwise"], "Nearest: fp8"),
        ("dgx-b200", "mxfp8", ["--bf16", "--fp8-recipe", "mxfp8"], ""),
        ("dgx-b200", "nvfp4", ["--bf16", "--fp4-recipe", "nvfp4"], ""),
    ],
)
def test_numbers_are_in_formats_that_the_machine_has(
    plans: dict[str, Plan], launch: Callable[..., Any], system: str, asked: str, given: list[str],
    said: str,
) -> None:  # fmt: skip
    job = plans["plain"]["job"]
    job["hardware"]["system"], job["workload"]["precision"] = system, asked
    script = emit(plans["plain"])["pretrain.sh"]
    args = launch(script, split="pretrain_gpt.py").args
    known = {"--fp16", "--bf16", "--fp8-recipe", "--fp4-recipe"}
    assert [arg for arg in args if arg in known] == [arg for arg in given if arg in known]
    assert set(given) <= set(args)
    assert ("Not expressible" in script) == bool(said)
    assert said in script


@pytest.mark.parametrize(("kept", "flag"), [("fp32", True), ("bf16", False)])
def test_gradients_of_fp16_are_in_fp32_where_the_plan_keeps_them_so(
    plans: dict[str, Plan], launch: Callable[..., Any], kept: str, flag: bool
) -> None:
    job = plans["plain"]["job"]
    job["workload"]["precision"], job["software"] = "fp16", {"grad_dtype": kept}
    args = launch(emit(plans["plain"])["pretrain.sh"], split="pretrain_gpt.py").args
    assert ("--accumulate-allreduce-grads-in-fp32" in args) is flag
    assert "--grad-reduce-in-bf16" not in args  # which fp16 ignores


def test_a_machine_without_cuda_is_said(plans: dict[str, Plan]) -> None:
    plans["dense"]["job"]["hardware"]["system"] = "tpu-v5p"
    assert "# Not expressible: machines by google." in emit(plans["dense"])["pretrain.sh"]
    plans["dense"]["job"]["hardware"]["system"] = "dgx-h100"
    assert "machines by" not in emit(plans["dense"])["pretrain.sh"]


def test_one_host_needs_no_address(plans: dict[str, Plan], launch: Callable[..., Any]) -> None:
    run = launch(emit(plans["plain"])["pretrain.sh"], split="pretrain_gpt.py", MASTER_ADDR="")
    assert run.value("--master-addr") == "localhost"


def check_inert(
    plan: Plan, text: str, launch: Callable[..., Any], spoil: Callable[[Plan, str], Plan]
) -> None:
    """Emit with `text` as every name: the same arguments, and nothing else happens."""
    good = launch(emit(plan)["pretrain.sh"], split="pretrain_gpt.py")
    bad = launch(emit(spoil(plan, text))["pretrain.sh"], split="pretrain_gpt.py")
    assert bad.args == good.args
    assert bad.launcher == good.launcher
    name = bad.output.removesuffix(": host 0 of 8\n")
    assert name == "".join(c if c.isprintable() else " " for c in text)


def test_names_are_inert(
    plans: dict[str, Plan],
    launch: Callable[..., Any],
    spoil: Callable[[Plan, str], Plan],
    hostile: tuple[str, ...],
) -> None:
    for text in hostile:
        check_inert(plans["fsdp"], text, launch, spoil)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60))
def test_any_name_is_inert(
    plans: dict[str, Plan],
    launch: Callable[..., Any],
    spoil: Callable[[Plan, str], Plan],
    text: str,
) -> None:
    check_inert(plans["fsdp"], text, launch, spoil)
