"""Laws that every price must keep, whatever its constants.

More bytes are never faster, more bandwidth never slower, latency never helps; nothing beats the
wire; overlap hides no more than there is; more work never takes less time.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from costmodels.attention import attention_s, decode_attention_s
from costmodels.collectives import (
    ALGORITHMS,
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    point_to_point_s,
    reduce_scatter_s,
)
from costmodels.hops import PLAIN, Hop, Line, Shared, Span, Transport
from costmodels.overlap import exposed_s, hidden_s
from costmodels.pipeline import SCHEDULES, bubble_s, in_flight_chunks
from costmodels.products import Product, matmul_s
from costmodels.roofline import memory_bound_s, smooth_max

ROUNDING = 1.0 + 1e-12
Collective = Callable[[float, Span], float]


def price(of: Callable[..., object], *fixed: object) -> Collective:
    return lambda size, span: float(of(size, span, *fixed))  # type: ignore[arg-type]


COLLECTIVES: dict[str, Collective] = {
    "all-gather": price(all_gather_s),
    "reduce-scatter": price(reduce_scatter_s),
    "all-to-all": price(all_to_all_s),
    "all-to-all of 8 copies": price(all_to_all_s, 8.0),
    "all-reduce": price(all_reduce_s),
    **{f"all-reduce, {name}": price(all_reduce_s, name) for name in ALGORITHMS},
}
each_collective = pytest.mark.parametrize("name", sorted(COLLECTIVES))

ranks = st.integers(1, 300).map(float)
rate = st.floats(1e6, 1e13)
alpha = st.one_of(st.just(0.0), st.floats(1e-8, 1e-1))
size = st.floats(1.0, 1e12)
more = st.floats(1.0, 1e3)
seconds = st.one_of(st.just(0.0), st.floats(1e-9, 1e4))
share = st.floats(0.0, 1.0)


lines = st.builds(Line, st.floats(0.0, 1e-4), st.floats(0.1, 10.0), st.floats(0.01, 1.0))
transports = st.one_of(
    st.just(PLAIN),
    st.builds(
        Transport,
        rings=st.lists(lines, min_size=1, max_size=3).map(tuple),
        exchanges=st.lists(lines, min_size=1, max_size=2).map(tuple),
        switch=lines,
        own_part=share,
        own_scattered=share,
        own_exchanged=share,
        by_levels=st.booleans(),
        pair_most=st.one_of(st.just(math.inf), size),
        shared=st.one_of(
            st.none(),
            st.builds(
                Shared,
                st.floats(0.01, 1.0),
                st.floats(0.1, 1.0),
                st.just(math.inf) | size,
                st.just(0.0) | size,
            ),
        ),
    ),
)


@st.composite
def spans(draw: st.DrawFn, *, least_alpha_s: float = 0.0, switches: bool = True) -> Span:
    """One to three levels, not all of them crossed; each with its library's protocols."""
    latency = alpha if not least_alpha_s else st.just(least_alpha_s)
    return tuple(
        Hop(
            f"level {i}", draw(ranks), draw(latency), draw(rate), switches and draw(st.booleans()),
            draw(transports),
        )
        for i in range(draw(st.integers(1, 3)))
    )  # fmt: skip


def changed(span: Span, level: int, **figures: float) -> Span:
    level %= len(span)
    return (*span[:level], replace(span[level], **figures), *span[level + 1 :])


@each_collective
@settings(max_examples=40)
@given(size, more, spans())
def test_more_bytes_are_never_faster(name: str, few: float, times: float, span: Span) -> None:
    collective = COLLECTIVES[name]
    assert collective(few, span) <= collective(few * times, span)


@each_collective
@settings(max_examples=40)
@given(size, spans(), st.integers(0, 2), more)
def test_more_bandwidth_is_never_slower(
    name: str, message: float, span: Span, level: int, times: float
) -> None:
    collective = COLLECTIVES[name]
    wider = changed(span, level, bytes_per_s=span[level % len(span)].bytes_per_s * times)
    assert collective(message, wider) <= collective(message, span)


@each_collective
@settings(max_examples=40)
@given(size, spans(), st.integers(0, 2), more)
def test_latency_never_helps(
    name: str, message: float, span: Span, level: int, times: float
) -> None:
    collective = COLLECTIVES[name]
    later = changed(span, level, alpha_s=span[level % len(span)].alpha_s * times + 1e-9)
    assert collective(message, span) <= collective(message, later)


