"""Fused attention: hand arithmetic of prefill and decode, and how heads are shared."""

import math

import pytest

from costmodels.attention import attention_s, decode_attention_s, head_width


def test_prefill_by_hand() -> None:
    # 4e12 FLOP at 4e14, 2e9 bytes at 1e12, 2e11 FLOP left over at the end
    got = attention_s(4e12, 2e9, 4e14, 1e12, 2e-5, tail_flop=2e11)
    assert float(got) == pytest.approx(2e-5 + 0.01 + 0.002 + 0.0005, rel=1e-12)


def test_narrow_heads_wait_for_the_exponential() -> None:
    # of 128 elements a score costs 128 + 64, of 64 it costs 64 + 64 for half the FLOP
    assert head_width(128.0, 64.0) == 1.0
    assert head_width(64.0, 64.0) == pytest.approx((128 / 64) / (192 / 128), rel=1e-12)
    assert head_width(64.0, 0.0) == 1.0


def decode(sequences: float, heads: float, kv_heads: float, context: float) -> float:
    """Price a step: 1e12 bytes/s, no pieces, 1 us a head, 3 us a shared head of keys."""
    return float(
        decode_attention_s(sequences, heads, kv_heads, 128.0, context, 2.0, 1e12, 1e-5, 0.0,
                           3e-6, 0.0, 1e-6, reread=2.0)
    )  # fmt: skip


def test_a_long_cache_is_read_once_for_all_that_share_it() -> None:
    # 64 sequences, 8 heads of keys and values, a million tokens of 128 elements of 2 bytes
    moved = 2 * 64 * 8 * 128 * 1e6 * 2.0
    assert decode(64, 8, 8, 1e6) == pytest.approx(1e-5 + moved / 1e12, rel=1e-3)
    assert decode(64, 64, 8, 1e6) == pytest.approx(decode(64, 8, 8, 1e6), rel=1e-2)


def test_short_caches_cost_what_starting_on_them_costs() -> None:
    assert decode(1024, 32, 8, 1) == pytest.approx(1e-5 + 1024 * 8 * 3e-6, rel=1e-2)
    assert decode(1024, 32, 32, 1) == pytest.approx(1e-5 + 1024 * 32 * 1e-6, rel=1e-2)


def test_too_many_queries_to_a_head_of_keys_read_it_each() -> None:
    shared, alone = decode(16, 16, 1, 1e7), decode(16, 64, 1, 1e7)
    assert alone == pytest.approx(32 * shared, rel=1e-2)  # 64 readers, twice as fast


def test_cutting_a_cache_and_joining_it_takes_longer_by_its_logarithm() -> None:
    def cut(context: float) -> float:
        got = decode_attention_s(
            1.0, 8.0, 1.0, 128.0, context, 2.0, 1e30, 1e-5, 2e-6, 0.0, 0.0, 0.0
        )
        return float(got)

    assert cut(0.0) == 1e-5
    assert cut(256 * (math.e - 1)) == pytest.approx(1.2e-5, rel=1e-9)
    assert cut(256 * (math.e**5 - 1)) == pytest.approx(2e-5, rel=1e-9)


def test_queries_that_share_start_one_by_one() -> None:
    def start(heads: float) -> float:
        got = decode_attention_s(512.0, heads, 1.0, 1.0, 0.0, 2.0, 1e30, 0.0, 0.0, 3e-8, 1e-9, 1e-8)
        return float(got)

    assert start(16.0) == pytest.approx(512 * (3e-8 + 16e-9), rel=1e-9)


def test_a_unit_takes_sixteen_queries_at_a_time_and_reads_again_for_the_next() -> None:
    def read(heads: float) -> float:
        got = decode_attention_s(64.0, heads, 1.0, 128.0, 1e6, 2.0, 1e12, 0.0, 0.0, 0.0, 0.0, 0.0)
        return float(got)

    assert read(16.0) == pytest.approx(read(8.0), rel=1e-4)
    assert read(17.0) == pytest.approx(1.5 * read(8.0), rel=1e-4)
    assert read(32.0) == pytest.approx(1.5 * read(8.0), rel=1e-4)


def test_units_wait_from_tile_to_tile_where_heads_fill_the_chip() -> None:
    def waits(sequences: float, context: float, heads: float = 8.0) -> float:
        got = decode_attention_s(sequences, heads, 1.0, 128.0, context, 2.0, 1e30, 0.0, 0.0, 0.0,
                                 0.0, 0.0, wait_s=1e-5, units=100.0)  # fmt: skip
        return float(got)

    assert waits(100.0, 128.0) == pytest.approx(0.0, abs=1e-12)  # one tile
    assert waits(100.0, 512.0) == pytest.approx(0.75e-5, rel=1e-9)  # three further ones of four
    assert waits(25.0, 512.0) == pytest.approx(0.25 * 0.75e-5, rel=1e-9)  # a quarter full
    assert waits(400.0, 512.0) == waits(100.0, 512.0)
    assert waits(100.0, 512.0, heads=1.0) == pytest.approx(0.0, abs=1e-12)  # nothing shared
