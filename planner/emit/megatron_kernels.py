"""Number formats and kernels as arguments of Megatron-Core.

Says in the header what the plan chose and Megatron-Core cannot do, with the nearest that it can.
"""

from planner.emit.megatron_model import Arg
from planner.emit.text import Header, one_line
from planner.emit.view import PlanView

__all__ = ["kernel_args", "precision_args"]


def precision_args(view: PlanView, header: Header) -> list[Arg]:
    """Choose number formats of products, gradients and the optimizer."""
    precision, switches = view.precision, view.switches
    if precision != view.workload.precision:
        header.not_expressible(f"{view.workload.precision} on {one_line(view.system)}", precision)
    formats: dict[str, list[Arg]] = {
        "fp32": [],
        "fp16": [("--fp16",)],
        "bf16": [("--bf16",)],
        "fp8": [("--bf16",), ("--fp8-format", "hybrid"), ("--fp8-recipe", "tensorwise")],
        "mxfp8": [("--bf16",), ("--fp8-format", "e4m3"), ("--fp8-recipe", "mxfp8")],
        "nvfp4": [("--bf16",), ("--fp4-format", "e2m1"), ("--fp4-recipe", "nvfp4")],
    }
    nearest = {"mxfp4": "nvfp4", "int8": "bf16", "int4": "bf16"}.get(precision, precision)
    if nearest != precision:
        header.not_expressible(f"precision {precision}", nearest)
    if nearest == "fp8":
        header.chosen("the FP8 recipe, tensorwise (current scaling)")
    args = list(formats[nearest])
    if nearest == "fp16":  # gradients are in fp16 unless told
        args += [("--accumulate-allreduce-grads-in-fp32",)] * (switches.grad_dtype == "fp32")
    elif switches.grad_dtype == "bf16" and nearest != "fp32":
        args.append(("--grad-reduce-in-bf16",))
    elif switches.grad_dtype == "fp16":
        header.not_expressible("gradients accumulated in fp16", "fp32")
    if not switches.master_weights:
        header.not_expressible("no fp32 copy of the parameters", "an fp32 copy")
    return args


def kernel_args(view: PlanView, header: Header) -> list[Arg]:
    """Which kernels are fused, how attention is computed, and what is replayed from a graph."""
    switches = view.switches
    args: list[Arg] = [("--attention-backend", "auto" if switches.flash_attention else "unfused")]
    if switches.fused_kernels:
        args.append(("--cross-entropy-loss-fusion",))
    else:
        args += [("--no-bias-swiglu-fusion",), ("--no-bias-gelu-fusion",), ("--no-rope-fusion",)]
        args += [("--no-bias-dropout-fusion",), ("--no-masked-softmax-fusion",)]
    if switches.chunked_loss:
        header.not_expressible("a loss computed in chunks", "logits whole, cross entropy fused")
    if switches.cuda_graphs and view.model.moe is None:
        args += [("--cuda-graph-impl", "full_iteration"), ("--no-check-for-nan-in-loss-and-grad",)]
    elif switches.cuda_graphs:  # tokens by expert have no fixed number
        header.not_expressible(
            "a mixture's step replayed from a CUDA graph", "kernels launched one by one"
        )
    if switches.fused_experts and view.model.moe is not None:
        header.not_expressible("activation inside the experts' products", "a kernel of its own")
    if switches.compile:
        header.not_expressible("a compiled step", "eager, with the fused kernels of this stack")
    return args
