"""The architecture of a decoder-only transformer, in the terms of the job spec.

A vision tower may stand before it (see `vision`).

`ModelConfig` is the inline `model` mapping of a job and what every preset file and every
Hugging Face configuration is read into. It knows shapes only: no times, no bytes of training.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from planner.models.vision import Count, Size, Vision

__all__ = ["Attention", "LayerType", "ModelConfig", "MoE"]

LayerType = Literal["full_attention", "sliding_attention", "linear_attention"]
Layers = Annotated[int, Field(gt=0, le=1_000_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attention(_Frozen):
    """Attention: grouped queries (gqa, of which multi-head is a case) or multi-latent (mla)."""

    kind: Literal["gqa", "mla"] = "gqa"
    window: Size | None = None
    causal: bool = True
    q_lora_rank: Size | None = None
    kv_lora_rank: Size | None = None
    qk_nope_head_dim: Size | None = None
    qk_rope_head_dim: Size | None = None
    v_head_dim: Size | None = None

    @model_validator(mode="after")
    def _mla_is_whole(self) -> "Attention":
        if self.kind == "mla":
            needed = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
            missing = [key for key in needed if getattr(self, key) is None]
            if missing:
                raise ValueError(f"attention kind mla needs {', '.join(missing)}")
        return self


class MoE(_Frozen):
    """Mixture of experts.

    `ffn_hidden` is one expert's width; `shared_experts` of that width see every token
    (`shared_ffn_hidden` where their total width differs; `shared_gate`: scaled by a learned gate
    of `hidden` weights); the first `first_dense_layers` layers and all but each `every`-th are
    dense (see `ModelConfig.is_moe`). `score_bias`: one correction per expert is added to the
    router's scores. `imbalance`: the busiest expert rank over the mean one (None: the stated
    default).
    """

    experts: Size
    top_k: Size
    ffn_hidden: Size
    shared_experts: Count = 0
    shared_ffn_hidden: Size | None = None
    shared_gate: bool = False
    score_bias: bool = False
    first_dense_layers: Count = 0
    every: Size = 1
    dropless: bool = True
    groups: Size | None = None
    top_k_groups: Size | None = None
    capacity_factor: Annotated[float, Field(gt=0)] | None = None
    imbalance: Annotated[float, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _top_k_of_experts(self) -> "MoE":
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} is more than experts {self.experts}")
        return self


class ModelConfig(_Frozen):
    """A decoder-only transformer.

    Parameters
    ----------
    layers, hidden, ffn_hidden, heads, head_dim, vocab : as usual; `ffn_hidden` is a dense layer's
    kv_heads       : None means heads (multi-head attention)
    head_dim       : None means hidden / heads
    gated_mlp      : two input projections (SwiGLU and its kin)
    position       : learned (adds `max_positions` x hidden parameters) or rope
    layer_types    : repeats over the layers; `attention.window` is for the sliding ones. None: all
                     sliding where a window is given, else all full. A linear_attention layer has
                     the projections of a full one
    mtp_layers     : multi-token-prediction layers after the last
    vision         : a vision tower before the embedding, or None
    left_out       : what the model's file describes beside it and is not planned, for the record

    The rest are small tensors that count as parameters:

    qkv_bias, output_bias : biases of the query, key and value and of the output projection
    mlp_bias       : biases of the MLPs and experts
    linear_bias    : a bias on every linear map of the layers (attention, MLP, experts, router)
    mlp_clamp      : gate and up of MLPs and experts are clamped before the activation (GPT-OSS)
    norm_bias      : norms have a bias beside their weight
    norm_weight    : norms have a weight (False: OLMo 1's)
    norms_per_layer: of width hidden. None means 2, or 4 with post_norms; 1 in some parallel layers
    post_norms     : a norm behind attention and MLP as well as before
    embedding_norm : a norm behind the embedding
    qk_norm        : query and key norms of a head's width; with qk_norm_all, of all heads' width
    attention_sinks: one learned logit a head
    head_bias      : a bias on the output head
    """

    name: str = "custom"
    layers: Layers
    hidden: Size
    ffn_hidden: Size
    heads: Size
    kv_heads: Size | None = None
    head_dim: Size | None = None
    vocab: Size
    gated_mlp: bool = True
    tied_embeddings: bool = False
    position: Literal["learned", "rope", "alibi", "none"] = "rope"
    max_positions: Size | None = None
    attention: Attention = Attention()
    moe: MoE | None = None
    layer_types: tuple[LayerType, ...] | None = None
    mtp_layers: Count = 0
    vision: Vision | None = None
    left_out: str | None = None
    qkv_bias: bool = False
    linear_bias: bool = False
    norm_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    mlp_clamp: bool = False
    norm_weight: bool = True
    norms_per_layer: Count | None = None
    embedding_norm: bool = False
    qk_norm_all: bool = False
    attention_sinks: bool = False
    head_bias: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.heads % self.kv_heads_or_all:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.head_dim is None and self.hidden % self.heads:
            raise ValueError(f"give head_dim: hidden {self.hidden} / heads {self.heads} not whole")
        if "sliding_attention" in (self.layer_types or ()) and self.attention.window is None:
            raise ValueError("layer_types has sliding_attention: give attention.window")
        return self

    @property
    def kv_heads_or_all(self) -> int:
        """Key-value heads, with None read as one for each query head."""
        return self.kv_heads or self.heads

    @property
    def head_dim_or_even(self) -> int:
        """Width of a head, with None read as hidden / heads."""
        return self.head_dim or self.hidden // self.heads

    @property
    def tower(self) -> "ModelConfig | None":
        """The layers of the vision tower as those of a model of its own, or None."""
        v = self.vision
        if v is None:
            return None
        return ModelConfig(
            name="vision", layers=v.layers, hidden=v.hidden, ffn_hidden=v.ffn_hidden,
            heads=v.heads, vocab=1, gated_mlp=v.gated_mlp, position=v.position,
            attention=Attention(causal=False), qkv_bias=v.qkv_bias, output_bias=v.output_bias,
            mlp_bias=v.mlp_bias, norm_bias=v.norm_bias, qk_norm=v.qk_norm, qk_norm_all=v.qk_norm,
        )  # fmt: skip

    @property
    def norms_each_layer(self) -> int:
        """Norms of width hidden in a layer, with None read as 2, or 4 with post_norms."""
        if self.norms_per_layer is not None:
            return self.norms_per_layer
        return 4 if self.post_norms else 2

    def is_moe(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) has experts: behind the dense ones, each `every`-th."""
        moe = self.moe
        return moe is not None and layer >= moe.first_dense_layers and (layer + 1) % moe.every == 0

    @property
    def moe_layers(self) -> int:
        """How many of the layers have experts."""
        if self.moe is None:
            return 0
        dense = min(self.moe.first_dense_layers, self.layers)
        return self.layers // self.moe.every - dense // self.moe.every

    def layer_type(self, layer: int) -> LayerType:
        """Kind of attention of layer `layer` (from 0)."""
        if self.layer_types:
            return self.layer_types[layer % len(self.layer_types)]
        return "full_attention" if self.attention.window is None else "sliding_attention"
