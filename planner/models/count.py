"""Exact parameter counts of a model, by part.

Every tensor of the published checkpoints is counted: matrices, biases, norms, router, sinks.
Knows shapes only: not how a tensor is sharded, stored or trained.
"""

from dataclasses import dataclass

from planner.models.config import ModelConfig

__all__ = ["ParameterCount", "count"]


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters by part. The parts with `_per_layer` are of one layer that has them.

    Parameters
    ----------
    embedding            : token table; the head too where the two are tied
    positions            : table of learned positions (0 where `max_positions` is not given)
    head                 : output projection; 0 where tied
    attention_per_layer  : projections, biases and sinks; the same for every kind of layer
    dense_mlp_per_layer  : MLP of a dense layer
    router_per_layer     : gate over the experts, with its corrections
    experts_per_layer    : all routed experts of a layer
    shared_experts_per_layer : experts that see every token, with their gate
    norms                : all norms of the model, q, k and latent norms included
    mtp                  : multi-token-prediction modules, without the embedding and head that
                           they share with the main model. Not in `total`
    vision               : vision tower with its projector
    layers, dense_layers, moe_layers : how many
    top_k, experts       : routed experts that a token visits, and that there are (1 where none)
    """

    embedding: int
    positions: int
    head: int
    attention_per_layer: int
    dense_mlp_per_layer: int
    router_per_layer: int
    experts_per_layer: int
    shared_experts_per_layer: int
    norms: int
    mtp: int
    vision: int
    layers: int
    dense_layers: int
    moe_layers: int
    top_k: int
    experts: int

    @property
    def routed(self) -> int:
        """Parameters of all routed experts of the main model."""
        return self.moe_layers * self.experts_per_layer

    @property
    def total(self) -> int:
        """Parameters of the main model, tied tables counted once, MTP modules left out."""
        every_token = self.router_per_layer + self.shared_experts_per_layer
        return (
            self.embedding
            + self.positions
            + self.head
            + self.norms
            + self.vision
            + self.layers * self.attention_per_layer
            + self.dense_layers * self.dense_mlp_per_layer
            + self.moe_layers * every_token
            + self.routed
        )

    @property
    def active(self) -> int:
        """Parameters that one token multiplies with.

        `total` less the experts that it does not visit and less an embedding table of its own
        (looked up, not multiplied). DeepSeek, Moonshot and OpenAI count so; Meta adds the table.
        """
        table = self.embedding if self.head >= self.embedding else 0
        return self.total - table - self.routed + self.routed * self.top_k // self.experts


def count(config: ModelConfig) -> ParameterCount:
    """Count the parameters of `config`.

        total = vocab h (once where tied, else twice) + positions + vision
              + layers * attention + dense * mlp + moe * (router + shared + E expert) + norms

    with h the hidden size. Source: the tensor shapes of the published checkpoints.

    >>> count(ModelConfig(layers=1, hidden=8, ffn_hidden=16, heads=2, vocab=10)).total
    824
    """
    moe = config.moe
    learned = config.position == "learned"
    table = config.vocab * config.hidden
    return ParameterCount(
        embedding=table,
        positions=(config.max_positions or 0) * config.hidden if learned else 0,
        head=(0 if config.tied_embeddings else table) + config.head_bias * config.vocab,
        attention_per_layer=_attention(config),
        dense_mlp_per_layer=_mlp(config, config.ffn_hidden),
        router_per_layer=_router(config),
        experts_per_layer=moe.experts * _mlp(config, moe.ffn_hidden) if moe else 0,
        shared_experts_per_layer=_shared(config),
        norms=config.layers * _layer_norms(config)
        + (1 + config.embedding_norm) * _norm(config, config.hidden),
        mtp=config.mtp_layers * _mtp_layer(config),
        vision=_vision(config),
        layers=config.layers,
        dense_layers=config.layers - config.moe_layers,
        moe_layers=config.moe_layers,
        top_k=moe.top_k if moe else 1,
        experts=moe.experts if moe else 1,
    )


def _attention(config: ModelConfig) -> int:
    sinks = config.attention_sinks * config.heads
    if config.attention.kind == "mla":
        return _latent_attention(config) + sinks
    hidden, width = config.hidden, config.heads * config.head_dim_or_even
    kv_width = 2 * config.kv_heads_or_all * config.head_dim_or_even
    bias = (config.linear_bias or config.qkv_bias) * (width + kv_width)
    bias += (config.linear_bias or config.output_bias) * hidden
    return hidden * (width + kv_width) + width * hidden + bias + sinks


def _latent_attention(config: ModelConfig) -> int:
    """DeepSeek-V2 (arXiv:2405.04434), section 2.1: down, up and rotary projections; no biases."""
    shape, hidden, heads = config.attention, config.hidden, config.heads
    nope, rope = shape.qk_nope_head_dim or 0, shape.qk_rope_head_dim or 0
    latent, value = shape.kv_lora_rank or 0, shape.v_head_dim or 0
    query = heads * (nope + rope)
    down = shape.q_lora_rank
    queries = hidden * query if down is None else hidden * down + down * query
    return (
        queries
        + hidden * (latent + rope)
        + latent * heads * (nope + value)
        + heads * value * hidden
    )


def _mlp(config: ModelConfig, width: int) -> int:
    inputs = 2 if config.gated_mlp else 1
    bias = (config.linear_bias or config.mlp_bias) * (inputs * width + config.hidden)
    return (inputs + 1) * config.hidden * width + bias


def _router(config: ModelConfig) -> int:
    moe = config.moe
    if moe is None:
        return 0
    return moe.experts * (config.hidden + config.linear_bias + moe.score_bias)


def _shared(config: ModelConfig) -> int:
    moe = config.moe
    if moe is None or not (moe.shared_experts or moe.shared_ffn_hidden):
        return 0
    width = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
    return _mlp(config, width) + moe.shared_gate * config.hidden


def _norm(config: ModelConfig, width: int) -> int:
    return width * (config.norm_weight + config.norm_bias)


def _layer_norms(config: ModelConfig) -> int:
    norms = config.norms_each_layer * _norm(config, config.hidden)
    head = config.head_dim_or_even
    if config.qk_norm_all:
        norms += (config.heads + config.kv_heads_or_all) * head
    elif config.qk_norm:
        norms += 2 * head
    if config.attention.kind == "mla":
        norms += (config.attention.q_lora_rank or 0) + (config.attention.kv_lora_rank or 0)
    return norms


def _mtp_layer(config: ModelConfig) -> int:
    """Two norms, a 2h to h projection, a layer and a norm (DeepSeek-V3, arXiv:2412.19437, 2.2)."""
    hidden = config.hidden
    layer = _attention(config) + _layer_norms(config)
    if config.moe is None:
        layer += _mlp(config, config.ffn_hidden)
    else:
        experts = config.moe.experts * _mlp(config, config.moe.ffn_hidden)
        layer += experts + _router(config) + _shared(config)
    return 2 * hidden * hidden + 3 * _norm(config, hidden) + layer


def _vision(config: ModelConfig) -> int:
    """Patches to widths, layers, and a projector of two products from merged patches."""
    vision, tower = config.vision, config.tower
    if vision is None or tower is None:
        return 0
    layer = _attention(tower) + _mlp(tower, tower.ffn_hidden) + _layer_norms(tower)
    merged, width = vision.hidden * vision.merge**2, vision.projector_hidden or config.hidden
    projector = merged * width + width + width * config.hidden + config.hidden
    patches = vision.patch_values * vision.hidden
    return vision.layers * layer + patches + projector + vision.extra_parameters