@given(size, spans())
def test_an_all_reduce_is_no_more_than_its_reduce_scatter_and_its_all_gather(
    message: float, span: Span
) -> None:
    """One kernel instead of two: by ring or by levels it saves a start and a copy, no more.

    As long as all three choose alike: not where a library leaves a protocol early, for the one and
    not for the two, nor where they copy unlike buffers.
    """
    span = tuple(
        replace(hop, transport=replace(hop.transport, pair_most=math.inf, own_scattered=None))
        for hop in span
    )
    ring, hierarchical = (COLLECTIVES[f"all-reduce, {a}"] for a in ("ring", "hierarchical"))
    gather, scatter = (COLLECTIVES[a](message, span) for a in ("all-gather", "reduce-scatter"))
    by_levels = any(hop.transport.by_levels for hop in span)
    whole = hierarchical(message, span) if by_levels else ring(message, span)
    assert max(gather, scatter) <= whole * ROUNDING
    assert whole <= (gather + scatter) * ROUNDING
    assert COLLECTIVES["all-reduce"](message, span) <= whole * ROUNDING


@given(size, st.integers(1, 16).map(float), st.floats(0.0, 25e-6 / 15), rate, st.booleans())
def test_in_one_node_an_all_reduce_is_never_faster_than_its_reduce_scatter(
    message: float, members: float, alpha_s: float, bytes_per_s: float, in_switch: bool
) -> None:
    node = (Hop("node", members, alpha_s, bytes_per_s, in_switch),)
    reduce = COLLECTIVES["reduce-scatter"](message, node)
    assert reduce <= COLLECTIVES["all-reduce"](message, node) * ROUNDING


@given(size, spans())
def test_the_chosen_algorithm_is_the_cheapest_that_the_library_has(
    message: float, span: Span
) -> None:
    every = {name: float(all_reduce_s(message, span, name)) for name in ALGORITHMS}
    if any(hop.transport.by_levels for hop in span):
        assert COLLECTIVES["all-reduce"](message, span) == every["hierarchical"]
    else:
        others = [price for name, price in every.items() if name != "hierarchical"]
        assert COLLECTIVES["all-reduce"](message, span) == min(others)


@given(size, spans(switches=False))
def test_nothing_beats_the_wire(message: float, span: Span) -> None:
    """A member of a level holds 1/r of the gathered bytes; the others must come in by its link."""
    wire_s = max((h.ranks - 1) / h.ranks * message / h.bytes_per_s for h in span)
    assert COLLECTIVES["all-gather"](message, span) >= wire_s / ROUNDING
    assert COLLECTIVES["all-reduce"](message, span) >= wire_s / ROUNDING


# a ring that is left for its last protocol alone, and a tree that would pass it by in one domain
ONE_RING = Transport(pair_most=1.0, shared=Shared(1.0, rank_most=1.0, peer_most=1.0))
LEFT_EARLY = Transport(rings=(Line(0.0), Line(1.0)), pair_most=1.0)


@example(1.0, (Hop("bus", 3.0, 0.0, 1e6, transport=ONE_RING),), 0)
@example(2.0, (Hop("pair", 2.0, 0.0, 1e6, transport=LEFT_EARLY),), 0)
@given(size, spans(), st.integers(0, 4))
def test_a_level_that_is_not_crossed_changes_nothing(
    message: float, span: Span, place: int
) -> None:
    place = 1 + place % len(span)  # the innermost level stays the innermost
    idle = Hop("idle", 1.0, 1.0, 1.0)
    longer = (*span[:place], idle, *span[place:])
    for name, collective in COLLECTIVES.items():
        assert collective(message, longer) == pytest.approx(collective(message, span), rel=1e-12), (
            name
        )


@given(size, st.integers(2, 300).map(float), alpha, rate, st.integers(1, 64).map(float))
def test_copies_to_one_domain_cross_once(
    message: float, domains: float, alpha_s: float, bytes_per_s: float, copies: float
) -> None:
    span = (Hop("node", 8.0, 0.0, 1e13), Hop("cluster", domains, alpha_s, bytes_per_s))
    saved, all_of_them = (float(all_to_all_s(message, span, k)) for k in (copies, 1.0))
    assert saved <= all_of_them * ROUNDING
    assert (saved - alpha_s * (domains - 1)) * copies >= (
        all_of_them - alpha_s * (domains - 1)
    ) / ROUNDING - 1e-9 * all_of_them


