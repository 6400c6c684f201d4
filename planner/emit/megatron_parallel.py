"""Degrees, sharding, overlap and recomputation as arguments of Megatron-Core.

Says in the header what the plan chose and Megatron-Core cannot do, with the nearest that it can.
Flags and their rules are those of `megatron/training/arguments.py`, `transformer_config.py` and
`parallel_state.py` (rank order tp-cp-ep-dp-pp, or tp-cp-ep-pp-dp).

Parts: `parallel_args`, `memory_args`, `pipeline_layout`, `overlaps_experts`, `uses_fsdp`.
"""

import math

from planner.emit.megatron_context import context_args
from planner.emit.megatron_model import Arg
from planner.emit.text import Header, one_line
from planner.emit.view import Mesh, PlanView

__all__ = [
    "memory_args",
    "overlaps_experts",
    "parallel_args",
    "pipeline_layout",
    "uses_fsdp",
]

PP_LAST = ("tp", "cp", "dp", "pp")
DP_LAST = ("tp", "cp", "pp", "dp")


def uses_fsdp(mesh: Mesh) -> bool:
    """Whether the plan needs Megatron-FSDP: ZeRO 2 and 3 are not in the distributed optimizer.

    It lays its groups out over all devices, so that no pipeline runs with it.
    """
    return mesh.zero >= 2 and mesh.pp == 1


def parallel_args(view: PlanView, header: Header) -> list[Arg]:
    """Degrees of the mesh, rank order, sharding and overlap."""
    mesh = view.mesh
    args: list[Arg] = [
        ("--tensor-model-parallel-size", str(mesh.tp)),
        ("--pipeline-model-parallel-size", str(mesh.pp)),
        ("--context-parallel-size", str(mesh.cp)),
    ]
    if mesh.tp > 1 and (mesh.sp or mesh.ep > 1):
        args.append(("--sequence-parallel",))
        if not mesh.sp:
            header.not_expressible("tp with ep but no sequence parallelism", "--sequence-parallel")
    if view.switches.overlap_tp and mesh.tp > 1:
        if mesh.sp:
            args.append(("--tp-comm-overlap",))
        else:
            header.not_expressible("tp exchange overlapped without sp", "not overlapped")
    args += context_args(view, header) + _pipeline(view, header) + _experts(view, header)
    args += _rank_order(view, header) + _sharding(view, header)
    _unsaid(mesh, header)
    return args


def pipeline_layout(layout: tuple[int, ...], mtp_layers: int) -> str:
    """Return Megatron's layout string: E embedding, t decoder layer, m prediction layer, L loss.

    >>> pipeline_layout((3, 4, 4, 3), 0)
    'Et*3|t*4|t*4|t*3L'
    """
    chunks = [f"t*{layers}" if layers else "" for layers in layout]
    chunks[0] = "E" + chunks[0]
    chunks[-1] += (f"m*{mtp_layers}" if mtp_layers else "") + "L"
    return "|".join(chunks)


def _pipeline(view: PlanView, header: Header) -> list[Arg]:
    mesh = view.mesh
    if mesh.schedule not in ("1f1b", "interleaved") and mesh.pp > 1:
        nearest = "interleaved 1F1B" if mesh.vpp > 1 else "1F1B"
        header.not_expressible(f"schedule {mesh.schedule}", nearest)
    if mesh.pp == 1:
        return []
    args: list[Arg] = []
    if not mesh.even:
        layout = pipeline_layout(mesh.layout, view.model.mtp_layers)
        args.append(("--pipeline-model-parallel-layout", layout))
    elif mesh.vpp > 1:
        args.append(("--num-layers-per-virtual-pipeline-stage", str(mesh.layout[0])))
    return args + _interleaving(view, header) if mesh.vpp > 1 else args


def _interleaving(view: PlanView, header: Header) -> list[Arg]:
    mesh, args = view.mesh, list[Arg]()
    if not view.switches.overlap_p2p:
        if mesh.pp > 2:
            args.append(("--no-overlap-p2p-communication",))
        else:
            header.not_expressible("transfers not overlapped on two stages", "overlapped")
    sizes = range(mesh.pp, mesh.microbatches + 1)
    fits = [n for n in sizes if mesh.microbatches % n == 0 or mesh.microbatches % n >= mesh.pp]
    if not fits:
        header.not_expressible("fewer microbatches than stages, interleaved", "none; it is refused")
    elif fits[0] != mesh.pp:
        args.append(("--microbatch-group-size-per-virtual-pipeline-stage", str(fits[0])))
    return args


