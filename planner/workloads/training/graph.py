"""The workload graph of a decoder-only transformer: its blocks, op by op.

From a `ModelConfig` to a `WorkloadGraph`: one block for each kind of layer, the vision tower, the
embedding, the head with its loss, and the multi-token-prediction layers. Every op states its dims,
FLOP, traffic and what it keeps for the backward pass. Knows the architecture; no mesh, machine or
time.

Source of the shapes: Vaswani et al. 2017; Korthikanti et al. 2022 (what is kept); DeepSeek-V2
2024 (multi-latent attention); DeepSeek-V3 2024 (multi-token prediction).
"""

from dataclasses import replace

from planner.graph import Block, Dim, WorkloadGraph
from planner.models.config import ModelConfig
from planner.workloads.training.documents import Documents, LayerKind, layer_kinds
from planner.workloads.training.layer_ops import layer_ops
from planner.workloads.training.operators import Adapters, matmul, memory, norm, with_backward
from planner.workloads.training.tower import tower_blocks

__all__ = ["Documents", "LayerKind", "build", "flop_per_token", "layer_kinds"]


def build(
    model: ModelConfig, documents: Documents, adapters: Adapters | None = None
) -> WorkloadGraph:
    """Build the graph of one training step, per token.

    Parameters
    ----------
    documents : sequence and document lengths, which set the attention's FLOP
    adapters  : low-rank adapters of the decoder; all other weights are then frozen
    """
    kinds = layer_kinds(model)
    blocks = tower_blocks(model, documents.sequence, frozen=adapters is not None)
    blocks.append(_embedding(model, adapters))
    for kind in dict.fromkeys(kinds):
        layers = tuple(i for i, k in enumerate(kinds) if k == kind)
        ops = layer_ops(kind.name, model, kind, documents, adapters)
        blocks.append(Block(kind.name, with_backward(ops), len(layers), layers))
    blocks.append(_head("head", model, adapters))
    if model.mtp_layers:
        blocks.append(_mtp(model, kinds[-1], documents, adapters))
    return WorkloadGraph(tuple(blocks))


def _embedding(model: ModelConfig, adapters: Adapters | None) -> Block:
    hidden = float(model.hidden)
    weights = model.vocab * hidden
    if model.position == "learned":
        weights += (model.max_positions or 2048) * hidden
    op = memory("embedding/lookup", 2.0 * hidden, output=hidden, weights=weights)
    ops = [replace(op, trainable=adapters is None)]
    return Block("embedding", with_backward(ops), 1.0, at="first")


def _head(prefix: str, model: ModelConfig, adapters: Adapters | None) -> Block:
    """Make the final normalisation, logits and loss; tied weights are not counted again."""
    hidden, vocab = Dim("hidden", model.hidden), Dim("vocab", model.vocab)
    logits = matmul(f"{prefix}/logits", vocab, hidden, "vocab", saved=float(model.hidden))
    if model.tied_embeddings:
        logits = replace(logits, weights=0.0)
    loss = memory(f"{prefix}/loss", 4.0 * model.vocab, "vocab", launches=6.0)
    ops = [norm(f"{prefix}/final norm", model), logits, loss]
    if adapters:
        ops = [replace(op, trainable=False) for op in ops]
    return Block(prefix, with_backward(ops), 1.0, at="last")


def _mtp(
    model: ModelConfig, kind: LayerKind, documents: Documents, adapters: Adapters | None
) -> Block:
    """One multi-token-prediction layer: join, a decoder layer, and the shared head again."""
    hidden = Dim("hidden", model.hidden)
    join = matmul("mtp/join", hidden, Dim("two hidden", 2.0 * model.hidden), "hidden out",
                   saved=2.0 * model.hidden)  # fmt: skip
    norms = [norm("mtp/state norm", model), norm("mtp/embedding norm", model)]
    body = layer_ops("mtp", model, kind, documents, adapters)
    head = [
        replace(op, weights=0.0)
        for op in _head("mtp head", model, adapters).ops
        if op.phase == "forward" and op.kind != "memory"
    ]
    loss = memory("mtp head/loss", 4.0 * model.vocab, "vocab", launches=6.0)
    last = norm("mtp head/final norm", model)
    ops = [*norms, join, *body, last, *head, loss]
    return Block("mtp", with_backward(ops), float(model.mtp_layers), at="last")


def flop_per_token(model: ModelConfig, sequence: float, *, causal: bool) -> float:
    """Model FLOP of a training step per token, all weights trained: three times the forward.

    Parameters
    ----------
    causal : count the causal half of attention (else all of it, as some sources do)

    Notes
    -----
    The backward pass counts as two forward passes, also for attention; recomputation, and the
    recomputation inside the fused backward kernel, do not count.
    """
    attention = model.attention.model_copy(update={"causal": causal})
    graph = build(
        model.model_copy(update={"attention": attention}), Documents(sequence, sequence, sequence)
    )
    forward = sum(block.count * op.flop for block, op in graph.ops() if op.phase == "forward")
    return 3.0 * forward