@given(size, more, alpha, rate)
def test_a_message_to_a_neighbour(few: float, times: float, alpha_s: float, wide: float) -> None:
    took = point_to_point_s(few, alpha_s, wide)
    assert took <= point_to_point_s(few * times, alpha_s, wide)
    assert point_to_point_s(few, alpha_s, wide * times) <= took


@given(seconds, seconds, share)
def test_overlap_hides_no_more_than_there_is(comm: float, compute: float, frac: float) -> None:
    shown, hidden = float(exposed_s(comm, compute, frac)), float(hidden_s(comm, compute, frac))
    assert 0.0 <= shown <= comm * ROUNDING
    assert 0.0 <= hidden <= min(comm, compute)
    assert shown + hidden == pytest.approx(comm, rel=1e-12, abs=1e-18)
    assert max(comm, compute) / ROUNDING <= compute + shown <= (compute + comm) * ROUNDING


@given(seconds, seconds, share, share, more)
def test_more_to_hide_under_and_more_overlap_never_cost(
    comm: float, compute: float, frac: float, other: float, times: float
) -> None:
    low, high = sorted((frac, other))
    slack = comm * 1e-12
    assert exposed_s(comm, compute, high) <= float(exposed_s(comm, compute, low)) + slack
    assert exposed_s(comm, compute * times, low) <= float(exposed_s(comm, compute, low)) + slack


@given(seconds, seconds, st.sampled_from([1.0, 2.0, 4.0, 8.0]))
def test_two_bounds_join_between_the_larger_and_their_sum(a: float, b: float, power: float) -> None:
    joined = float(smooth_max(a, b, power))
    assert max(a, b) / ROUNDING <= joined <= (a + b) * ROUNDING
    assert joined <= float(smooth_max(a * 1.5, b, power)) * ROUNDING


length = st.integers(1, 50_000).map(float)
tile = st.sampled_from([16, 64, 128, 256])
kernels = st.builds(
    Product,
    flop_per_s=st.floats(1e9, 1e17),
    bytes_per_s=st.floats(1e8, 1e14),
    fixed_s=st.floats(0.0, 1e-3),
    fill=st.floats(0.0, 500.0),
    cast_bytes=st.floats(0.0, 10.0),
    tile_m=tile,
    tile_n=tile,
    units=st.sampled_from([1, 108, 132]),
    tail=st.floats(0.0, 1.0),
    split=st.floats(1.0, 1e5),
)


@given(st.tuples(length, length, length), st.integers(0, 2), more, kernels)
def test_a_larger_product_never_takes_less_time(
    sizes: tuple[float, float, float], which: int, times: float, chip: Product
) -> None:
    def time_s(mnk: tuple[float, ...]) -> float:
        return float(matmul_s(*mnk, chip))

    larger = tuple(x * times if i == which else x for i, x in enumerate(sizes))
    assert time_s(sizes) <= time_s(larger) * ROUNDING


@given(st.tuples(length, length, length), kernels, more)
def test_a_faster_chip_never_takes_longer_and_none_beats_its_peak(
    sizes: tuple[float, float, float], chip: Product, times: float
) -> None:
    m, n, k = sizes
    took = float(matmul_s(m, n, k, chip))
    for figure in ("flop_per_s", "bytes_per_s"):
        faster = replace(chip, **{figure: getattr(chip, figure) * times})
        assert float(matmul_s(m, n, k, faster)) <= took * ROUNDING
    for figure in ("fixed_s", "fill", "cast_bytes", "tail"):
        leaner = replace(chip, **{figure: getattr(chip, figure) / times})
        assert float(matmul_s(m, n, k, leaner)) <= took * ROUNDING
    assert took >= 2 * m * n * k / chip.flop_per_s / ROUNDING
    assert took >= 2 * (m * k + k * n + m * n) / chip.bytes_per_s / ROUNDING


