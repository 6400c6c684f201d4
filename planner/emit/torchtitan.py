"""torchtitan: a configuration function and its launch script.

torchtitan reads no file of settings: a run is a Python function that returns a whole
`Trainer.Config`. The emitted module builds the plan's model from torchtitan's own parts, so any
size works. What torchtitan cannot do stands at its head as `# Not expressible: ...`.
"""

from collections.abc import Mapping

from planner.emit.pools import note_pools
from planner.emit.render import Source, render
from planner.emit.text import Header, one_line, shell_word
from planner.emit.torchtitan_mesh import parallelism, recompute_source
from planner.emit.torchtitan_model import conversions, family_of, model_values
from planner.emit.view import PlanView, read

__all__ = ["NAME", "TARGET", "TASKS", "emit"]

NAME = "torchtitan"
TARGET = "torchtitan 0.2.2 (commit b5bcd76c)"
TASKS: tuple[str, ...] = ("pretrain", "sft", "lora")
TRIAL_STEPS = 100
"""Steps where the job says nothing of the run's tokens."""


def emit(plan: Mapping[str, object]) -> dict[str, str]:
    """Return the configuration module and the launch script of a training plan, by path."""
    view = read(plan)
    return {"sixfold_plan.py": _module(view), "run.sh": _launch(view)}


def _module(view: PlanView) -> str:
    header = _header(view)
    mesh, workload, model = view.mesh, view.workload, view.model
    values: dict[str, object] = {
        **model_values(view, header),
        **conversions(view, header),
        "parallelism": parallelism(view, header),
        "training": _training(view, header),
        "compile": _compile(view, header),
        "recompute": Source(recompute_source(view, header)),
        "loss": Source(_loss(view, header)),
        "sequence_length": workload.sequence_length,
        "steps": view.steps or TRIAL_STEPS,
        "pipelined": mesh.pp > 1,
        "checkpoint_steps": view.checkpoint_steps or 1000,
        "async_mode": "async_with_pinned_mem" if view.job.failure.checkpoint_async else "disabled",
        "force_balance": model.moe is not None and model.moe.imbalance == 1.0,
    }
    _unsaid(view, header)
    return render("torchtitan.py.j2", header=Source("\n".join(header.lines())), **values)


def _header(view: PlanView) -> Header:
    mesh = view.mesh
    header = Header(
        f"{TARGET}: configuration of a plan by Sixfold",
        [
            f"Job {one_line(view.job.name)}: {one_line(view.model.name)} on {mesh.devices} devices"
            f" of {one_line(view.system or 'a system that the plan leaves open')}.",
            f"tp {mesh.tp}, cp {mesh.cp}, pp {mesh.pp} (vpp {mesh.vpp}), dp {mesh.dp},"
            f" ep {mesh.ep}, etp {mesh.etp}, zero {mesh.zero} over {mesh.zero_group} ranks,"
            f" {mesh.microbatches} microbatches of {mesh.micro_batch}.",
            "HF_ASSETS_PATH (tokenizer), DATASET and CHECKPOINT_DIR are read from the environment.",
        ],
    )
    note_pools(view, header)
    return header


def _training(view: PlanView, header: Header) -> dict[Source, object]:
    workload, switches = view.workload, view.switches
    sequence = workload.sequence_length
    if view.steps is None:
        header.chosen(f"the length of the run, {TRIAL_STEPS} steps (the job gives no tokens)")
    if not switches.master_weights:
        header.chosen("weights, gradients and optimizer state all in bf16 (no fp32 copy)")
    if workload.precision == "fp32":
        param = "float32"
    else:
        param = "bfloat16"
        if view.precision == "fp16":
            header.not_expressible("precision fp16", "bf16, emulated where units lack")
    if switches.grad_dtype != "fp32":
        header.not_expressible(f"gradients reduced in {switches.grad_dtype}", "fp32")
    return _keys(
        num_tokens_per_microbatch_per_dp_rank=view.mesh.micro_batch * sequence,
        num_tokens_per_train_step=workload.global_batch * sequence,
        max_context_length=sequence,
        steps=view.steps or TRIAL_STEPS,
        dtype="float32" if switches.master_weights or param == "float32" else "bfloat16",
        mixed_precision_param=param,
        enable_cpu_offload=_offload(view, header),
        disable_cuda_graphs=True,
    )


