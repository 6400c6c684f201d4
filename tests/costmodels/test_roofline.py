"""Kernels: hand arithmetic, tile quantization, the two bounds and their join."""

import numpy as np
import pytest

from costmodels.roofline import attention_s, matmul_s, memory_bound_s, smooth_max


@pytest.mark.parametrize(
    ("a", "b", "power", "joined"),
    [
        (3.0, 4.0, 1.0, 7.0),
        (3.0, 4.0, 2.0, 5.0),
        (1.0, 1.0, 4.0, 2.0**0.25),
        (2.0, 1.0, 4.0, 17.0**0.25),
        (0.0, 5.0, 4.0, 5.0),
        (0.0, 0.0, 4.0, 0.0),
        (1e-300, 1e-300, 4.0, 2.0**0.25 * 1e-300),  # a power of the seconds would be zero
        (1e200, 1e200, 4.0, 2.0**0.25 * 1e200),  # or infinite
    ],
)
def test_join_of_two_bounds(a: float, b: float, power: float, joined: float) -> None:
    assert smooth_max(a, b, power) == pytest.approx(joined, rel=1e-14)
    assert smooth_max(b, a, power) == smooth_max(a, b, power)


def test_the_fast_power_is_the_plain_one() -> None:
    a, b = np.geomspace(1e-6, 1.0, 50), np.geomspace(1.0, 1e-6, 50)
    fast, plain = np.asarray(smooth_max(a, b, 4.0)), (a**4 + b**4) ** 0.25
    np.testing.assert_allclose(fast, plain, rtol=1e-14)


def test_a_large_product_is_bound_by_arithmetic() -> None:
    # 8192^3 products at 1e15 FLOP/s: 64 x 64 tiles of 128 x 128, no waves with one unit
    got = matmul_s(8192.0, 8192.0, 8192.0, 1e15, 1e30, 4e-6)
    assert float(got) == pytest.approx(4e-6 + 2 * 8192.0**3 / 1e15, rel=1e-12)


def test_a_thin_product_is_bound_by_memory() -> None:
    # one row of 1 x 8192 by 8192 x 8192 in 16 bits reads the 134 MB of the matrix
    got = matmul_s(1.0, 8192.0, 8192.0, 1e30, 2e12, 0.0)
    moved = 2 * (8192 + 8192**2) + 2 * 8192
    assert float(got) == pytest.approx(moved / 2e12, rel=1e-12)


def test_operands_and_result_have_their_own_bytes() -> None:
    # fp8 operands, 16-bit result: (m k + k n) + 2 m n
    got = matmul_s(2.0, 3.0, 5.0, 1e30, 1.0, 0.0, element_bytes=1.0, output_bytes=2.0)
    assert float(got) == pytest.approx(2 * 5 + 5 * 3 + 2 * 2 * 3, rel=1e-12)


def test_tile_quantization_of_the_vendors_guide() -> None:
    # NVIDIA, Matrix Multiplication Background: with 128-wide tiles n = 136 runs as n = 256 does
    wide, narrow = (float(matmul_s(4096.0, n, 4096.0, 1e14, 1e30, 0.0)) for n in (256.0, 136.0))
    assert narrow == wide
    assert float(matmul_s(4096.0, 128.0, 4096.0, 1e14, 1e30, 0.0)) == wide / 2
    tall, short = (float(matmul_s(m, 4096.0, 4096.0, 1e14, 1e30, 0.0)) for m in (256.0, 136.0))
    assert short == tall == wide


def test_wave_quantization_on_average() -> None:
    # the guide: 109 tiles on 108 units run in two waves. On average the last wave is half empty.
    def arithmetic_s(tiles: float) -> float:
        return float(matmul_s(128.0 * tiles, 128.0, 64.0, 1.0, 1e30, 0.0, units=108))

    tile_flop = 2.0 * 128 * 128 * 64
    assert arithmetic_s(108.0) == pytest.approx(tile_flop * (108 + 53.5))
    exact = [108.0 * np.ceil(tiles / 108) * tile_flop for tiles in range(1, 1081)]
    ours = [arithmetic_s(float(tiles)) for tiles in range(1, 1081)]
    assert np.mean(ours) == pytest.approx(np.mean(exact), rel=1e-3)


@pytest.mark.parametrize("empty", [(0.0, 8.0, 8.0), (8.0, 0.0, 8.0), (8.0, 8.0, 0.0)])
def test_no_product_takes_no_time(empty: tuple[float, float, float]) -> None:
    assert float(matmul_s(*empty, 1e15, 2e12, 5e-6, units=132)) == 0.0


def test_the_fixed_time_of_a_small_product() -> None:
    assert float(matmul_s(16.0, 16.0, 16.0, 1e15, 1e13, 5e-6)) == pytest.approx(5e-6, rel=1e-3)


def test_attention_by_hand() -> None:
    assert float(attention_s(4e12, 1e6, 4e14, 2e12, 2e-5)) == pytest.approx(2e-5 + 0.01)
    assert float(attention_s(1e6, 4e9, 4e14, 2e12, 2e-5)) == pytest.approx(2e-5 + 2e-3)
    assert float(attention_s(3e12, 4e9, 1e15, 1e12, 0.0)) == pytest.approx((81 + 256) ** 0.25 / 1e3)


def test_moving_data_by_hand() -> None:
    assert memory_bound_s(1e9, 2e12, 5e-6) == pytest.approx(5.05e-4, rel=1e-14)
