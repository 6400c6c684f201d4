"""The architecture of a decoder-only transformer, in the terms of the job spec.

`ModelConfig` is the inline `model` mapping of a job and what every preset file and every
Hugging Face configuration is read into. It knows shapes only: no times, no bytes of training.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

__all__ = ["Attention", "LayerType", "ModelConfig", "MoE"]

LayerType = Literal["full_attention", "sliding_attention", "linear_attention"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attention(_Frozen):
    """Attention: grouped queries (gqa, of which multi-head is a case) or multi-latent (mla)."""

    kind: Literal["gqa", "mla"] = "gqa"
    window: PositiveInt | None = None
    causal: bool = True
    q_lora_rank: PositiveInt | None = None
    kv_lora_rank: PositiveInt | None = None
    qk_nope_head_dim: PositiveInt | None = None
    qk_rope_head_dim: PositiveInt | None = None
    v_head_dim: PositiveInt | None = None

    @model_validator(mode="after")
    def _mla_is_whole(self) -> "Attention":
        if self.kind == "mla":
            needed = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
            missing = [key for key in needed if getattr(self, key) is None]
            if missing:
                raise ValueError(f"attention kind mla needs {', '.join(missing)}")
        return self


class MoE(_Frozen):
    """Mixture of experts. `ffn_hidden` is one expert's width; `shared_experts` of that width see
    every token (`shared_ffn_hidden` where their total width differs); the first
    `first_dense_layers` layers and all but each `every`-th are dense. `imbalance`: the busiest
    expert rank over the mean one (None: the stated default).
    """

    experts: PositiveInt
    top_k: PositiveInt
    ffn_hidden: PositiveInt
    shared_experts: Annotated[int, Field(ge=0)] = 0
    shared_ffn_hidden: PositiveInt | None = None
    first_dense_layers: Annotated[int, Field(ge=0)] = 0
    every: PositiveInt = 1
    dropless: bool = True
    groups: PositiveInt | None = None
    top_k_groups: PositiveInt | None = None
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
    layer_types    : repeats over the layers; `attention.window` is for the sliding ones
    mtp_layers     : multi-token-prediction layers after the last
    qkv_bias, linear_bias, norm_bias, qk_norm, post_norms : small tensors that count as parameters
    """

    name: str = "custom"
    layers: PositiveInt
    hidden: PositiveInt
    ffn_hidden: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    vocab: PositiveInt
    gated_mlp: bool = True
    tied_embeddings: bool = False
    position: Literal["learned", "rope", "alibi", "none"] = "rope"
    max_positions: PositiveInt | None = None
    attention: Attention = Attention()
    moe: MoE | None = None
    layer_types: tuple[LayerType, ...] | None = None
    mtp_layers: Annotated[int, Field(ge=0)] = 0
    qkv_bias: bool = False
    linear_bias: bool = False
    norm_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.heads % self.kv_heads_or_all:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.head_dim is None and self.hidden % self.heads:
            raise ValueError(f"give head_dim: hidden {self.hidden} / heads {self.heads} not whole")
        if self.layer_types and "sliding_attention" in self.layer_types:
            if self.attention.window is None:
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
