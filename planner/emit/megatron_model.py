"""The architecture as arguments of Megatron-Core: attention, MLP, experts, multi-token prediction.

Says in the header what the plan's model has and Megatron-Core's GPT model has not. Knows sizes
and switches of a model; no degree of parallelism. Flags and their rules are those of
`megatron/training/arguments.py` and `megatron/core/transformer/transformer_config.py`.

Parts: `Arg`, `model_args`, `moe_args`, `layer_pattern`.
"""

from collections.abc import Sequence

from planner.emit.text import Header
from planner.emit.view import PlanView
from planner.models.config import ModelConfig, MoE

__all__ = ["Arg", "layer_pattern", "model_args", "moe_args"]

Arg = tuple[str, ...]
"""A flag and its values."""

POSITION = {"learned": "learned_absolute", "rope": "rope", "alibi": "none", "none": "none"}
FP32_ROUTER_FROM_EXPERTS = 32
"""Megatron-Core warns at this many experts where the router does not run in fp32."""


def layer_pattern(flags: Sequence[int]) -> str:
    """Return a short list expression that evaluates to `flags`, as Megatron's parser allows it.

    >>> layer_pattern([0] * 3 + [1] * 58)
    '[0]*3+[1]*58'
    >>> layer_pattern([1, 1, 0] * 8)
    '([1]*2+[0]*1)*8'
    """
    flags = list(flags)
    size = len(flags)
    for period in range(1, size // 2 + 1):
        if size % period == 0 and flags == flags[:period] * (size // period):
            block = _runs(flags[:period])
            return f"({block})*{size // period}" if period > 1 else f"[{flags[0]}]*{size}"
    return _runs(flags)


def _runs(flags: Sequence[int]) -> str:
    parts: list[tuple[int, int]] = []
    for flag in flags:
        if parts and parts[-1][0] == flag:
            parts[-1] = (flag, parts[-1][1] + 1)
        else:
            parts.append((flag, 1))
    return "+".join(f"[{flag}]*{many}" for flag, many in parts)


def model_args(view: PlanView, header: Header) -> list[Arg]:
    """Sizes, attention, MLP, norms and embeddings."""
    model, sequence = view.model, view.workload.sequence_length
    positions = max(sequence, model.max_positions or 0 if model.position == "learned" else 0)
    args: list[Arg] = [
        ("--num-layers", str(model.layers)),
        ("--hidden-size", str(model.hidden)),
        ("--ffn-hidden-size", str(model.ffn_hidden)),
        ("--num-attention-heads", str(model.heads)),
        *_attention(model, header),
        ("--seq-length", str(sequence)),
        ("--max-position-embeddings", str(positions)),
        ("--position-embedding-type", POSITION[model.position]),
        ("--normalization", "LayerNorm" if model.norm_bias else "RMSNorm"),
    ]
    if model.gated_mlp:
        args.append(("--swiglu",))
    if not model.tied_embeddings:
        args.append(("--untie-embeddings-and-output-weights",))
    if not model.linear_bias:
        args.append(("--disable-bias-linear",))
    elif model.moe is not None and view.mesh.etp > 1:
        header.not_expressible("a bias in experts with etp above 1", "none; it is refused at start")
    if model.mtp_layers and POSITION[model.position] in ("rope", "none"):
        args.append(("--mtp-num-layers", str(model.mtp_layers)))
    elif model.mtp_layers:
        header.not_expressible("multi-token prediction with learned positions", "without it")
    if model.position == "rope":
        header.chosen("the rotary base, Megatron's default; give --rotary-base for your model")
    if not model.gated_mlp:
        header.chosen("the activation, GELU; give --squared-relu where the model has that")
    _unlike(model, header)
    return args


def _attention(model: ModelConfig, header: Header) -> list[Arg]:
    args: list[Arg] = []
    attention = model.attention
    if attention.kind == "mla":
        args += [
            ("--kv-channels", str(attention.v_head_dim)),
            ("--multi-latent-attention",),
            *([("--q-lora-rank", str(attention.q_lora_rank))] if attention.q_lora_rank else []),
            ("--kv-lora-rank", str(attention.kv_lora_rank)),
            ("--qk-head-dim", str(attention.qk_nope_head_dim)),
            ("--qk-pos-emb-head-dim", str(attention.qk_rope_head_dim)),
            ("--v-head-dim", str(attention.v_head_dim)),
            ("--qk-layernorm",),
        ]
        header.chosen("no YaRN scaling of positions; give --rotary-scaling-factor where used")
    else:
        args.append(("--kv-channels", str(model.head_dim_or_even)))
        if model.kv_heads_or_all != model.heads:
            args += [("--group-query-attention",), ("--num-query-groups", str(model.kv_heads))]
        if model.qk_norm:
            args.append(("--qk-layernorm",))
    if model.qkv_bias and not model.linear_bias:
        args.append(("--add-qkv-bias",))
    if model.attention_sinks:
        args.append(("--softmax-type", "learnable"))
    return args + _windows(model, header)


def _windows(model: ModelConfig, header: Header) -> list[Arg]:
    kinds = [model.layer_type(layer) for layer in range(model.layers)]
    if "linear_attention" in kinds:
        header.not_expressible("linear attention layers", "full attention in their place")
    if not model.attention.causal:
        header.not_expressible("attention that is not causal", "causal attention")
    sliding = [int(kind == "sliding_attention") for kind in kinds]
    if not any(sliding) or model.attention.window is None:
        return []
    args: list[Arg] = [("--window-size", f"({model.attention.window - 1},0)")]
    if not all(sliding):
        args.append(("--window-attn-skip-freq", layer_pattern(sliding)))
    return args


def _unlike(model: ModelConfig, header: Header) -> None:
    """Note small parts of the model that Megatron-Core's GPT model does not have."""
    checks = (
        (model.vision is not None, "a vision tower", "the language model alone"),
        (model.position == "alibi", "ALiBi positions", "no position embedding"),
        (model.post_norms, "norms behind attention and MLP", "norms before them only"),
        (model.norms_each_layer == 1, "one norm for attention and MLP", "two norms"),
        (model.embedding_norm, "a norm behind the embedding", "none"),
        (not model.norm_weight, "norms without a weight", "norms with a weight"),
        (model.qk_norm_all, "query and key norms over all heads", "norms of each head"),
        (model.head_bias, "a bias on the output head", "none"),
        (
            model.output_bias and not model.linear_bias,
            "a bias on the attention output alone",
            "none",
        ),
    )
    for present, what, nearest in checks:
        if present:
            header.not_expressible(what, nearest)


def moe_args(view: PlanView, header: Header) -> list[Arg]:
    """Experts, router and dispatcher; empty for a dense model."""
    model, moe = view.model, view.model.moe
    if moe is None:
        return []
    shared = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
    pattern = layer_pattern([int(model.is_moe(layer)) for layer in range(model.layers)])
    args: list[Arg] = [
        ("--num-experts", str(moe.experts)),
        ("--moe-ffn-hidden-size", str(moe.ffn_hidden)),
        ("--moe-layer-freq", pattern),
        ("--moe-grouped-gemm",),
        *_dispatcher(view),
        *([("--moe-permute-fusion",)] if view.switches.fused_kernels else []),
    ]
    if shared:
        args.append(("--moe-shared-expert-intermediate-size", str(shared)))
    if shared and moe.shared_gate:
        args.append(("--moe-shared-expert-gate",))
    return args + _router(moe, header)


def _dispatcher(view: PlanView) -> list[Arg]:
    """Exchange by the communication library, or by kernels that also order and pad tokens."""
    moe = view.model.moe
    if moe is None or not view.switches.fused_dispatch or view.mesh.ep == 1:
        return [("--moe-token-dispatcher-type", "alltoall")]
    args: list[Arg] = [
        ("--moe-token-dispatcher-type", "flex"),
        ("--moe-flex-dispatcher-backend", "hybridep"),
    ]
    if moe.experts < FP32_ROUTER_FROM_EXPERTS:
        args.append(("--moe-router-dtype", "fp32"))  # its kernels take no other weights
    return args


def _router(moe: MoE, header: Header) -> list[Arg]:
    args: list[Arg] = [("--moe-router-topk", str(moe.top_k))]
    if moe.groups and moe.top_k_groups:
        args.append(("--moe-router-num-groups", str(moe.groups)))
        args.append(("--moe-router-group-topk", str(moe.top_k_groups)))
    if moe.score_bias:
        args += [("--moe-router-score-function", "sigmoid"), ("--moe-router-enable-expert-bias",)]
    elif moe.top_k == 1:
        args.append(("--moe-router-pre-softmax",))
    if moe.experts >= FP32_ROUTER_FROM_EXPERTS:
        args.append(("--moe-router-dtype", "fp32"))
    if not moe.dropless:
        factor = moe.capacity_factor or 1.0
        args.append(("--moe-expert-capacity-factor", repr(float(factor))))
        args.append(("--moe-pad-expert-input-to-capacity",))
        if moe.capacity_factor is None:
            header.chosen("the experts' capacity factor, 1.0")
    if moe.imbalance == 1.0:
        args.append(("--moe-router-force-load-balancing",))
        header.chosen(
            "forced balanced routing is what imbalance 1.0 means: for measuring speed only;"
            " remove --moe-router-force-load-balancing to learn something"
        )
    else:
        args += [("--moe-router-load-balancing-type", "aux_loss"), ("--moe-aux-loss-coeff", "1e-2")]
        header.chosen("the router's balancing loss, aux_loss at 1e-2")
    return args
