"""What a software stack is: a family's constants and a preset's switches.

A *family* (megatron, fsdp, xla) holds the constants that its code gives every run: how much of
each kind of communication it hides, what the host spends on a launch, what it keeps in memory.
A *preset* is a family plus the switches that it sets and the choices that it can build. Prices
depend on switches and family constants, never on a preset's name.

Parts: `Family`, `Switches`, `Supports`, `Stack`, `load_stack`, `stack_names`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from hardware_profiles.schema import Figure

__all__ = [
    "AttentionKernels",
    "Family",
    "Overlap",
    "Stack",
    "Supports",
    "Switches",
    "load_stack",
    "stack_names",
]

_HERE = Path(__file__).parent
AttentionKernels = Literal["chip", "flash-2", "flash-1"]

_NOTHING = Figure(value=0.0, basis="assumed", source="the stack is not known to hold any")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Overlap(_Frozen):
    """Share of each kind of communication that can run under compute where its switch is on."""

    dp: Figure
    tp: Figure
    cp: Figure
    ep: Figure
    pp: Figure


class Family(_Frozen):
    """Constants of a family of stacks.

    Parameters
    ----------
    overlap, overlap_compiled : hidden shares, eager and compiled
    launch_s          : host time of one launch; launch_s_compiled: where the step is compiled
    launch_power      : p of the p-norm that joins host and device time of a layer's pass
    launch_tp_growth  : share by which launches slow for each doubling of tp
    step_s            : fixed host time of one optimizer step
    jitter            : share of the step lost for each doubling of devices beyond one node
    optimizer_efficiency : share of memory bandwidth that the optimizer step reaches
    parameter_bytes   : of a weight as stored for compute; 4: stored in fp32 and cast when used
    shards_master     : the fp32 weights are the parameters themselves (FSDP, XLA)
    gathered_layers   : layers whose sharded parameters stand whole at one time
    gather_per_microbatch : sharded parameters are gathered again for every microbatch
    keeps_whole       : under zero 2 parameters stay whole, gathered once a step when they change
    shard_rank_s      : a step's time for each rank of a shard group that broadcasts in turn
    keeps_gathered    : under sequence parallelism, products keep their inputs as gathered over
                        the tensor ranks; otherwise these are gathered again
    keeps_tables      : of sharded parameters, embedding and head stay gathered through the step
    keeps_boundaries  : pipelines hold buffers for all that stages receive, their outputs, and the
                        last one's logits of every microbatch
    gathers_apart     : sharded parameters are gathered in buffers of a stream of its own, and
                        copied out of them: the allocator keeps both
    gathers_twice     : what tensor ranks gather along the sequence comes by rank, and is put in
                        order in a second buffer: the allocator keeps both
    branches_apart    : products of one input (gate and up) run one by one, and each gives a
                        gradient of it
    logit_bytes       : held per logit at the loss: 16-bit logits, fp32 copies, softmax, gradients;
                        logit_bytes_split: where tensor ranks share the vocabulary;
                        logit_bytes_fused: where the loss is fused or compiled
    base_bytes        : context, libraries and communication buffers on every device
    group_bytes       : communication buffers for each mesh axis in use
    fragmentation     : allocator's share on top of activations and transient buffers
    """

    name: str
    overlap: Overlap
    overlap_compiled: Overlap
    launch_s: Figure
    launch_s_compiled: Figure
    launch_power: Figure
    launch_tp_growth: Figure
    step_s: Figure
    jitter: Figure
    optimizer_efficiency: Figure
    parameter_bytes: Annotated[float, Field(gt=0)]
    shards_master: bool
    gathered_layers: Annotated[float, Field(gt=0)]
    gather_per_microbatch: bool
    keeps_whole: bool = False
    keeps_gathered: bool
    keeps_tables: bool
    keeps_boundaries: bool
    gathers_apart: bool = False
    gathers_twice: bool = False
    branches_apart: bool = False
    shard_rank_s: Figure
    logit_bytes: Figure
    logit_bytes_split: Figure
    logit_bytes_fused: Figure
    base_bytes: Figure
    group_bytes: Figure
    fragmentation: Figure


class Switches(_Frozen):
    """Software switches of the job spec, all given (a preset's defaults).

    `fused_dispatch`: the kernels that exchange experts' tokens put them in order, pad them and send
    what several experts of a rank read once (DeepEP, HybridEP); `fused_experts`: one kernel of the
    experts' products takes in casts, bias and activation; `cuda_graphs`: the step's kernels are
    replayed from a graph, and the host launches none.
    """

    flash_attention: bool = True
    compile: bool = False
    fused_kernels: bool = True
    fused_dispatch: bool = False
    fused_experts: bool = False
    cuda_graphs: bool = False
    overlap_grad_reduce: bool = True
    overlap_param_gather: bool = True
    overlap_tp: bool = False
    overlap_p2p: bool = True
    overlap_cp: bool = True
    overlap_ep: bool = False
    chunked_loss: bool = False
    fused_loss: bool = False
    grad_dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    master_weights: bool = True

    def under(self, given: Mapping[str, object]) -> "Switches":
        """Return these with others in the place of theirs; keys that are no switch are left out."""
        known = {name: value for name, value in given.items() if name in Switches.model_fields}
        return self.model_copy(update=known)


class Supports(_Frozen):
    """What the stack can build: the search keeps to it, a pinned value may leave it.

    `recompute_modules`: single modules of a layer can be recomputed; where not, none may be pinned.
    """

    zero: tuple[int, ...]
    schedules: tuple[str, ...]
    recompute: tuple[str, ...]
    recompute_modules: bool = False
    cp_comm: tuple[str, ...]
    sequence_parallel: Literal["always", "never", "free"]
    pipeline: bool = True
    pipeline_zero: tuple[int, ...] = (0, 1)
    partial_group: bool = True
    partial_recompute: bool = True
    offload: tuple[str, ...] = ()


class Stack(_Frozen):
    """A preset: its family's constants, its switches, what it supports, and how it is built.

    Parameters
    ----------
    default_zero      : `zero` where a measured run does not say
    default_adapters  : which products carry adapters where a measured run does not say
    serial_broadcast  : owners of optimizer shards broadcast their parameters one after the other
    optimizer_transient_bytes : per sharded parameter, held while the optimizer steps (unscaled
                        and fp32 copies of gradients, flat buffers); sharded_transient_bytes:
                        where parameters and gradients are sharded too
    update_more_bytes : per parameter that a rank updates, moved by the optimizer's kernels beside
                        its update: unscaling, the norm, clipping, casts; bucket_copy_bytes: per
                        parameter of a stage, gradients copied to flat buckets and back
    whole_transient_bytes : per parameter of a stage: flat buffers that whole weights and gradients
                        pass through as they are gathered and reduced
    output_logit_bytes : per logit, outputs of earlier microbatches that the last stage's engine
                        still holds at the loss
    fused_accumulation : products of weight gradients add to the gradients held, in one kernel
    sharded_units     : zero 2 and 3 go by units, the layers: each is gathered into one of two
                        buffers, its gradients are copied into one of two others and reduced every
                        microbatch; embedding and head are no units and stay whole through the
                        step; copies of the shards reduce once a step; no pipeline
    pads_experts      : each expert's rows are padded by copies for products of low precision
    stacked_layers    : layers of a kind lie in one array: each is cut out of it where it is used,
                        and its gradient written into one that was cleared
    scatters_boundaries : without sequence parallelism, each tensor rank sends its part of what
                        crosses a stage boundary, and the ranks there gather it
    attention_kernels : `chip`: those written for the chip; `flash-2`, `flash-1`: of older
                        generations, which reach less on newer chips
    extra_layers      : stages that get one layer more where a measured run does not say and they
                        do not divide: `early`, the planner's own choice; the `last` ones; or all
                        `but-last`, which has what is left
    bucket_bytes      : standing buffers for reduction and gathering
    logged_stage      : whose memory the stack's log prints: of the fullest device, or of the
                        first pipeline stage, that of rank 0
    logged_bytes      : what that memory is: all that the device holds, or what the framework's
                        allocator reserved: no context, no buffers of communicators
    """

    name: str
    description: str
    family: Family
    switches: Switches
    supports: Supports
    default_zero: Annotated[int, Field(ge=0, le=3)]
    default_adapters: Literal["all-linear", "attention", "qkv", "mlp"] = "all-linear"
    serial_broadcast: bool = False
    optimizer_transient_bytes: Figure = _NOTHING
    sharded_transient_bytes: Figure = _NOTHING
    update_more_bytes: Figure = _NOTHING
    bucket_copy_bytes: Figure = _NOTHING
    whole_transient_bytes: Figure = _NOTHING
    output_logit_bytes: Figure = _NOTHING
    bucket_bytes: Figure = _NOTHING
    logged_stage: Literal["fullest", "first"] = "fullest"
    logged_bytes: Literal["device", "allocator"] = "device"
    fused_accumulation: bool = False
    sharded_units: bool = False
    pads_experts: bool = False
    stacked_layers: bool = False
    scatters_boundaries: bool = False
    attention_kernels: AttentionKernels = "chip"
    extra_layers: Literal["early", "last", "but-last"] = "early"

    def with_values(self, values: Mapping[str, float]) -> "Stack":
        """Return the stack with other values of figures, by name: its family's or its own."""
        family = {name for name in values if name in Family.model_fields}
        changed = {
            name: getattr(self.family if name in family else self, name).model_copy(
                update={"value": value}
            )
            for name, value in values.items()
        }
        of_family = {name: changed.pop(name) for name in family}
        return self.model_copy(
            update={"family": self.family.model_copy(update=of_family), **changed}
        )


def _read(path: Path) -> dict[str, object]:
    read: dict[str, object] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return read


def stack_names() -> tuple[str, ...]:
    """Names of the shipped presets."""
    return tuple(sorted(path.stem for path in (_HERE / "stacks").glob("*.yaml")))


@cache
def load_stack(name: str) -> Stack:
    """Read the preset `name` with its family; KeyError where there is none."""
    path = _HERE / "stacks" / f"{name}.yaml"
    if name not in stack_names():
        raise KeyError(name)
    preset = _read(path)
    family = _read(_HERE / "families" / f"{preset['family']}.yaml")
    return Stack.model_validate({**preset, "name": name, "family": family})
