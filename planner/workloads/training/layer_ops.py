"""The operators of one decoder layer: attention by kind, MLP, mixture of experts.

Source of the shapes: Vaswani et al. 2017; Korthikanti et al. 2022 (what is kept); DeepSeek-V2,
2024 (multi-latent attention). Knows the architecture; no mesh, machine or time.
"""

from dataclasses import dataclass, replace

from planner.graph import Dim, Op
from planner.models.config import ModelConfig
from planner.workloads.training.documents import Documents, LayerKind
from planner.workloads.training.operators import Adapters, adapt, matmul, memory, norm

__all__ = ["layer_ops"]

_LINEAR_CHUNK = 64.0
"""Tokens of a chunk of linear attention: assumed, the default of public kernels."""
_CLAMP = 8.0
"""Elements moved to clamp gate and up before a fused activation, by width of an expert: each is
read and written, and both are joined anew (counted in Megatron-LM's fused_bias_geglu.py)."""
_EXPERT_BIAS = 14.0
"""Elements moved to add a bias to what each expert gives, in units of 16 bits, by hidden width:
bias times the token's weight makes fp32, the sum is joined over experts and cast (counted in
Megatron-LM's experts.py)."""


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
        ops += _latent_attention(prefix, model, kind, documents)
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
    seen = _seen(model, kind, documents, float(width))
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
            flop=4.0 * seen.pairs * queries,
            traffic=2.0 * queries + 2.0 * keys,
            output=float(queries),
            saved=float(queries + 2 * keys),
            extra_saved=seen.kept * model.heads,
            scores=seen.scores * model.heads,
            head_dim=float(width),
            row_flop=4.0 * width * seen.longest,
        )
    )
    out = matmul(
        f"{prefix}/attention out", Dim("hidden", model.hidden), Dim("heads", queries), "heads",
        model.linear_bias, saved=float(queries), alternate=0.0,
    )  # fmt: skip
    return [*ops, out]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a query and head of a layer meets, in keys.

    Parameters
    ----------
    pairs   : on average; FLOP are 4 per key and number of the head
    longest : of the query that meets the most
    scores  : made by attention that is not fused, those it masks too
    kept    : elements that such attention keeps: 2.5 per key (softmax, dropout)
    """

    pairs: float
    longest: float
    scores: float
    kept: float


def _seen(model: ModelConfig, kind: LayerKind, documents: Documents, width: float) -> _Seen:
    """Keys of a layer: all, those of a window, or what a chunk and a state are worth."""
    if kind.attention == "linear_attention":
        return _linear(width)
    window = model.attention.window if kind.attention == "sliding_attention" else None
    return _Seen(
        pairs=documents.pairs(model.attention.causal, window),
        longest=documents.pairs(False, window),
        scores=documents.sequence,
        kept=2.5 * min(documents.sequence, window or documents.sequence),
    )


def _linear(width: float) -> _Seen:
    """Linear attention by chunks of C tokens, with a state of d x d numbers a head.

    A token and head does 4 d C/2 FLOP inside its chunk (the causal half), 2 d^2 to read the state
    and 2 d^2 to add to it: as much as d + C/2 keys, whatever the sequence. The state is kept once a
    chunk, d^2/C numbers a token. Decays, gates and the delta rule's solve are not counted.
    Source: Yang et al., Gated Linear Attention Transformers, ICML 2024, section 4; C assumed.
    """
    pairs = width + _LINEAR_CHUNK / 2.0
    return _Seen(pairs, width + _LINEAR_CHUNK, _LINEAR_CHUNK, width * width / _LINEAR_CHUNK)


def _latent_attention(
    prefix: str, model: ModelConfig, kind: LayerKind, documents: Documents
) -> list[Op]:
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
    seen = _seen(model, kind, documents, (query + value) / (2.0 * model.heads))
    ops += [
        matmul(f"{prefix}/kv down", latent, hidden, ""),
        norm(f"{prefix}/kv norm", model, float(a.kv_lora_rank)),
        matmul(f"{prefix}/kv up", up, rank, "heads", saved=float(a.kv_lora_rank)),
        memory(f"{prefix}/rope", 4.0 * query, "heads", launches=3.0),
        Op(
            f"{prefix}/attention",
            "attention",
            split="heads",
            flop=2.0 * seen.pairs * (query + value),
            traffic=2.0 * query + 2.0 * value,
            output=float(value),
            saved=float(2 * query + value),
            extra_saved=seen.kept * model.heads,
            scores=seen.scores * model.heads,
            head_dim=(query + value) / (2.0 * model.heads),
            row_flop=2.0 * (query + value) / model.heads * seen.longest,
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
    return [replace(up, branches=gates), act, replace(down, unread=not model.post_norms)]


def _mixture(prefix: str, model: ModelConfig) -> list[Op]:
    moe = model.moe
    assert moe is not None
    hidden, k = float(model.hidden), float(moe.top_k)
    gates = 2.0 if model.gated_mlp else 1.0
    width = float(moe.ffn_hidden)
    rows = Dim("expert tokens", k, True)
    router = matmul(
        f"{prefix}/router", Dim("experts", moe.experts), Dim("hidden", hidden), "", saved=hidden
    )
    router = replace(router, launches=10.0)  # scores, top k, masks, counts, auxiliary loss
    swap = 2.0 * k * hidden  # what came by rank is put in the order of experts, or back; or padded
    permute = memory(
        f"{prefix}/permute",
        2.0 * k * hidden,
        output=k * hidden,
        launches=8.0,
        exchanged=swap,
        padded=swap,
    )
    dispatch = Op(
        f"{prefix}/dispatch", "dispatch", rows=rows, output=k * hidden, launches=4.0
    )  # counts exchanged, counts to the host, tokens exchanged, tokens sorted by expert
    up = Op(
        f"{prefix}/experts up", "grouped", rows=rows, cols=Dim("expert ffn", gates * width),
        inner=Dim("hidden", hidden), split="expert ffn", flop=2.0 * k * gates * width * hidden,
        output=k * gates * width, each=1.0, saved=k * hidden,
        weights=moe.experts * gates * width * hidden,
    )  # fmt: skip
    act = memory(
        f"{prefix}/expert activation", k * (gates + 1.0) * width, "expert ffn", output=k * width,
        saved=k * gates * width, gate=True, unfused=k * _CLAMP * width * model.mlp_clamp,
        scored=k * (gates + 1.0) * width, copied=k * gates * width * model.mlp_clamp,
    )  # fmt: skip
    down = Op(
        f"{prefix}/experts down", "grouped", rows=rows, cols=Dim("hidden", hidden),
        inner=Dim("expert ffn", width), split="expert ffn", flop=2.0 * k * width * hidden,
        output=k * hidden, each=1.0, saved=k * width, weights=moe.experts * width * hidden,
    )  # fmt: skip
    combine = Op(f"{prefix}/combine", "dispatch", rows=rows, output=k * hidden, launches=2.0)
    biased = model.linear_bias or model.mlp_bias
    unpermute = memory(
        f"{prefix}/unpermute", (k + 1.0) * hidden, output=hidden, exchanged=swap, padded=swap,
        unfused=k * _EXPERT_BIAS * hidden * biased, each=2.0 * biased,
    )  # fmt: skip
    ops = [router, permute, dispatch, up, act, down, combine, unpermute]
    shared = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
    if shared:
        up, *rest = _mlp(prefix, model, float(shared), "shared expert")
        ops = [replace(up, borrowed=True), *rest, *ops]  # the router keeps what both read
    return ops