def _experts(view: PlanView, header: Header) -> list[Arg]:
    mesh = view.mesh
    if view.model.moe is None:
        return []
    args: list[Arg] = [
        ("--expert-model-parallel-size", str(mesh.ep)),
        ("--expert-tensor-parallel-size", str(mesh.etp)),
    ]
    if overlaps_experts(view):
        args.append(("--overlap-moe-expert-parallel-comm",))
        if mesh.schedule in ("zero-bubble", "dualpipe"):
            args.append(("--delay-wgrad-compute",))
    elif view.switches.overlap_ep and mesh.ep > 1:
        why = _no_ep_overlap(view)
        header.not_expressible(f"overlapped expert exchange {why}", "not overlapped")
    return args


def overlaps_experts(view: PlanView) -> bool:
    """Whether the exchange of experts is overlapped, which Megatron-Core does not always allow."""
    return view.switches.overlap_ep and view.mesh.ep > 1 and not _no_ep_overlap(view)


def _no_ep_overlap(view: PlanView) -> str:
    """Why Megatron-Core refuses --overlap-moe-expert-parallel-comm, or nothing."""
    mesh = view.mesh
    if mesh.pp > 1 and mesh.vpp == 1:
        return "in a pipeline that is not interleaved"
    if mesh.recompute == "full":
        return "with full recomputation"
    if "moe" in mesh.recompute_modules:
        return "with recomputed experts"
    if view.model.mtp_layers > 1:
        return "with several multi-token-prediction layers"
    return "in fp32" if view.workload.precision == "fp32" else ""


def _rank_order(view: PlanView, header: Header) -> list[Arg]:
    """Two orders of ranks; the second asks for as many replicas of experts as of the rest."""
    mesh = view.mesh
    used = tuple(axis for axis in mesh.order if getattr(mesh, axis) > 1)
    ranks = mesh.tp if view.model.moe is None else mesh.ep * mesh.etp
    expert_dp = mesh.tp * mesh.cp * mesh.dp // ranks
    if used == tuple(axis for axis in PP_LAST if axis in used):
        return []
    if used == tuple(axis for axis in DP_LAST if axis in used) and expert_dp == mesh.dp:
        return [("--use-tp-pp-dp-mapping",)]
    header.not_expressible(f"rank order {'-'.join(mesh.order)}, innermost first", "-".join(PP_LAST))
    return []


def _sharding(view: PlanView, header: Header) -> list[Arg]:
    mesh, switches, args = view.mesh, view.switches, list[Arg]()
    if mesh.zero >= 2 and not uses_fsdp(mesh):
        header.not_expressible(f"zero {mesh.zero} in a pipeline", "zero 1")
    if mesh.zero:
        args.append(("--use-distributed-optimizer",))
        args += _instances(view, header)
    elif "optimizer" in mesh.offload:
        args.append(("--use-distributed-optimizer",))  # else no optimizer on the host is made
        if mesh.dp * mesh.cp > 1:
            header.not_expressible("zero 0 with the optimizer on the host", "zero 1")
    if uses_fsdp(mesh):
        return args + _fsdp(view, header)
    if switches.overlap_grad_reduce:
        args.append(("--overlap-grad-reduce",))
    if switches.overlap_param_gather and mesh.zero:
        if switches.overlap_grad_reduce:
            args.append(("--overlap-param-gather",))
        else:
            header.not_expressible("parameter gathers overlapped, gradients not", "neither")
    return args


def _fsdp(view: PlanView, header: Header) -> list[Arg]:
    """Megatron-FSDP as its guide sets it: double buffers, and a loss that scales no gradients."""
    mesh, switches = view.mesh, view.switches
    strategy = "optim_grads" if mesh.zero == 2 else "optim_grads_params"
    args: list[Arg] = [
        ("--use-megatron-fsdp",),
        ("--data-parallel-sharding-strategy", strategy),
        ("--no-gradient-accumulation-fusion",),
        ("--init-model-with-meta-device",),
        ("--calculate-per-token-loss",),
    ]
    if not overlaps_experts(view):  # which takes no double buffers
        args.append(("--fsdp-double-buffer",))
    if mesh.replicas > 1:
        args.append(("--outer-dp-sharding-strategy", "no_shard"))
    if not (switches.overlap_grad_reduce and switches.overlap_param_gather):
        header.not_expressible(f"zero {mesh.zero} without overlap", "overlapped: FSDP's way")
    return [*args, ("--overlap-grad-reduce",), ("--overlap-param-gather",)]


