"""Matrix products: hand arithmetic, tiles and waves, casts, the products of experts."""

import numpy as np
import pytest

from costmodels.products import Product, grouped_matmul_s, matmul_s


def test_a_large_product_is_bound_by_arithmetic() -> None:
    # 8192^3 products at 1e15 FLOP/s: 64 x 64 tiles of 128 x 128, no waves with one unit
    got = matmul_s(8192.0, 8192.0, 8192.0, Product(1e15, 1e30, 4e-6))
    assert float(got) == pytest.approx(4e-6 + 2 * 8192.0**3 / 1e15, rel=1e-12)


def test_a_thin_product_is_bound_by_memory() -> None:
    # one row of 1 x 8192 by 8192 x 8192 in 16 bits reads the 134 MB of the matrix
    got = matmul_s(1.0, 8192.0, 8192.0, Product(1e30, 2e12, 0.0))
    moved = 2 * (8192 + 8192**2) + 2 * 8192
    assert float(got) == pytest.approx(moved / 2e12, rel=1e-12)


def test_operands_and_result_have_their_own_bytes() -> None:
    # fp8 operands, 16-bit result: (m k + k n) + 2 m n
    got = matmul_s(2.0, 3.0, 5.0, Product(1e30, 1.0, 0.0), element_bytes=1.0, output_bytes=2.0)
    assert float(got) == pytest.approx(2 * 5 + 5 * 3 + 2 * 2 * 3, rel=1e-12)


def test_tile_quantization_of_the_vendors_guide() -> None:
    # NVIDIA, Matrix Multiplication Background: with 128-wide tiles n = 136 runs as n = 256 does
    chip = Product(1e14, 1e30, 0.0)
    wide, narrow = (float(matmul_s(4096.0, n, 4096.0, chip)) for n in (256.0, 136.0))
    assert narrow == wide
    assert float(matmul_s(4096.0, 128.0, 4096.0, chip)) == wide / 2
    tall, short = (float(matmul_s(m, 4096.0, 4096.0, chip)) for m in (256.0, 136.0))
    assert short == tall == wide


def test_wave_quantization_on_average() -> None:
    # the guide: 109 tiles on 108 units run in two waves. On average the last wave is half empty.
    def arithmetic_s(tiles: float) -> float:
        return float(matmul_s(128.0 * tiles, 128.0, 64.0, Product(1.0, 1e30, 0.0, units=108)))

    tile_flop = 2.0 * 128 * 128 * 64
    assert arithmetic_s(108.0) == pytest.approx(tile_flop * (108 + 53.5))
    exact = [108.0 * np.ceil(tiles / 108) * tile_flop for tiles in range(1, 1081)]
    ours = [arithmetic_s(float(tiles)) for tiles in range(1, 1081)]
    assert np.mean(ours) == pytest.approx(np.mean(exact), rel=1e-3)


@pytest.mark.parametrize("empty", [(0.0, 8.0, 8.0), (8.0, 0.0, 8.0), (8.0, 8.0, 0.0)])
def test_no_product_takes_no_time(empty: tuple[float, float, float]) -> None:
    assert float(matmul_s(*empty, Product(1e15, 2e12, 5e-6, units=132))) == 0.0


def test_the_fixed_time_of_a_small_product() -> None:
    assert float(matmul_s(16.0, 16.0, 16.0, Product(1e15, 1e13, 5e-6))) == pytest.approx(
        5e-6, rel=1e-3
    )


def test_starting_a_tile_costs_as_so_many_more_of_the_inner_size() -> None:
    short = float(matmul_s(4096.0, 4096.0, 896.0, Product(1e14, 1e30, 0.0, fill=128.0)))
    assert short == float(matmul_s(4096.0, 4096.0, 1024.0, Product(1e14, 1e30, 0.0)))


def test_a_long_inner_size_is_cut_among_idle_units() -> None:
    # one tile on 101 units: half a wave idles over 1,024 of 8,192 elements
    chip = Product(1e14, 1e30, 0.0, units=101, split=1024.0)
    steps = 8192 + 50 * 1024
    got = float(matmul_s(128.0, 128.0, 8192.0, chip))
    assert got == pytest.approx(2 * 128 * 128 * steps / 1e14, rel=1e-9)


def test_larger_products_idle_more_where_their_tiles_grow() -> None:
    # 101 units, half a wave idles: 50 tiles of it to 100 tiles, half of the tiles to 300, then 150
    chip = Product(1e14, 1e30, 0.0, units=101, tail=0.5, growth=2.0)
    tile_s = 2.0 * 128 * 128 * 64 / 1e14
    for tiles, idle in ((1, 50), (100, 50), (200, 100), (300, 150), (1000, 150)):
        got = float(matmul_s(128.0 * tiles, 128.0, 64.0, chip))
        assert got == pytest.approx((tiles + idle) * tile_s, rel=1e-9)


def test_the_first_operand_is_cast_beside_the_product() -> None:
    # 4096 x 1024 elements, 7 bytes each, at 2e12 bytes/s
    plain, cast = (
        float(matmul_s(4096.0, 512.0, 1024.0, Product(1e15, 2e12, 5e-6, cast_bytes=moved)))
        for moved in (0.0, 7.0)
    )
    assert cast - plain == pytest.approx(4096 * 1024 * 7 / 2e12, rel=1e-9)


def test_batches_share_the_fixed_time_and_the_last_wave() -> None:
    chip = Product(1e14, 1e30, 3e-6, units=100, tail=0.5)
    one = float(matmul_s(256.0, 256.0, 64.0, chip))
    ten = float(matmul_s(256.0, 256.0, 64.0, chip, batches=10.0))
    tile_s = 2.0 * 128 * 128 * 64 / 1e14
    assert one == pytest.approx(3e-6 + (4 + 49.5) * tile_s, rel=1e-9)
    assert ten == pytest.approx(3e-6 + (40 + 49.5) * tile_s, rel=1e-9)


def test_experts_by_hand() -> None:
    # 8 experts of 1,000 rows, the last tile of each half full: 1,064 rows
    got = grouped_matmul_s(8000.0, 8.0, 1024.0, 2048.0, Product(1e14, 1e30, 4e-6))
    assert float(got) == pytest.approx(4e-6 + 2 * 8 * 1064 * 1024 * 2048 / 1e14, rel=1e-9)
    # one row each: the weights of all experts are read
    thin = grouped_matmul_s(8.0, 8.0, 1024.0, 2048.0, Product(1e30, 1e12, 0.0))
    assert float(thin) == pytest.approx(8 * 1024 * 2048 * 2 / 1e12, rel=0.1)


def test_an_expert_s_product_costs_as_its_gradients() -> None:
    chip = Product(1e14, 1e12, 4e-6)
    there, back = (grouped_matmul_s(512.0, 8.0, n, k, chip) for n, k in ((64, 999), (999, 64)))
    assert there == back
