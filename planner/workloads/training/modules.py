"""Modules of a layer that are recomputed by themselves: which operators run again, what is freed.

Read in Megatron-Core with Transformer Engine's layers (transformer_layer.py, moe/moe_layer.py,
moe/experts.py, multi_latent_attention.py, CheckpointWithoutOutput in tensor_parallel/random.py):

    core_attn       attention alone; frees what attention that is not fused keeps of its scores
    moe_act         the activation between the experts' products; frees the second one's input
    layernorm       norms that stand alone: before latent attention and before experts; frees the
                    inputs of the products after them. Others are part of a product that keeps its
                    input and the normed one, and are not run again
    mla_up_proj     from the compressed queries and keys to what attention reads
    mlp             a dense layer's second half
    moe             a mixture's second half with its exchanges, from the norm's result on
    shared_experts  the shared expert alone

Knows names of operators and shares; no seconds, no bytes.

Parts: `run_again`, `freed_together`, `exchanged`, `worth_trying`, `sets_in`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.dims import RECOMPUTE, code_of_modules, modules_of
from planner.graph import Block, Op
from planner.workloads.training import exchange
from planner.workloads.training.context import Context

__all__ = ["exchanged", "freed_together", "run_again", "sets_in", "worth_trying"]


@dataclass(frozen=True, slots=True)
class _Part:
    """Operators of a module in blocks that hold `beside`: run again, and with inputs not kept."""

    module: str
    beside: str
    again: tuple[str, ...]
    freed: tuple[str, ...]


_SHARED = ("shared expert up", "shared expert activation", "shared expert down")
_EXPERTS = ("experts up", "expert activation", "experts down")
_PARTS = (
    _Part("core_attn", "attention", ("attention",), ()),
    _Part("moe_act", "experts down", ("expert activation",), ("experts down",)),
    _Part("layernorm", "kv down", ("input norm",), ("q", "q down")),
    _Part("layernorm", "router", ("mlp norm",), ("router", "shared expert up")),
    _Part(
        "mla_up_proj", "kv up", ("q norm", "q", "q up", "kv norm", "kv up", "rope"),
        ("q up", "kv up", "attention"),
    ),
    _Part(
        "mlp", "mlp up", ("mlp norm", "mlp up", "mlp activation", "mlp down"),
        ("mlp up", "mlp activation", "mlp down"),
    ),
    _Part(
        "moe", "router",
        (*_SHARED, "router", "permute", "dispatch", *_EXPERTS, "combine", "unpermute"),
        (*_SHARED, *_EXPERTS),
    ),
    _Part("shared_experts", "shared expert up", _SHARED, _SHARED),
)  # fmt: skip


def _label(op: Op) -> str:
    """Name of an operator in its block; an adapter's is that of the product it stands beside."""
    name = op.name.partition("/")[2]
    return name.removesuffix(" adapter down").removesuffix(" adapter up")


def _parts(block: Block, code: int) -> list[_Part]:
    here = {_label(op) for op in block.phase("forward")}
    chosen = modules_of(code)
    return [part for part in _PARTS if part.module in chosen and part.beside in here]


def run_again(block: Block, code: int) -> tuple[Op, ...]:
    """Return the forward operators of a block that a set of modules runs again, in order."""
    names = {name for part in _parts(block, code) for name in part.again}
    return tuple(op for op in block.phase("forward") if _label(op) in names)


def freed_together(block: Block, code: int) -> list[tuple[tuple[Op, ...], tuple[Op, ...]]]:
    """Return, module by module, the operators run again, and those whose inputs are not kept."""
    forward = block.phase("forward")
    return [
        (
            tuple(op for op in forward if _label(op) in part.again),
            tuple(op for op in forward if _label(op) in part.freed),
        )
        for part in _parts(block, code)
    ]


def exchanged(block: Block, code: int, axis: str) -> float:
    """Return the share of a forward pass's exchanges on an axis that a set of modules repeats.

    The pairs of split products among its operators, and experts' tokens there and back. Not what
    context-parallel ranks exchange for attention: `selective` has none either.
    """
    again = run_again(block, code)
    if axis == "tp":
        pairs = len(exchange.row_outputs(block.phase("forward")))
        return len(exchange.row_outputs(again)) / pairs if pairs else 0.0
    return float(axis == "ep" and any(op.kind == "dispatch" for op in again))


def sets_in(codes: NDArray[np.float64]) -> list[int]:
    """Return the sets of modules among recompute codes, each once, in order."""
    if not codes.size or codes.max() < len(RECOMPUTE):
        return []
    return [int(code) for code in np.unique(codes) if code >= len(RECOMPUTE)]


def worth_trying(context: Context) -> list[int]:
    """Return sets of modules for a search, the lightest first; none where the stack has none.

    What Megatron's own recipes take: of latent attention the projections up, then all that is
    elementwise too; of other mixtures the experts' activation, then the norms too.
    """
    model, stack = context.spec.model, context.stack
    latent, experts = model.attention.kind == "mla", model.moe is not None
    cheap = [*(["moe_act"] if experts else []), "layernorm"]
    if not stack.supports.recompute_modules or not (latent or experts):
        return []
    sets: Iterable[list[str]] = (
        (["mla_up_proj"], ["mla_up_proj", *cheap]) if latent else (["moe_act"], cheap)
    )
    return [code_of_modules(names) for names in sets]
