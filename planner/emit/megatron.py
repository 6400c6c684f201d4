"""Megatron-Core: one launch script with every argument that the plan decides.

What Megatron-Core cannot do stands at the head of the script as `# Not expressible: ...` with the
nearest that it can; what training needs and the plan does not say, as `# Not from the plan: ...`.
Names and choices were checked with Megatron-LM's own parser (docs/targets.md).
"""

from collections.abc import Mapping, Sequence

from planner.emit.megatron_kernels import kernel_args, precision_args
from planner.emit.megatron_model import Arg, model_args, moe_args
from planner.emit.megatron_parallel import (
    memory_args,
    overlaps_experts,
    parallel_args,
    uses_fsdp,
)
from planner.emit.pools import note_pools
from planner.emit.text import Header, one_line, shell_word
from planner.emit.view import PlanView, read

__all__ = ["NAME", "TARGET", "TASKS", "emit"]

NAME = "megatron"
TARGET = "Megatron-Core 0.20.0 (Megatron-LM commit d98e8a64)"
TASKS: tuple[str, ...] = ("pretrain", "sft")
"""Its training script has no low-rank adapters."""

TRIAL_STEPS = 100
"""Steps where the job says nothing of the run's tokens."""

OPTIMIZERS = {"adam": "adam", "adamw": "adam", "sgd": "sgd", "muon": "muon", "lion": "lion"}


def emit(plan: Mapping[str, object]) -> dict[str, str]:
    """Return the launch script of a training plan, by path."""
    view = read(plan)
    return {"pretrain.sh": _script(view)}


def _script(view: PlanView) -> str:
    header = _header(view)
    groups: dict[str, list[Arg]] = {
        "MODEL_ARGS": model_args(view, header),
        "MOE_ARGS": moe_args(view, header),
        "PARALLEL_ARGS": parallel_args(view, header),
        "MEMORY_ARGS": memory_args(view, header),
        "PRECISION_ARGS": precision_args(view, header) + kernel_args(view, header),
        "BATCH_ARGS": _batch(view, header),
        "TRAINING_ARGS": _training(view, header),
        "CHECKPOINT_ARGS": _checkpoint(view, header),
    }
    groups = {name: args for name, args in groups.items() if args}
    lines = ["#!/usr/bin/env bash", *header.lines(), "", "set -euo pipefail", ""]
    lines += _environment(view) + [""]
    for name, args in groups.items():
        lines += [*_array(name, args), ""]
    lines += _data(view) + [""] + _launch([*groups, "DATA_ARGS"])
    return "\n".join(lines) + "\n"


def _header(view: PlanView) -> Header:
    mesh = view.mesh
    header = Header(
        f"{TARGET}: launch script of a plan by Sixfold",
        [
            f"Job {one_line(view.job.name)}: {one_line(view.model.name)} on {mesh.devices} devices"
            f" of {one_line(view.system or 'a system that the plan leaves open')}.",
            f"tp {mesh.tp}, cp {mesh.cp}, pp {mesh.pp} (vpp {mesh.vpp}), dp {mesh.dp},"
            f" ep {mesh.ep}, etp {mesh.etp}, zero {mesh.zero} over {mesh.zero_group} ranks,"
            f" {mesh.microbatches} microbatches of {mesh.micro_batch}.",
            "Start it once on each host. MASTER_ADDR, NODE_RANK, MEGATRON_PATH, DATA_PATH,"
            " TOKENIZER_MODEL and CHECKPOINT_DIR are read from the environment; arguments of this"
            " script are passed on last and so override.",
        ],
    )
    note_pools(view, header)
    if view.vendor not in ("nvidia", ""):
        header.not_expressible(f"machines by {view.vendor}", "CUDA devices; ROCm has its own fork")
    return header


def _environment(view: PlanView) -> list[str]:
    mesh = view.mesh
    hosts, rest = divmod(mesh.devices, view.host_devices)
    lines = [
        f"JOB_NAME={shell_word(view.job.name)}",
        f"NODES={hosts + bool(rest)}",
        f"DEVICES_PER_NODE={view.host_devices}",
        'NODE_RANK="${NODE_RANK:-${SLURM_NODEID:-0}}"',
    ]
    if uses_fsdp(mesh):
        lines.append("unset CUDA_DEVICE_MAX_CONNECTIONS  # FSDP refuses the value 1")
    elif overlaps_experts(view):
        lines.append("export CUDA_DEVICE_MAX_CONNECTIONS=32  # streams of the expert exchange")
    elif mesh.tp > 1 or mesh.cp > 1:
        lines.append("export CUDA_DEVICE_MAX_CONNECTIONS=1  # keeps communication before compute")
    if "activations" in mesh.offload:
        lines.append("export NVTE_CPU_OFFLOAD_V1=1")
    return lines


def _array(name: str, args: Sequence[Arg]) -> list[str]:
    body = ["    " + " ".join(shell_word(word) for word in arg) for arg in args]
    return [f"{name}=(", *body, ")"]


