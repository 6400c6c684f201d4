"""Time of matrix products: one, a batch of equal ones, or those of several experts.

Knows sizes and the constants of a chip's kernels; nothing of layers, chips or software.

Parts: `Product` (the constants), `matmul_s`, `grouped_matmul_s`.
"""

from dataclasses import dataclass

import numpy as np

from costmodels.roofline import smooth_max
from costmodels.units import Num

__all__ = ["Product", "grouped_matmul_s", "matmul_s"]


@dataclass(frozen=True, slots=True)
class Product:
    """What the kernels of products reach on a chip at one precision.

    Parameters
    ----------
    flop_per_s     : of whole waves of long products
    bytes_per_s    : what large copies reach
    fixed_s        : time of the smallest product
    fill           : what starting and ending a tile costs, in elements of the inner size
    cast_bytes     : moved for each element of the first operand to bring it to the precision
    tile_m, tile_n : output tile
    units          : tiles that run at once
    tail           : share of a wave of tiles that idles at the end, >= 0
    growth         : how far that grows with the product, whose tiles do: to 1 + growth times
    split          : inner size beyond which the units that would idle take parts of it
    """

    flop_per_s: float
    bytes_per_s: float
    fixed_s: float
    fill: float = 0.0
    cast_bytes: float = 0.0
    tile_m: int = 128
    tile_n: int = 128
    units: int = 1
    tail: float = 0.5
    growth: float = 0.0
    split: float = np.inf


def matmul_s(
    m: Num,
    n: Num,
    k: Num,
    product: Product,
    element_bytes: Num = 2.0,
    output_bytes: Num = 2.0,
    batches: Num = 1.0,
) -> Num:
    """Time of a matrix product C[m, n] = A[m, k] B[k, n].

        t = fixed + cast + smooth_max(2 tile steps / flop_per_s, bytes / bytes_per_s)
        steps = tiles (k + fill) + tail idle (min(k, split) + fill)
        idle  = units - 1, with growth as many as there are tiles, to (1 + growth) (units - 1)

    with tiles = batches ceil(m/tile_m) ceil(n/tile_n): whole tiles are computed, and part of the
    last wave of `units` tiles idles, unless k is long enough to be cut among the units (split-K);
    larger products take kernels of larger tiles, of which more idles;
    cast = m k cast_bytes / bytes_per_s.

    Parameters
    ----------
    m, n, k       : sizes, >= 0 (0: no product, no time)
    element_bytes : of A and B; output_bytes: of C
    batches       : products of this size in the one kernel

    Notes
    -----
    The tail is an average, smooth in the sizes, so that a larger product never gets cheaper; a
    given kernel may be a wave off. Valid from one row up.
    Source: Williams, Waterman, Patterson, CACM 52(4), 2009 (roofline); tile and wave quantization
    as in the vendor's matrix multiplication guide; forms compared on 58,000 measured products.
    """
    p = product
    tiles = batches * np.ceil(m / p.tile_m) * np.ceil(n / p.tile_n)
    wave_s = 2.0 * p.tile_m * p.tile_n / p.flop_per_s
    spare = p.units - 1.0
    idle = p.tail * np.minimum(np.maximum(tiles, spare), (1.0 + p.growth) * spare)
    steps = tiles * (k + p.fill) + idle * (np.minimum(k, p.split) + p.fill)
    arithmetic_s = steps * wave_s
    first = m * k
    traffic = batches * ((first + k * n) * element_bytes + m * n * output_bytes)
    bound_s = smooth_max(arithmetic_s, traffic / p.bytes_per_s)
    cast_s = batches * first * (p.cast_bytes / p.bytes_per_s)
    return np.where(first * n > 0, p.fixed_s + cast_s + bound_s, 0.0)


def grouped_matmul_s(
    rows: Num,
    experts: Num,
    n: Num,
    k: Num,
    product: Product,
    element_bytes: Num = 2.0,
    output_bytes: Num = 2.0,
) -> Num:
    """Time of the products of several experts in one kernel: rows in all, each expert [k, n].

        t = fixed + smooth_max(2 r n k / flop_per_s,  bytes / bytes_per_s)

    with r = rows + experts tile_m / 2: the last tile of each expert is half full on average. The
    bytes are symmetric in n and k, so that the product and both its gradients cost alike.

    Parameters
    ----------
    rows          : of all experts together
    experts       : that this device holds and that have rows
    n, k          : width of an expert's result and of its operand
    element_bytes : of operands; output_bytes: of results

    Notes
    -----
    Sorting rows by expert and back is work of its own, bound by memory (see `memory_bound_s`).
    Source: grouped products as in Gale et al., MegaBlocks, 2023; roofline as in `matmul_s`.
    """
    rows = rows + experts * product.tile_m / 2.0
    arithmetic_s = 2.0 * rows * n * k / product.flop_per_s
    traffic = rows * (n + k) * 0.5 * (element_bytes + output_bytes)
    traffic = traffic + experts * n * k * element_bytes
    return product.fixed_s + smooth_max(arithmetic_s, traffic / product.bytes_per_s)
