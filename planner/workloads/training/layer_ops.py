"""The operators of one decoder layer: attention by kind, MLP, mixture of experts.

Source of the shapes: Vaswani et al. 2017; Korthikanti et al. 2022 (what is kept); DeepSeek-V2,
2024 (multi-latent attention). Knows the architecture; no mesh, machine or time.
"""

from dataclasses import replace

from planner.graph import Dim, Op
from planner.models.config import ModelConfig
from planner.workloads.training.documents import Documents, LayerKind
from planner.workloads.training.operators import Adapters, adapt, matmul, memory, norm

__all__ = ["layer_ops"]


def layer_ops(
    prefix: str,
    model: ModelConfig,
    kind: LayerKind,
    documents: Documents,
    adapters: Adapters | None,
) -> list[Op]:
    """List the forward ops of one decoder layer, named under `prefix`."""
    hidden = float(model.hidden)
    ops = [norm(f"{prefix}/input norm", model)]
    if model.attention.kind == "mla":
        ops += _latent_attention(prefix, model, documents)
    else:
        ops += _grouped_attention(prefix, model, kind, documents)
    if model.post_norms:
        ops.append(norm(f"{prefix}/post-attention norm", model))
    ops.append(memory(f"{prefix}/attention residual", 3.0 * hidden, output=hidden))
    ops.append(norm(f"{prefix}/mlp norm", model))
    ops += _mixture(prefix, model) if kind.moe else _mlp(prefix, model, float(model.ffn_hidden))
    if model.post_norms:
        ops.append(norm(f"{prefix}/post-mlp norm", model))
    ops.append(memory(f"{prefix}/mlp residual", 3.0 * hidden, output=hidden))
    return adapt(ops, adapters) if adapters else ops


def _grouped_attention(
    prefix: str, model: ModelConfig, kind: LayerKind, documents: Documents
) -> list[Op]:
    width, hidden = model.head_dim_or_even, Dim("hidden", model.hidden)
    queries, keys = model.heads * width, model.kv_heads_or_all * width
    window = model.attention.window if kind.attention == "sliding_attention" else None
    pairs = documents.pairs(model.attention.causal, window)
    bias = model.qkv_bias or model.linear_bias
    ops = [
        matmul(
            f"{prefix}/qkv", Dim("heads", queries + 2 * keys), hidden, "heads", bias,
            saved=float(model.hidden), alternate=(queries + keys) / (queries + 2.0 * keys),
        )
    ]  # fmt: skip
    if model.qk_norm:
        norm = memory(f"{prefix}/qk norm", 2.0 * (queries + keys), "heads", launches=2.0)
        ops.append(replace(norm, weights=2.0 * width, saved=float(queries + keys)))
    if model.position == "rope":
        ops.append(memory(f"{prefix}/rope", 2.0 * (queries + keys), "heads", launches=2.0))
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
            scores=_scores(model, documents),
            head_dim=float(width),
            row_flop=4.0 * width * documents.pairs(False, window),
        )
    )
    out = matmul(
        f"{prefix}/attention out", Dim("hidden", model.hidden), Dim("heads", queries), "heads",
        model.linear_bias, saved=float(queries), alternate=0.0,
    )  # fmt: skip
    return [*ops, out]


def _softmax_saved(model: ModelConfig, documents: Documents, window: float | None) -> float:
    """Elements per token that unfused attention keeps: 2.5 per head and key (softmax, dropout)."""
    return 2.5 * model.heads * min(documents.sequence, window or documents.sequence)


