"""The blocks of a vision tower: its layers, and what joins patches to the decoder.

The tower's layers are those of a decoder that attends to whole images; its ops run on patches, of
which there are `images * tokens / sequence` for each token of the sequence. Whole images are dealt
to the context-parallel ranks, so the tower exchanges no keys; tensor parallelism splits it by
heads and widths like the rest, heads that do not divide padded to whole ones. Knows the
architecture; no mesh, machine or time.

Source of the shapes: InternVL (Chen et al. 2023, arXiv:2312.14238), Qwen2.5-VL (Bai et al. 2025,
arXiv:2502.13923); of the padded heads: Megatron-LM's multimodal examples.
"""

from dataclasses import replace

from planner.graph import PATCHES, Block, Dim, Op
from planner.models.config import ModelConfig
from planner.models.vision import Vision
from planner.workloads.training.documents import Documents, LayerKind
from planner.workloads.training.layer_ops import layer_ops
from planner.workloads.training.operators import matmul, memory, norm, with_backward

__all__ = ["tower_blocks"]


def tower_blocks(model: ModelConfig, sequence: float, *, frozen: bool) -> list[Block]:
    """List the blocks of the model's tower in forward order, none without one.

    Parameters
    ----------
    sequence : tokens of a sequence, those of its images included
    frozen   : the tower does not learn (nor where the model says so): it runs forward only
    """
    vision, tower = model.vision, model.tower
    if vision is None or tower is None:
        return []
    patches = vision.images_per_sequence * vision.tokens / sequence
    whole = Documents(float(vision.tokens), vision.pairs, vision.pairs)
    layer = layer_ops("vision", tower, LayerKind("full_attention", False), whole, None)
    merged = patches / vision.merge**2
    still = frozen or vision.frozen

    def made(name: str, ops: list[Op], count: float) -> Block:
        kept = [_still(op) for op in ops] if still else with_backward(ops)
        needed = (op for op in kept if op.name != "patches/embed.dgrad")  # images do not learn
        return Block(name, tuple(needed), count, at="first")

    return [
        made("patches", _patches(vision, patches), 1.0),
        made("vision", [_on_patches(op, patches, vision.heads) for op in layer], tower.layers),
        made("projector", _projector(model, vision, merged), 1.0),
    ]


def _patches(vision: Vision, patches: float) -> list[Op]:
    values = Dim("patch values", vision.patch_values)
    embed = matmul("patches/embed", Dim("hidden", vision.hidden), values, "", saved=values.size)
    return [_on_patches(replace(embed, weights=embed.weights + vision.extra_parameters), patches)]


def _projector(model: ModelConfig, vision: Vision, merged: float) -> list[Op]:
    wide = Dim("merged", vision.hidden * vision.merge**2)
    width = Dim("projector", vision.projector_hidden or model.hidden)
    up = matmul("projector/up", width, wide, "projector", True, saved=wide.size)
    act = memory("projector/activation", 2.0 * width.size, "projector", output=width.size,
                 saved=width.size)  # fmt: skip
    hidden = Dim("hidden", model.hidden)
    down = matmul("projector/down", hidden, width, "projector", True, saved=width.size)
    scale = replace(norm("projector/norm", model, wide.size), weights=0.0)  # an extra parameter
    return [_on_patches(op, merged) for op in (scale, up, act, down)]


def _on_patches(op: Op, patches: float, heads: int = 0) -> Op:
    """Return an op of a patch as one of a token that has so many patches."""
    return replace(
        op,
        rows=Dim(PATCHES, patches, True),
        units=float(heads) if op.split == "heads" else 0.0,
        **{
            name: getattr(op, name) * patches
            for name in ("flop", "traffic", "output", "saved", "extra_saved", "scores")
        },
    )


def _still(op: Op) -> Op:
    """Return an op that keeps nothing: no gradient comes back to it."""
    return replace(op, trainable=False, saved=0.0, extra_saved=0.0)