def _offload(view: PlanView, header: Header) -> bool:
    offload = view.mesh.offload
    if "activations" in offload:
        header.not_expressible("activations kept in the host's memory", "kept on the device")
    if offload and set(offload) != {"activations"}:
        if "parameters" not in offload or "optimizer" not in offload:
            header.not_expressible(
                f"offload of {', '.join(offload)} alone", "parameters and optimizer together"
            )
        return True
    return False


def _compile(view: PlanView, header: Header) -> dict[Source, object]:
    mesh, switches = view.mesh, view.switches
    components = ["model", "loss"]
    if switches.compile and mesh.pp > 1 and mesh.schedule in ("zero-bubble", "dualpipe"):
        components = ["loss"]
        header.not_expressible(f"a compiled model under schedule {mesh.schedule}", "eager layers")
    overlapped = switches.overlap_tp and mesh.tp > 1
    if overlapped and not (switches.compile and "model" in components):
        header.not_expressible("tp exchange overlapped in an eager step", "not overlapped")
        overlapped = False
    return _keys(
        enable=switches.compile, components=components, enable_async_tensor_parallel=overlapped
    )


def _loss(view: PlanView, header: Header) -> str:
    vocab = f"global_vocab_size={view.model.vocab}"
    if _has_mtp(view):
        if view.switches.chunked_loss:
            header.not_expressible("a chunked loss with multi-token prediction", "logits whole")
        return f"MTPLoss.Config({vocab})"
    whole = f"CrossEntropyLoss.Config({vocab})"
    return f"ChunkedLossWrapper.Config(loss_fn={whole})" if view.switches.chunked_loss else whole


def _has_mtp(view: PlanView) -> bool:
    mesh = view.mesh
    mla = family_of(view.model) == "deepseek_v3"
    return bool(view.model.mtp_layers) and mla and mesh.pp == 1 and mesh.cp == 1


def _unsaid(view: PlanView, header: Header) -> None:
    """Note what torchtitan always does, whatever the plan says."""
    workload, mesh = view.workload, view.mesh
    if workload.optimizer not in ("adam", "adamw"):
        header.not_expressible(f"optimizer {workload.optimizer}", "adamw")
    if not workload.packing:
        header.chosen("attention stays inside documents, as torchtitan always has it")
    if mesh.stages or mesh.sharding:
        header.not_expressible("choices by stage or by operator", "the same choice everywhere")
    if mesh.consistency != "synchronous":
        header.not_expressible(f"consistency {one_line(mesh.consistency)}", "synchronous")
    if mesh.collectives:
        said = ", ".join(f"{axis} {name}" for axis, name in mesh.collectives)
        header.not_expressible(f"the algorithm of each axis ({one_line(said)})", "NCCL's choice")
    header.chosen("no CUDA graphs: the plan prices none")
    header.chosen("learning rate and its schedule, rotary base, weight decay, clipping")


def _keys(**values: object) -> dict[Source, object]:
    return {Source(key): value for key, value in values.items()}


def _launch(view: PlanView) -> str:
    mesh = view.mesh
    lines = [
        "#!/usr/bin/env bash",
        f"# {TARGET}: launch script of a plan by Sixfold",
        f"# Job {one_line(view.job.name)}, {mesh.devices} devices. Start it once on each host.",
        "# MASTER_ADDR and NODE_RANK are read from the environment; arguments are passed on.",
        "",
        "set -euo pipefail",
        "",
        f"JOB_NAME={shell_word(view.job.name)}",
        f"NODES={mesh.devices // view.host_devices}",
        f"DEVICES_PER_NODE={view.host_devices}",
        'NODE_RANK="${NODE_RANK:-${SLURM_NODEID:-0}}"',
        'HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"',
        'export PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}"',
        'export PYTORCH_ALLOC_CONF="expandable_segments:True"',
        "",
        'if [[ "$NODES" -gt 1 ]]; then',
        '    : "${MASTER_ADDR:?give the address of the host with NODE_RANK 0}"',
        "fi",
        'echo "$JOB_NAME: host $NODE_RANK of $NODES"',
        "exec torchrun \\",
        '    --nnodes "$NODES" --nproc-per-node "$DEVICES_PER_NODE" --node-rank "$NODE_RANK" \\',
        '    --master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" \\',
        '    -m torchtitan.train --module sixfold_plan --config plan "$@"',
    ]
    return "\n".join(lines) + "\n"
