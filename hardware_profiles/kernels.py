"""What kernels achieve on a chip, by class: run alone, and beside that in training runs.

Constants of the forms in `costmodels` (`roofline`, `products`, `attention`), each a `Figure`.
Knows no shapes and no times.

Parts: `Kernel` and one kind a class (`MatmulKernel`, `AttentionKernel`, `DecodeKernel`,
`GroupedKernel`),
`Training` (what is left of them in the long run of a training step), `Kernels` (all of a chip).
"""

from typing import Annotated, Literal

from pydantic import Field

from hardware_profiles.figures import Figure, Frozen, Positive, Share

__all__ = [
    "AttentionKernel",
    "DecodeKernel",
    "GroupedKernel",
    "Kernel",
    "Kernels",
    "MatmulKernel",
    "Training",
]


class Kernel(Frozen):
    """What one class of kernels achieves on the chip: `fixed_s + work / (efficiency * peak)`.

    `efficiency` is the share of the datasheet peak that large shapes reach, in (0, 1];
    `fixed_s` is the time of the smallest kernel.
    """

    efficiency: Share
    fixed_s: Figure


def _unmeasured(value: float) -> Figure:
    return Figure(value=value, basis="assumed", source="not measured")


class MatmulKernel(Kernel):
    """Matrix products at one precision.

    Parameters
    ----------
    fill       : what starting and ending a tile costs, in elements of the inner size
    cast_bytes : moved for each element of the first operand to bring it to the precision
    """

    fill: Figure = _unmeasured(0.0)
    cast_bytes: Figure = _unmeasured(0.0)


class AttentionKernel(Kernel):
    """Fused attention over whole sequences; `efficiency` is of heads 128 wide.

    Parameters
    ----------
    passes      : times that queries, keys, values and results cross the memory, in time: all work
                  that grows with the tokens and not with their square
    softmax_dim : elements of a head's width that the exponential of a score costs
    tail        : share of its longest block for which a unit idles at the end
    last_rows   : queries that the last block of a sequence costs beyond its own
    """

    passes: Positive = _unmeasured(1.0)
    softmax_dim: Figure = _unmeasured(0.0)
    tail: Figure = _unmeasured(0.0)
    last_rows: Figure = _unmeasured(0.0)


class DecodeKernel(Kernel):
    """Attention of one new token against a cache; `efficiency` is of memory bandwidth.

    Parameters
    ----------
    split_s : of cutting and joining a cache, each time that it is e times as long
    group_s, query_s : to start a sequence's head of keys that several queries share; each of them
    head_s  : to start a sequence's query head that shares with none
    reread  : bandwidth over the memory's where too many queries to a head of keys read it each
    wait_s  : that going through a longer cache tile by tile adds at most, on a chip that is full
    """

    split_s: Figure
    group_s: Figure
    query_s: Figure
    head_s: Figure
    reread: Positive
    wait_s: Figure = _unmeasured(0.0)


class GroupedKernel(Frozen):
    """Products of experts in one kernel.

    Parameters
    ----------
    efficiency     : rate over the plain product's at the same precision; may pass 1
    fixed_s        : time of the smallest kernel
    routing_passes : times that rows sorted by expert and back cross the memory
    """

    efficiency: Positive
    fixed_s: Figure
    routing_passes: Positive = _unmeasured(1.0)


_AS_ALONE = Figure(value=1.0, basis="assumed", source="no training runs tell it")


class Training(Frozen):
    """What kernels reach inside training runs, over what the same kernels reach alone.

    Factors above 0 on the rates of `Kernels`; 1 is "as alone". Chips that work for hours under
    their power cap clock lower than in a benchmark of one kernel, and frameworks choose other
    kernels than the benchmark's. The constants of kernels stay as measured beside them.

    Parameters
    ----------
    matmul         : matrix products, by precision as in `Kernels.matmul`
    attention      : fused attention, forward and backward
    flash_2        : on top of `attention`, kernels of FlashAttention-2, written for Ampere
    flash_1        : the same of those before it (FlashAttention in Triton, 2022 and 2023)
    grouped_matmul : products of experts, on top of `matmul`
    memory         : memory bandwidth
    """

    matmul: dict[Literal["fp32", "bf16", "fp8", "fp4", "int8"], Positive] = Field(
        default_factory=dict
    )
    attention: Positive = _AS_ALONE
    flash_2: Positive = _AS_ALONE
    flash_1: Positive = _AS_ALONE
    grouped_matmul: Positive = _AS_ALONE
    memory: Positive = _AS_ALONE


class Kernels(Frozen):
    """Kernel constants by class, of kernels run alone; `training` is what training adds.

    `matmul` is by precision (a missing one falls back to the nearest given, see `matmul_kernel`);
    `attention_forward` and `attention_backward` are fused kernels in bf16, the backward one with
    the forward's `passes`, `softmax_dim` and `tail`; `attention_decode` is for one new token;
    `grouped_matmul` are the products of experts, `efficiency` relative to the plain product's;
    `memory` is for work bound by memory bandwidth.
    `clock_exponent`: clock = (power cap / nominal power) ** exponent.
    `tile_m`, `tile_n`, `units`: output tile of a matrix product and the number of them that run
    at once (streaming multiprocessors, matrix units), for quantization; `tail`: share of a wave
    of tiles that idles at the end; `growth`: how far that grows with the product, whose kernels
    then take larger tiles; `split`: inner size beyond which idle units take parts of it.
    """

    matmul: dict[Literal["fp32", "bf16", "fp8", "fp4", "int8"], MatmulKernel]
    attention_forward: AttentionKernel
    attention_backward: Kernel
    attention_decode: DecodeKernel | None = None
    grouped_matmul: GroupedKernel
    memory: Kernel
    training: Training = Training()
    clock_exponent: Figure
    tile_m: Annotated[int, Field(ge=1)] = 128
    tile_n: Annotated[int, Field(ge=1)] = 128
    units: Annotated[int, Field(ge=1)] = 1
    tail: Figure = _unmeasured(0.5)
    growth: Figure = _unmeasured(0.0)
    split: Positive = Figure(value=1e9, basis="assumed", source="not measured: never cut")