def _instances(view: PlanView, header: Header) -> list[Arg]:
    """Shard sets smaller than all dp*cp ranks: copies of the distributed optimizer (HSDP)."""
    mesh = view.mesh
    if mesh.replicas == 1:
        return []
    expert_ranks = mesh.tp * mesh.cp * mesh.dp // (mesh.ep * mesh.etp)
    if view.model.moe is not None and expert_ranks % mesh.replicas:
        header.not_expressible(
            f"{mesh.replicas} copies of the shards over {expert_ranks} ranks of an expert",
            "one shard set over all ranks",
        )
        return []
    return [("--num-distributed-optimizer-instances", str(mesh.replicas))]


def _unsaid(mesh: Mesh, header: Header) -> None:
    """Note choices of the plan that no argument takes."""
    if mesh.consistency != "synchronous":
        header.not_expressible(f"consistency {one_line(mesh.consistency)}", "synchronous")
    if mesh.stages or mesh.sharding:
        header.not_expressible("choices by stage or by operator", "the same choice everywhere")
    if mesh.collectives:
        said = ", ".join(f"{axis} {name}" for axis, name in mesh.collectives)
        header.not_expressible(f"the algorithm of each axis ({one_line(said)})", "NCCL's choice")
    if mesh.placement:
        said = ", ".join(f"{axis} within {level}" for axis, level in mesh.placement)
        header.chosen(f"how hosts are ranked: keep {one_line(said)} by the order of NODE_RANK")


def memory_args(view: PlanView, header: Header) -> list[Arg]:
    """Recomputation and offload."""
    mesh, moe = view.mesh, view.model.moe
    args: list[Arg] = []
    selective = {
        "selective": ["core_attn"],
        "per-operator": [
            "layernorm",
            *(["mlp"] if view.model.moe_layers < view.model.layers else []),
        ],
        "projections": ["core_attn", "layernorm"],
    }
    if mesh.recompute == "modules":
        args += [
            ("--recompute-granularity", "selective"),
            ("--recompute-modules", *mesh.recompute_modules),
        ]
    elif mesh.recompute in selective:
        modules = selective[mesh.recompute]
        if moe is not None and mesh.recompute != "selective":
            modules = [*modules, "moe_act"]
        args += [("--recompute-granularity", "selective"), ("--recompute-modules", *modules)]
        if mesh.recompute != "selective":
            header.not_expressible(
                f"recompute {mesh.recompute}", f"selective: {', '.join(modules)}"
            )
    elif mesh.recompute == "full":
        args += _full(mesh, header)
    return args + _offload(view, header)


def _full(mesh: Mesh, header: Header) -> list[Arg]:
    args: list[Arg] = [("--recompute-granularity", "full")]
    if mesh.recompute_layers is None:
        return [*args, ("--recompute-method", "uniform"), ("--recompute-num-layers", "1")]
    chunk = math.ceil(mesh.recompute_layers / mesh.vpp)
    if chunk * mesh.vpp != mesh.recompute_layers:
        header.not_expressible(
            f"{mesh.recompute_layers} recomputed layers on {mesh.vpp} chunks", f"{chunk} in each"
        )
    return [*args, ("--recompute-method", "block"), ("--recompute-num-layers", str(chunk))]


def _offload(view: PlanView, header: Header) -> list[Arg]:
    mesh, args = view.mesh, list[Arg]()
    if "optimizer" in mesh.offload:
        args += [("--optimizer-cpu-offload",), ("--use-precision-aware-optimizer",)]
        args.append(("--overlap-cpu-optimizer-d2h-h2d",))
    if "activations" in mesh.offload:
        modules = ["attn_norm", "qkv_linear", "core_attn", "attn_proj", "mlp_norm"]
        if view.model.moe is not None:
            modules += ["expert_fc1", "moe_act"]
        args += [("--fine-grained-activation-offloading",), ("--offload-modules", *modules)]
        header.chosen(f"which activations are offloaded: {', '.join(modules)}")
    if "parameters" in mesh.offload:
        header.not_expressible("parameters kept in the host's memory", "kept on the device")
    return args