@given(seconds, size, size, more, kernels)
def test_more_attention_and_more_traffic_never_take_less(
    flop: float, traffic: float, tail: float, times: float, chip: Product
) -> None:
    def time_s(flop: float, traffic: float, tail: float, faster: float = 1.0) -> float:
        rates = (chip.flop_per_s * faster, chip.bytes_per_s * faster, chip.fixed_s)
        return float(attention_s(flop, traffic, *rates, tail))

    flop = flop * 1e12
    took = time_s(flop, traffic, tail)
    assert took <= time_s(flop * times, traffic, tail) * ROUNDING
    assert took <= time_s(flop, traffic * times, tail) * ROUNDING
    assert took <= time_s(flop, traffic, tail * times) * ROUNDING
    assert time_s(flop, traffic, tail, times) <= took * ROUNDING
    moved = memory_bound_s(traffic, chip.bytes_per_s, chip.fixed_s)
    assert moved <= memory_bound_s(traffic * times, chip.bytes_per_s, chip.fixed_s)
    assert moved <= took * ROUNDING


@given(
    st.tuples(st.integers(1, 1024), st.integers(1, 128), st.integers(1, 16), length),
    st.integers(0, 3),
    st.integers(1, 8),
    st.tuples(st.floats(1e9, 1e14), seconds, seconds),
)
def test_decoding_more_never_takes_less(
    sizes: tuple[int, int, int, float], which: int, times: int, chip: tuple[float, float, float]
) -> None:
    """More sequences, heads of keys, queries that share one up to a limit, longer caches."""
    bytes_per_s, fixed_s, split_s = chip

    def time_s(sizes: tuple[float, ...], faster: float = 1.0) -> float:
        sequences, kv_heads, group, context = sizes
        return float(
            decode_attention_s(sequences, kv_heads * group, kv_heads, 128.0, context, 2.0,
                               bytes_per_s * faster, fixed_s, split_s, 3e-8, 0.0, 1e-8,
                               wait_s=1e-5, units=64.0)
        )  # fmt: skip

    larger = tuple(x * times if i == which else x for i, x in enumerate(sizes))
    took = time_s(sizes)
    assert took <= time_s(larger) * ROUNDING
    assert time_s(sizes, float(times)) <= took * ROUNDING


stages = st.integers(2, 64).map(float)
passes = st.tuples(seconds, seconds, share)


@given(stages, st.integers(1, 8).map(float), passes)
def test_schedules_by_the_size_of_their_bubble(
    p: float, v: float, work: tuple[float, float, float]
) -> None:
    """Even stages: (p - 1)(F + B), over v, and less the more of B can wait."""
    forward, backward, part = work
    weight = part * backward
    others = (p - 1.0) * (forward + backward)

    def idle(name: str) -> float:
        code = SCHEDULES.index(name)
        return float(bubble_s(code, p, v, others, forward, backward, weight))

    assert idle("1f1b") == idle("gpipe") == others
    assert idle("interleaved") == pytest.approx(others / v, rel=1e-12)
    assert 0.0 <= idle("zero-bubble") <= idle("1f1b") * ROUNDING
    assert 0.0 <= idle("dualpipe") <= idle("zero-bubble") * ROUNDING


@given(stages, stages, seconds, seconds, st.sampled_from(SCHEDULES))
def test_a_longer_pipeline_never_idles_less(
    p: float, q: float, forward: float, backward: float, name: str
) -> None:
    code, both = SCHEDULES.index(name), forward + backward
    short, long = (
        float(bubble_s(code, x, 2.0, (x - 1.0) * both, forward, backward, backward / 2))
        for x in sorted((p, q))
    )
    assert short <= long * ROUNDING


@given(
    st.sampled_from(SCHEDULES),
    st.integers(1, 64),
    st.integers(1, 8),
    st.integers(1, 500),
    st.data(),
)
def test_activations_in_flight(
    name: str, p: int, v: int, microbatches: int, data: st.DataObject
) -> None:
    assume(name in ("interleaved", "gpipe") or v == 1)
    code = SCHEDULES.index(name)
    stage = data.draw(st.integers(0, p - 1))
    held = float(in_flight_chunks(code, p, stage, v, microbatches))
    assert 1.0 <= held <= microbatches * v
    assert held <= float(in_flight_chunks(code, p, stage, v, microbatches + 1))
    if stage:
        assert held <= float(in_flight_chunks(code, p, stage - 1, v, microbatches))
    if name == "1f1b":
        assert held == min(microbatches, p - stage)
