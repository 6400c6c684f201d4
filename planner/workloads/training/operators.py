"""Operators of a transformer: how each is made, adapted, and differentiated.

Products with weights, work bound by memory, and what every operator's backward pass computes.
Knows one operator at a time; which ones make a layer is said in `blocks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.graph import Dim, Op
from planner.models.config import ModelConfig

__all__ = ["Adapters", "adapt", "matmul", "memory", "norm", "with_backward"]

BACKWARD_ATTENTION = 2.5
"""FLOP of the backward attention kernel over the forward's: five products for two."""
BACKWARD_ATTENTION_TRAFFIC = 2.0
"""Traffic of the backward attention kernel over the forward's."""
BACKWARD_TRAFFIC = 1.6
"""Traffic of the backward of memory-bound work over the forward's."""

BACKWARD_LOOPS = 3.0
"""Kernels of the backward of a loop over experts over the forward's: a product and a sum for each
of two gradients, and casts (counted in Megatron-LM's bias of experts)."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """Low-rank adapters on frozen weights: rank, and which products carry one.

    `qkv`: those into attention; `out`: the one out of it; `mlp`: those of experts too.
    """

    rank: int
    qkv: bool
    out: bool
    mlp: bool

    @classmethod
    def of(cls, rank: int, targets: str) -> "Adapters":
        """Return adapters of a rank on the products that a job names (`Lora.targets`)."""
        whole = targets == "all-linear"
        return cls(
            rank,
            qkv=whole or targets in ("attention", "qkv"),
            out=whole or targets == "attention",
            mlp=whole or targets == "mlp",
        )

    def on(self, name: str) -> bool:
        """Whether the product of this name carries one."""
        if any(part in name for part in ("mlp", "expert")):
            return self.mlp
        return self.out if name.endswith("attention out") else self.qkv


def matmul(name: str, cols: Dim, inner: Dim, split: str, bias: bool = False, **kw: float) -> Op:
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


def memory(name: str, traffic: float, split: str = "sequence", **kw: float) -> Op:
    """Make an op bound by memory: normalisation, activation, residual, rotation."""
    return Op(name, "memory", traffic=traffic, split=split, **kw)  # type: ignore[arg-type]


def norm(name: str, model: ModelConfig, width: float | None = None) -> Op:
    """Make a normalisation over the hidden width, or over `width`."""
    size = float(model.hidden) if width is None else width
    return memory(
        name, 2.0 * size, output=size, saved=size, weights=size * (2.0 if model.norm_bias else 1.0)
    )


def adapt(ops: Sequence[Op], adapters: Adapters) -> list[Op]:
    """Freeze the weights and add an adapter beside each product that the job names."""
    adapted: list[Op] = []
    rank = Dim("adapter", adapters.rank)
    for op in ops:
        adapted.append(replace(op, trainable=False) if op.weights else op)
        if op.kind != "matmul" or op.name.endswith("router") or not adapters.on(op.name):
            continue
        # the adapter's inner product reads what the base product reads; only its outer is split
        down = matmul(f"{op.name} adapter down", rank, op.inner, "", saved=0.0)
        up = matmul(f"{op.name} adapter up", op.cols, rank, op.split, saved=rank.size)
        adapted += [down, replace(up, output=0.0)]
    return adapted


def with_backward(ops: Sequence[Op]) -> tuple[Op, ...]:
    """Add the backward ops: gradients of inputs and, for trainable weights, of weights."""
    backward: list[Op] = []
    for op in reversed(ops):
        backward += _gradients(op)
    return (*ops, *backward)


def _gradients(op: Op) -> list[Op]:
    bare = replace(
        op, phase="backward", weights=0.0, saved=0.0, copied=0.0, extra_saved=0.0, output=0.0
    )
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
                traffic=BACKWARD_ATTENTION_TRAFFIC * op.traffic, launches=2.0,
                row_flop=BACKWARD_ATTENTION * op.row_flop,
            )
        ]  # fmt: skip
    return [
        replace(
            bare, name=f"{op.name}.backward", traffic=BACKWARD_TRAFFIC * op.traffic,
            exchanged=op.exchanged, padded=op.padded, each=BACKWARD_LOOPS * op.each,
            unfused=BACKWARD_TRAFFIC * op.unfused + op.scored,
        )
    ]  # fmt: skip
