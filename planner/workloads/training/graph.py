"""The workload graph of a decoder-only transformer: its blocks, op by op.

From a `ModelConfig` to a `WorkloadGraph`: one block for each kind of layer, the embedding, the
head with its loss, and the multi-token-prediction layers. Every op states its dims, FLOP, traffic
and what it keeps for the backward pass. Knows the architecture; no mesh, machine or time.

Source of the shapes: Vaswani et al. 2017; Korthikanti et al. 2022 (what is kept); DeepSeek-V2
2024 (multi-latent attention); DeepSeek-V3 2024 (multi-token prediction).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.graph import Block, Dim, Op, WorkloadGraph
from planner.models.config import ModelConfig

__all__ = ["Documents", "LayerKind", "build", "flop_per_token", "layer_kinds"]

BACKWARD_ATTENTION = 2.5
"""FLOP of the backward attention kernel over the forward's: five products for two."""
BACKWARD_TRAFFIC = 1.6
"""Traffic of the backward of memory-bound work over the forward's."""


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What distinguishes layers: how they attend, and whether their MLP is a mixture."""

    attention: str
    moe: bool

    @property
    def name(self) -> str:
        """Short name of the block."""
        return ("moe" if self.moe else "dense") + (
            "" if self.attention == "full_attention" else f" {self.attention.split('_')[0]}"
        )


@dataclass(frozen=True, slots=True)
class Documents:
    """How far a token looks back: the sequence, and where documents end.

    `pairs(window)` is the mean number of keys that a token's query meets: with the causal half,
    `(E[L^2] / E[L] + 1) / 2` over documents of length L; without it twice that; inside a window
    w of a sequence of s, `w - w (w - 1) / (2 s)`.
    """

    sequence: float
    mean_length: float
    weighted_length: float

    def pairs(self, causal: bool, window: float | None) -> float:
        """Mean keys per query."""
        length = self.weighted_length
        if window is not None and window < length:
            seen = window - window * (window - 1.0) / (2.0 * length)
            return seen if causal else min(length, 2.0 * seen)
        return (length + 1.0) / 2.0 if causal else length


def layer_kinds(model: ModelConfig) -> tuple[LayerKind, ...]:
    """Kind of every decoder layer, in order."""
    types = model.layer_types or (
        ("sliding_attention",) if model.attention.window else ("full_attention",)
    )
    moe = model.moe
    return tuple(
        LayerKind(
            types[i % len(types)],
            moe is not None and i >= moe.first_dense_layers and (i + 1) % moe.every == 0,
        )
        for i in range(model.layers)
    )


@dataclass(frozen=True, slots=True)
class Adapters:
    """Low-rank adapters on frozen weights: rank, and which products carry one."""

    rank: int
    attention: bool
    mlp: bool


def build(
    model: ModelConfig, documents: Documents, adapters: Adapters | None = None
) -> WorkloadGraph:
    """Build the graph of one training step, per token.

    Parameters
    ----------
    documents : sequence and document lengths, which set the attention's FLOP
    adapters  : low-rank adapters; the base weights are then frozen
    """
    kinds = layer_kinds(model)
    blocks = [_embedding(model, adapters)]
    for kind in dict.fromkeys(kinds):
        layers = tuple(i for i, k in enumerate(kinds) if k == kind)
        ops = _layer(kind.name, model, kind, documents, adapters)
        blocks.append(Block(kind.name, _with_backward(ops), len(layers), layers))
    blocks.append(_head("head", model, adapters))
    if model.mtp_layers:
        blocks.append(_mtp(model, kinds[-1], documents, adapters))
    return WorkloadGraph(tuple(blocks))


def _matmul(name: str, cols: Dim, inner: Dim, split: str, bias: bool = False, **kw: float) -> Op:
    """Make a product with weights: [tokens, inner] x [inner, cols]."""
    return Op(
        name,
        "matmul",
        cols=cols,
        inner=inner,
        split=split,
        flop=2.0 * cols.size * inner.size,
        output=cols.size,
        weights=cols.size * inner.size + (cols.size if bias else 0.0),
        **kw,  # type: ignore[arg-type]
    )


def _memory(name: str, traffic: float, split: str = "sequence", **kw: float) -> Op:
    """Make an op bound by memory: normalisation, activation, residual, rotation."""
    return Op(name, "memory", traffic=traffic, split=split, **kw)  # type: ignore[arg-type]


def _norm(name: str, model: ModelConfig, width: float | None = None) -> Op:
    size = float(model.hidden) if width is None else width
    return _memory(
        name, 2.0 * size, output=size, saved=size, weights=size * (2.0 if model.norm_bias else 1.0)
    )


def _layer(
    prefix: str,
    model: ModelConfig,
    kind: LayerKind,
    documents: Documents,
    adapters: Adapters | None,
) -> list[Op]:
    hidden = float(model.hidden)
    ops = [_norm(f"{prefix}/input norm", model)]
    if model.attention.kind == "mla":
        ops += _latent_attention(prefix, model, documents)
    else:
        ops += _grouped_attention(prefix, model, kind, documents)
    if model.post_norms:
        ops.append(_norm(f"{prefix}/post-attention norm", model))
    ops.append(_memory(f"{prefix}/attention residual", 3.0 * hidden, output=hidden))
    ops.append(_norm(f"{prefix}/mlp norm", model))
    ops += _mixture(prefix, model) if kind.moe else _mlp(prefix, model, float(model.ffn_hidden))
    if model.post_norms:
        ops.append(_norm(f"{prefix}/post-mlp norm", model))
    ops.append(_memory(f"{prefix}/mlp residual", 3.0 * hidden, output=hidden))
    return _adapt(ops, adapters) if adapters else ops


def _grouped_attention(
    prefix: str, model: ModelConfig, kind: LayerKind, documents: Documents
) -> list[Op]:
    width, hidden = model.head_dim_or_even, Dim("hidden", model.hidden)
    queries, keys = model.heads * width, model.kv_heads_or_all * width
    window = model.attention.window if kind.attention == "sliding_attention" else None
    pairs = documents.pairs(model.attention.causal, window)
    bias = model.qkv_bias or model.linear_bias
    ops = [
        _matmul(
            f"{prefix}/qkv", Dim("heads", queries + 2 * keys), hidden, "heads", bias,
            saved=float(model.hidden),
        )
    ]  # fmt: skip
    if model.qk_norm:
        norm = _memory(f"{prefix}/qk norm", 2.0 * (queries + keys), "heads", launches=2.0)
        ops.append(replace(norm, weights=2.0 * width, saved=float(queries + keys)))
    if model.position == "rope":
        ops.append(_memory(f"{prefix}/rope", 2.0 * (queries + keys), "heads", launches=2.0))
    ops.append(
        Op(
            f"{prefix}/attention",
            "attention",
            split="heads",
            flop=4.0 * pairs * queries,
            traffic=2.0 * queries + 2.0 * keys,
            output=float(queries),
            saved=float(queries + 2 * keys),
            extra_saved=_softmax_saved(model, documents, window),
        )
    )
    out = _matmul(
        f"{prefix}/attention out", Dim("hidden", model.hidden), Dim("heads", queries), "heads",
        model.linear_bias, saved=float(queries),
    )  # fmt: skip
    return [*ops, out]


def _softmax_saved(model: ModelConfig, documents: Documents, window: float | None) -> float:
    """Elements per token that unfused attention keeps: 2.5 per head and key (softmax, dropout)."""
    return 2.5 * model.heads * min(documents.sequence, window or documents.sequence)


def _latent_attention(prefix: str, model: ModelConfig, documents: Documents) -> list[Op]:
    a = model.attention
    assert a.kv_lora_rank and a.qk_nope_head_dim and a.qk_rope_head_dim and a.v_head_dim
    hidden = Dim("hidden", model.hidden)
    query = model.heads * (a.qk_nope_head_dim + a.qk_rope_head_dim)
    value = model.heads * a.v_head_dim
    ops: list[Op] = []
    if a.q_lora_rank:
        rank = Dim("q rank", a.q_lora_rank)
        ops += [
            _matmul(f"{prefix}/q down", rank, hidden, "", saved=float(model.hidden)),
            _norm(f"{prefix}/q norm", model, float(rank.size)),
            _matmul(f"{prefix}/q up", Dim("heads", query), rank, "heads", saved=rank.size),
        ]
    else:
        saved = float(model.hidden)
        ops.append(_matmul(f"{prefix}/q", Dim("heads", query), hidden, "heads", saved=saved))
    latent = Dim("kv rank", a.kv_lora_rank + a.qk_rope_head_dim)
    up = Dim("heads", model.heads * (a.qk_nope_head_dim + a.v_head_dim))
    rank = Dim("kv rank", a.kv_lora_rank)
    pairs = documents.pairs(a.causal, None)
    ops += [
        _matmul(f"{prefix}/kv down", latent, hidden, ""),
        _norm(f"{prefix}/kv norm", model, float(a.kv_lora_rank)),
        _matmul(f"{prefix}/kv up", up, rank, "heads", saved=float(a.kv_lora_rank)),
        _memory(f"{prefix}/rope", 4.0 * query, "heads", launches=3.0),
        Op(
            f"{prefix}/attention",
            "attention",
            split="heads",
            flop=2.0 * pairs * (query + value),
            traffic=2.0 * query + 2.0 * value,
            output=float(value),
            saved=float(2 * query + value),
            extra_saved=_softmax_saved(model, documents, None),
        ),
        _matmul(
            f"{prefix}/attention out", hidden, Dim("heads", value), "heads", saved=float(value)
        ),
    ]
    return ops


def _mlp(prefix: str, model: ModelConfig, width: float, label: str = "mlp") -> list[Op]:
    gates = 2.0 if model.gated_mlp else 1.0
    hidden = Dim("hidden", model.hidden)
    bias = model.linear_bias
    up = _matmul(
        f"{prefix}/{label} up", Dim("ffn", gates * width), hidden, "ffn", bias, saved=hidden.size
    )
    act = _memory(
        f"{prefix}/{label} activation", (gates + 1.0) * width, "ffn", output=width,
        saved=gates * width,
    )  # fmt: skip
    down = _matmul(f"{prefix}/{label} down", hidden, Dim("ffn", width), "ffn", bias, saved=width)
    return [up, act, down]


def _mixture(prefix: str, model: ModelConfig) -> list[Op]:
    moe = model.moe
    assert moe is not None
    hidden, k = float(model.hidden), float(moe.top_k)
    gates = 2.0 if model.gated_mlp else 1.0
    width = float(moe.ffn_hidden)
    rows = Dim("expert tokens", k, True)
    router = _matmul(f"{prefix}/router", Dim("experts", moe.experts), Dim("hidden", hidden), "")
    permute = _memory(f"{prefix}/permute", 2.0 * k * hidden, output=k * hidden, launches=3.0)
    dispatch = Op(f"{prefix}/dispatch", "dispatch", rows=rows, output=k * hidden)
    up = Op(
        f"{prefix}/experts up", "grouped", rows=rows, cols=Dim("expert ffn", gates * width),
        inner=Dim("hidden", hidden), split="expert ffn", flop=2.0 * k * gates * width * hidden,
        output=k * gates * width, saved=k * hidden, weights=moe.experts * gates * width * hidden,
    )  # fmt: skip
    act = _memory(
        f"{prefix}/expert activation", k * (gates + 1.0) * width, "expert ffn", output=k * width,
        saved=k * gates * width,
    )  # fmt: skip
    down = Op(
        f"{prefix}/experts down", "grouped", rows=rows, cols=Dim("hidden", hidden),
        inner=Dim("expert ffn", width), split="expert ffn", flop=2.0 * k * width * hidden,
        output=k * hidden, saved=k * width, weights=moe.experts * width * hidden,
    )  # fmt: skip
    combine = Op(f"{prefix}/combine", "dispatch", rows=rows, output=k * hidden)
    unpermute = _memory(f"{prefix}/unpermute", (k + 1.0) * hidden, output=hidden)
    ops = [router, permute, dispatch, up, act, down, combine, unpermute]
    shared = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
    if shared:
        ops = [*_mlp(prefix, model, float(shared), "shared expert"), *ops]
    return ops


def _embedding(model: ModelConfig, adapters: Adapters | None) -> Block:
    hidden = float(model.hidden)
    weights = model.vocab * hidden
    if model.position == "learned":
        weights += (model.max_positions or 2048) * hidden
    op = _memory("embedding/lookup", 2.0 * hidden, output=hidden, weights=weights)
    ops = [replace(op, trainable=adapters is None)]
    return Block("embedding", _with_backward(ops), 1.0)


def _head(prefix: str, model: ModelConfig, adapters: Adapters | None) -> Block:
    """Make the final normalisation, logits and loss; tied weights are not counted again."""
    hidden, vocab = Dim("hidden", model.hidden), Dim("vocab", model.vocab)
    logits = _matmul(f"{prefix}/logits", vocab, hidden, "vocab", saved=float(model.hidden))
    if model.tied_embeddings:
        logits = replace(logits, weights=0.0)
    loss = _memory(f"{prefix}/loss", 4.0 * model.vocab, "vocab", launches=6.0)
    ops = [_norm(f"{prefix}/final norm", model), logits, loss]
    if adapters:
        ops = [replace(op, trainable=False) for op in ops]
    return Block(prefix, _with_backward(ops), 1.0)


def _mtp(
    model: ModelConfig, kind: LayerKind, documents: Documents, adapters: Adapters | None
) -> Block:
    """One multi-token-prediction layer: join, a decoder layer, and the shared head again."""
    hidden = Dim("hidden", model.hidden)
    join = _matmul("mtp/join", hidden, Dim("two hidden", 2.0 * model.hidden), "hidden out",
                   saved=2.0 * model.hidden)  # fmt: skip
    norms = [_norm("mtp/state norm", model), _norm("mtp/embedding norm", model)]
    body = _layer("mtp", model, kind, documents, adapters)
    head = [
        replace(op, weights=0.0)
        for op in _head("mtp head", model, adapters).ops
        if op.phase == "forward" and op.kind != "memory"
    ]
    loss = _memory("mtp head/loss", 4.0 * model.vocab, "vocab", launches=6.0)
    norm = _norm("mtp head/final norm", model)
    ops = [*norms, join, *body, norm, *head, loss]
    return Block("mtp", _with_backward(ops), float(model.mtp_layers))


def _adapt(ops: Sequence[Op], adapters: Adapters) -> list[Op]:
    """Freeze the weights and add an adapter beside each product that the job names."""
    adapted: list[Op] = []
    rank = Dim("adapter", adapters.rank)
    for op in ops:
        adapted.append(replace(op, trainable=False) if op.weights else op)
        in_mlp = any(part in op.name for part in ("mlp", "expert"))
        wanted = adapters.mlp if in_mlp else adapters.attention
        if op.kind != "matmul" or op.name.endswith("router") or not wanted:
            continue
        # the adapter's inner product reads what the base product reads; only its outer is split
        down = _matmul(f"{op.name} adapter down", rank, op.inner, "", saved=0.0)
        up = _matmul(f"{op.name} adapter up", op.cols, rank, op.split, saved=rank.size)
        adapted += [down, replace(up, output=0.0)]
    return adapted


def _with_backward(ops: Sequence[Op]) -> tuple[Op, ...]:
    """Add the backward ops: gradients of inputs and, for trainable weights, of weights."""
    backward: list[Op] = []
    for op in reversed(ops):
        backward += _gradients(op)
    return (*ops, *backward)


def _gradients(op: Op) -> list[Op]:
    bare = replace(op, phase="backward", weights=0.0, saved=0.0, extra_saved=0.0, output=0.0)
    if op.kind in ("matmul", "grouped"):
        data = replace(
            bare, name=f"{op.name}.dgrad", cols=op.inner, inner=op.cols,
            output=op.output / max(op.cols.size, 1.0) * op.inner.size,
        )  # fmt: skip
        weight = replace(
            bare, name=f"{op.name}.wgrad", rows=op.inner, inner=op.rows, weight_gradient=True
        )
        return [data, weight] if op.trainable else [data]
    if op.kind == "attention":
        return [
            replace(
                bare, name=f"{op.name}.backward", flop=BACKWARD_ATTENTION * op.flop,
                traffic=2.0 * op.traffic, launches=2.0,
            )
        ]  # fmt: skip
    return [replace(bare, name=f"{op.name}.backward", traffic=BACKWARD_TRAFFIC * op.traffic)]


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
