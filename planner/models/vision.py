"""The vision tower of a model: an encoder of image patches that stands before the embedding.

Its layers run on patches, attend to the whole image, and end in a projector whose results take
the places of the sequence's image tokens. Knows shapes only (see `config`).

Parts: `Vision`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Count", "Size", "Vision"]

Size = Annotated[int, Field(gt=0, le=1_000_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Vision(BaseModel):
    """A vision transformer and its projector.

    Parameters
    ----------
    layers, hidden, ffn_hidden, heads, gated_mlp : of the transformer, multi-head
    tokens          : patches of one image (of one tile, where images are cut into tiles)
    images_per_sequence : images (tiles) that a sequence holds on average; a job's
                      `workload.images_per_sequence` comes first
    merge           : patches on a side that become one token: 2 makes 4 patches one (pixel
                      shuffle, spatial merge)
    projector_hidden: width between the projector's two products; None: the decoder's
    patch_values    : numbers of a patch, e.g. 3 x 14 x 14
    frozen          : neither tower nor projector learns: it runs forward only
    window          : patches of an attention window, in all but `full_attention_layers`

    The rest are small tensors that count as parameters:

    qkv_bias, output_bias, mlp_bias : biases; norm_bias: of norms, beside their weight
    qk_norm         : query and key norms over all heads
    extra_parameters: what else the checkpoint holds: positions, class token, layer scales, the
                      projector's norm, a bias of the patches
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: Annotated[int, Field(gt=0, le=100_000)]
    hidden: Size
    ffn_hidden: Size
    heads: Size
    gated_mlp: bool = False
    tokens: Size
    images_per_sequence: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    merge: Annotated[int, Field(gt=0, le=64)] = 1
    projector_hidden: Size | None = None
    patch_values: Size = 588
    frozen: bool = False
    window: Size | None = None
    full_attention_layers: Count = 0
    position: Literal["learned", "rope", "none"] = "learned"
    qkv_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    norm_bias: bool = True
    qk_norm: bool = False
    extra_parameters: Annotated[int, Field(ge=0, le=10_000_000_000)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Vision":
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        if self.tokens % self.merge**2:
            raise ValueError(f"tokens {self.tokens} is not a multiple of merge {self.merge}^2")
        if self.full_attention_layers > self.layers:
            raise ValueError(
                f"full_attention_layers {self.full_attention_layers} is more than"
                f" layers {self.layers}"
            )
        return self

    @property
    def image_tokens(self) -> float:
        """Tokens of a sequence that one image takes."""
        return self.tokens / self.merge**2

    @property
    def pairs(self) -> float:
        """Patches that a patch attends to, a mean over the layers."""
        if self.window is None:
            return float(self.tokens)
        windowed = min(self.window, self.tokens) * (self.layers - self.full_attention_layers)
        return (self.tokens * self.full_attention_layers + windowed) / self.layers