def _batch(view: PlanView, header: Header) -> list[Arg]:
    steps = view.steps or TRIAL_STEPS
    if view.steps is None:
        header.chosen(f"the length of the run, {TRIAL_STEPS} steps (the job gives no tokens)")
    args: list[Arg] = [
        ("--micro-batch-size", str(view.mesh.micro_batch)),
        ("--global-batch-size", str(view.workload.global_batch)),
        ("--train-iters", str(steps)),
    ]
    if view.workload.packing:
        args += [("--reset-position-ids",), ("--dataloader-inter-document-masking",)]
        args.append(("--eod-mask-loss",))
    elif view.workload.sequence_lengths is not None:
        header.not_expressible("documents padded to the sequence", "documents that follow on")
    return args


def _training(view: PlanView, header: Header) -> list[Arg]:
    """Choices of training that no plan makes; they change neither speed nor memory."""
    steps = view.steps or TRIAL_STEPS
    optimizer = view.workload.optimizer
    on_host = "optimizer" in view.mesh.offload and optimizer not in ("adam", "adamw")
    sharded = uses_fsdp(view.mesh) and optimizer in ("muon", "lion")
    if optimizer not in OPTIMIZERS or sharded or on_host:
        where = "on the host" if on_host else "with this sharding"
        header.not_expressible(f"optimizer {optimizer} {where}", "adam")
        optimizer = "adam"
    header.chosen("learning rate, its schedule, weight decay, clipping, dropout (TRAINING_ARGS)")
    args: list[Arg] = [
        ("--optimizer", OPTIMIZERS[optimizer]),
        ("--lr", "1.5e-4"),
        ("--min-lr", "1.5e-5"),
        ("--lr-decay-style", "cosine"),
        ("--lr-warmup-iters", str(min(2000, steps // 50))),
        ("--weight-decay", "0.1"),
        ("--clip-grad", "1.0"),
        ("--adam-beta1", "0.9"),
        ("--adam-beta2", "0.95"),
        ("--attention-dropout", "0.0"),
        ("--hidden-dropout", "0.0"),
        ("--log-interval", "1"),
        ("--log-throughput",),
        ("--eval-iters", "0"),
    ]
    if view.workload.task == "sft":
        header.chosen(
            "the chat format (SFT_PROMPT_FORMAT); with DATA_PATH, a JSON Lines file of messages,"
            " conversations are packed and attention stays inside each"
        )
    return args


def _checkpoint(view: PlanView, header: Header) -> list[Arg]:
    every = view.checkpoint_steps
    if every is None:
        header.chosen("the checkpoint interval, 1000 steps")
    args: list[Arg] = [
        ("--ckpt-format", "fsdp_dtensor" if uses_fsdp(view.mesh) else "torch_dist"),
        ("--save-interval", str(every or 1000)),
    ]
    if view.job.failure.checkpoint_async:
        args += [("--async-save",), ("--use-persistent-ckpt-worker",)]
    return args


def _data(view: PlanView) -> list[str]:
    """Take data and tokenizer from the environment; without them, synthetic tokens.

    Conversations (`--sft`) need a tokenizer of their own, and there are no synthetic ones.
    """
    kind = ["        --tokenizer-type HuggingFaceTokenizer"]
    if view.workload.task == "sft":
        form = '--sft-tokenizer-prompt-format "${SFT_PROMPT_FORMAT:-default}"'
        kind = ["        --sft --tokenizer-type SFTTokenizer", f"        {form}"]
    return [
        'if [[ -n "${DATA_PATH:-}" ]]; then',
        "    DATA_ARGS=(",
        '        --data-path "$DATA_PATH" --split 99,1,0',
        *kind,
        '        --tokenizer-model "${TOKENIZER_MODEL:?give the path or name of a tokenizer}"',
        "    )",
        "else  # synthetic tokens: for a trial of speed and memory",
        "    DATA_ARGS=(",
        f"        --mock-data --tokenizer-type NullTokenizer --vocab-size {view.model.vocab}",
        "    )",
        "fi",
        'if [[ -n "${CHECKPOINT_DIR:-}" ]]; then',
        '    DATA_ARGS+=(--save "$CHECKPOINT_DIR" --load "$CHECKPOINT_DIR")',
        "fi",
    ]


def _launch(arrays: Sequence[str]) -> list[str]:
    return [
        'if [[ "$NODES" -gt 1 ]]; then',
        '    : "${MASTER_ADDR:?give the address of the host with NODE_RANK 0}"',
        "fi",
        'echo "$JOB_NAME: host $NODE_RANK of $NODES"',
        "exec torchrun \\",
        '    --nnodes "$NODES" --nproc-per-node "$DEVICES_PER_NODE" --node-rank "$NODE_RANK" \\',
        '    --master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" \\',
        '    "${MEGATRON_PATH:-.}/pretrain_gpt.py" \\',
        *(f'    "${{{name}[@]}}" \\' for name in arrays),
        '    "$@"',
    ]
