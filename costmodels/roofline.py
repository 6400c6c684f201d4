"""Kernel times: a fixed time plus the smooth maximum of arithmetic and memory traffic.

Every kernel is bound by arithmetic or by memory, and pays a fixed time; the two bounds join
smoothly, because near the ridge a kernel reaches neither. Knows sizes and rates, nothing of
layers, chips or software.

Parts: `smooth_max`, `matmul_s`, `grouped_matmul_s`, `attention_s`, `memory_bound_s`.
"""

import numpy as np

from costmodels.units import Num

__all__ = ["attention_s", "grouped_matmul_s", "matmul_s", "memory_bound_s", "smooth_max"]

RIDGE_POWER = 4.0


def smooth_max(a: Num, b: Num, power: float = RIDGE_POWER) -> Num:
    """Join two bounds, never below the larger and never above their sum.

        (a^p + b^p)^(1/p)

    Parameters
    ----------
    a, b  : seconds, >= 0
    power : p >= 1; 1 is the sum, infinity the maximum

    Notes
    -----
    Computed relative to the larger, so that it neither overflows nor underflows.
    Source: the p-norm roofline; p = 4 was within 1% of the best on 58,000 matrix products.

    >>> round(smooth_max(3.0, 4.0, 2.0), 12)
    5.0
    """
    high = np.maximum(a, b)
    low = np.minimum(a, b)
    ratio = low / np.where(high > 0, high, 1.0)
    if power == 4.0:  # square roots are exact to the last digit and much faster than powers
        square = ratio * ratio
        return high * np.sqrt(np.sqrt(1.0 + square * square))
    return high * (1.0 + ratio**power) ** (1.0 / power)


def matmul_s(
    m: Num,
    n: Num,
    k: Num,
    flop_per_s: Num,
    bytes_per_s: Num,
    fixed_s: Num,
    element_bytes: Num = 2.0,
    output_bytes: Num = 2.0,
    tile_m: int = 128,
    tile_n: int = 128,
    units: int = 1,
    batches: Num = 1.0,
) -> Num:
    """Time of a matrix product C[m, n] = A[m, k] B[k, n].

        t = fixed + smooth_max(2 k tile (tiles + (units - 1)/2) / flop_per_s,  bytes / bytes_per_s)

    where tiles = batches ceil(m/tile_m) ceil(n/tile_n): whole tiles are computed, and on average
    the last wave of `units` concurrent tiles is half empty.

    Parameters
    ----------
    m, n, k       : sizes, >= 0 (0: no product, no time)
    flop_per_s    : what large products reach
    bytes_per_s   : what large copies reach
    fixed_s       : time of the smallest product
    element_bytes : of A and B; output_bytes: of C
    tile_m, tile_n, units : output tile, and tiles that run at once
    batches       : products of this size in the one kernel

    Notes
    -----
    Valid for dense products of 16 rows and more. The average over the last wave is smooth in the
    sizes, so a larger product never gets cheaper; a given kernel may be a wave off.
    Source: Williams, Waterman, Patterson, CACM 52(4), 2009 (roofline); tile and wave quantization
    as in the vendor's matrix multiplication guide.
    """
    tiles = batches * np.ceil(m / tile_m) * np.ceil(n / tile_n)
    waves = tiles + np.where(tiles > 0, 0.5 * (units - 1), 0.0)
    arithmetic_s = 2.0 * k * tile_m * tile_n * waves / flop_per_s
    traffic = batches * ((m * k + k * n) * element_bytes + m * n * output_bytes)
    traffic_s = traffic / bytes_per_s
    return np.where(m * n * k > 0, fixed_s + smooth_max(arithmetic_s, traffic_s), 0.0)


def grouped_matmul_s(
    rows: Num,
    experts: Num,
    n: Num,
    k: Num,
    flop_per_s: Num,
    bytes_per_s: Num,
    fixed_s: Num,
    element_bytes: Num = 2.0,
    output_bytes: Num = 2.0,
    tile_m: int = 128,
) -> Num:
    """Time of the products of several experts in one kernel: rows in all, each expert [k, n].

        t = fixed + smooth_max(2 r n k / flop_per_s,  bytes / bytes_per_s)

    with r = rows + experts tile_m / 2: the last tile of each expert is half full on average. The
    bytes are symmetric in n and k, so that the product and both its gradients cost alike.

    Parameters
    ----------
    rows          : of all experts together
    experts       : that this device holds
    n, k          : width of an expert's result and of its operand
    element_bytes : of operands; output_bytes: of results

    Notes
    -----
    Source: grouped products as in Gale et al., MegaBlocks, 2023; roofline as in `matmul_s`.
    """
    rows = rows + experts * tile_m / 2.0
    arithmetic_s = 2.0 * rows * n * k / flop_per_s
    traffic = rows * (n + k) * 0.5 * (element_bytes + output_bytes)
    traffic = traffic + experts * n * k * element_bytes
    return fixed_s + smooth_max(arithmetic_s, traffic / bytes_per_s)


def attention_s(
    flop: Num, traffic_bytes: Num, flop_per_s: Num, bytes_per_s: Num, fixed_s: Num
) -> Num:
    """Time of a fused attention kernel.

        t = fixed + smooth_max(flop / flop_per_s, traffic / bytes_per_s)

    Parameters
    ----------
    flop          : of the kernel as executed (half of all pairs where it skips the masked ones)
    traffic_bytes : queries, keys, values and outputs, read and written once
    flop_per_s    : what long sequences reach

    Notes
    -----
    Valid for sequences of 512 tokens and more; shorter ones are bound by `fixed_s`.
    Source: Dao et al., FlashAttention, 2022 (traffic linear in the sequence).
    """
    return fixed_s + smooth_max(flop / flop_per_s, traffic_bytes / bytes_per_s)


def memory_bound_s(traffic_bytes: Num, bytes_per_s: Num, fixed_s: Num) -> Num:
    """Time of a kernel that only moves data: `fixed + traffic / bytes_per_s`.

    >>> memory_bound_s(1e9, 2e12, 5e-6)
    0.000505
    """
    return fixed_s + traffic_bytes / bytes_per_s