def _scores(model: ModelConfig, documents: Documents) -> float:
    """Entries of the score matrix per token: unfused attention makes those it masks too."""
    return model.heads * documents.sequence


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
            matmul(f"{prefix}/q down", rank, hidden, "", saved=float(model.hidden)),
            norm(f"{prefix}/q norm", model, float(rank.size)),
            matmul(f"{prefix}/q up", Dim("heads", query), rank, "heads", saved=rank.size),
        ]
    else:
        saved = float(model.hidden)
        ops.append(matmul(f"{prefix}/q", Dim("heads", query), hidden, "heads", saved=saved))
    latent = Dim("kv rank", a.kv_lora_rank + a.qk_rope_head_dim)
    up = Dim("heads", model.heads * (a.qk_nope_head_dim + a.v_head_dim))
    rank = Dim("kv rank", a.kv_lora_rank)
    pairs = documents.pairs(a.causal, None)
    ops += [
        matmul(f"{prefix}/kv down", latent, hidden, ""),
        norm(f"{prefix}/kv norm", model, float(a.kv_lora_rank)),
        matmul(f"{prefix}/kv up", up, rank, "heads", saved=float(a.kv_lora_rank)),
        memory(f"{prefix}/rope", 4.0 * query, "heads", launches=3.0),
        Op(
            f"{prefix}/attention",
            "attention",
            split="heads",
            flop=2.0 * pairs * (query + value),
            traffic=2.0 * query + 2.0 * value,
            output=float(value),
            saved=float(2 * query + value),
            extra_saved=_softmax_saved(model, documents, None),
            scores=_scores(model, documents),
            head_dim=(query + value) / (2.0 * model.heads),
            row_flop=2.0 * (query + value) / model.heads * documents.pairs(False, None),
        ),
        matmul(f"{prefix}/attention out", hidden, Dim("heads", value), "heads", saved=float(value)),
    ]
    return ops


def _mlp(prefix: str, model: ModelConfig, width: float, label: str = "mlp") -> list[Op]:
    gates = 2.0 if model.gated_mlp else 1.0
    hidden = Dim("hidden", model.hidden)
    bias = model.linear_bias
    up = matmul(
        f"{prefix}/{label} up", Dim("ffn", gates * width), hidden, "ffn", bias, saved=hidden.size,
        alternate=1.0 / gates,
    )  # fmt: skip
    act = memory(
        f"{prefix}/{label} activation", (gates + 1.0) * width, "ffn", output=width,
        saved=gates * width,
    )  # fmt: skip
    down = matmul(
        f"{prefix}/{label} down", hidden, Dim("ffn", width), "ffn", bias, saved=width,
        alternate=gates - 1.0,
    )  # fmt: skip
    return [up, act, replace(down, unread=not model.post_norms)]


def _mixture(prefix: str, model: ModelConfig) -> list[Op]:
    moe = model.moe
    assert moe is not None
    hidden, k = float(model.hidden), float(moe.top_k)
    gates = 2.0 if model.gated_mlp else 1.0
    width = float(moe.ffn_hidden)
    rows = Dim("expert tokens", k, True)
    router = matmul(f"{prefix}/router", Dim("experts", moe.experts), Dim("hidden", hidden), "")
    router = replace(router, launches=10.0)  # scores, top k, masks, counts, auxiliary loss
    permute = memory(f"{prefix}/permute", 2.0 * k * hidden, output=k * hidden, launches=8.0)
    dispatch = Op(
        f"{prefix}/dispatch", "dispatch", rows=rows, output=k * hidden, launches=4.0
    )  # counts exchanged, counts to the host, tokens exchanged, tokens sorted by expert
    up = Op(
        f"{prefix}/experts up", "grouped", rows=rows, cols=Dim("expert ffn", gates * width),
        inner=Dim("hidden", hidden), split="expert ffn", flop=2.0 * k * gates * width * hidden,
        output=k * gates * width, saved=k * hidden, weights=moe.experts * gates * width * hidden,
    )  # fmt: skip
    act = memory(
        f"{prefix}/expert activation", k * (gates + 1.0) * width, "expert ffn", output=k * width,
        saved=k * gates * width,
    )  # fmt: skip
    down = Op(
        f"{prefix}/experts down", "grouped", rows=rows, cols=Dim("hidden", hidden),
        inner=Dim("expert ffn", width), split="expert ffn", flop=2.0 * k * width * hidden,
        output=k * hidden, saved=k * width, weights=moe.experts * width * hidden,
    )  # fmt: skip
    combine = Op(f"{prefix}/combine", "dispatch", rows=rows, output=k * hidden, launches=2.0)
    unpermute = memory(f"{prefix}/unpermute", (k + 1.0) * hidden, output=hidden)
    ops = [router, permute, dispatch, up, act, down, combine, unpermute]
    shared = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
    if shared:
        ops = [*_mlp(prefix, model, float(shared), "shared expert"), *ops]
    return ops
