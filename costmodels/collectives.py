"""Collectives by algorithm and protocol: the cheapest alpha-beta line over the levels of a network.

A group of ranks is described by its `Span` (see `costmodels.hops`). Algorithms are priced side by
side, each in every protocol; a library picks the cheapest, and so do we. All constants come with
the span; what is here is how many steps an algorithm takes and how often a byte passes a link.
Knows nothing of what is being communicated, or why.

Parts: the ring, tree, hierarchical and in-switch prices, `all_reduce_s`, `all_gather_s`,
`reduce_scatter_s`, `all_to_all_s`, `point_to_point_s`, `all_reduce_choice`, `all_gather_choice`,
`usable`.
"""

import numpy as np

from costmodels.hops import Span, size_of
from costmodels.occupancy import distinct_share
from costmodels.protocols import (
    cheapest_exchange_s,
    cheapest_s,
    crossed_s,
    lines_of,
    most_bytes_of,
)
from costmodels.units import Num

__all__ = [
    "ALGORITHMS",
    "all_gather_choice",
    "all_gather_s",
    "all_reduce_choice",
    "all_reduce_s",
    "all_to_all_s",
    "point_to_point_s",
    "reduce_scatter_s",
    "usable",
]

ALGORITHMS = ("ring", "tree", "hierarchical", "in-switch")
TREE_STEP = 2.0
"""Latency of a tree's step between domains over a ring's (NCCL: 5.0 of 2.7, 8.5 of 4.0 us)."""


def _ring_s(message_bytes: Num, span: Span, passes: float, sums: float) -> Num:
    """Price `passes` turns of a flat ring: n - 1 steps each, one of them leaving each domain.

        start + passes (n - 1) alpha + (passes (n - 1) + sums summed (n - 1) + own) / n V / beta

    One pass gathers or scatters, two reduce to all; `sums` of them add up. Every
    level carries the whole ring, whose order visits a domain's ranks before it leaves.
    """
    n = size_of(span)
    sent, left = passes * (n - 1.0), n
    latencies: list[Num] = []
    loads: list[Num] = []
    for hop in span:  # inner to outer: domains of this level still to visit
        left = left / hop.ranks
        latencies.append(passes * hop.pass_steps * left * hop.alpha_s)
        added = sums * hop.transport.summed * (n - 1.0)
        loads.append(crossed_s(hop, (sent + added + hop.transport.own(passes, sums)) / n))
    return cheapest_s(message_bytes, span, latencies, loads, most_bytes_of(span, passes))


def _levels_s(message_bytes: Num, span: Span, passes: float, sums: float) -> Num:
    """Price `passes` turns level by level, inwards or outwards.

        start + passes (sum over levels of (r - 1) alpha)
              + max over levels of ((passes + sums summed) (r - 1) + own) / r V / beta

    An outer level gathers one rank's share of the levels inside it, and all ranks of a domain
    fill its link together, so what crosses a domain's link is (r - 1)/r of V at every level. In
    large messages the levels work beside each other, chunk after chunk: the slowest paces them.
    """
    latencies = [passes * hop.pass_steps * hop.alpha_s for hop in span]
    loads = [
        crossed_s(
            hop,
            (
                (passes + sums * hop.transport.summed) * (hop.ranks - 1.0)
                + hop.transport.own(passes, sums)
            )
            / hop.ranks,
        )
        for hop in span
    ]
    return cheapest_s(message_bytes, span, latencies, loads)


def _beyond(outer: Span) -> tuple[list[Num], list[Num]]:
    """Latencies and loads, by level, of two trees over the domains, up and down again.

    Two trees carry half the message each. The busiest domain of r sends min(2, r/2) V: half a
    message for each parent and child that it has in both.
    """
    latencies: list[Num] = []
    loads: list[Num] = []
    for hop in outer:
        depth = np.ceil(np.log2(np.maximum(hop.ranks, 1.0)))
        latencies.append(2.0 * TREE_STEP * depth * hop.alpha_s)
        sent = 1.0 if hop.in_switch else np.minimum(2.0, 0.5 * hop.ranks)
        loads.append(crossed_s(hop, sent))
    return latencies, loads


def _tree_s(message_bytes: Num, span: Span) -> Num:
    """All-reduce by a chain inside the innermost domain and two trees of domains."""
    inner = span[0]
    latencies, loads = _beyond(span[1:])
    chain = 2.0 * (inner.ranks - 1.0) * inner.alpha_s
    return cheapest_s(message_bytes, span, [chain, *latencies], [crossed_s(inner, 2.0), *loads])


def _in_switch_s(message_bytes: Num, span: Span) -> Num:
    """All-reduce whose switch reduces in the innermost domain, by two trees beyond it.

        start + (r - 1) alpha + (1 + 1/r) V / beta

    Every rank reads what the switch has summed of its r-th and the switch deals it out again.
    """
    inner, outer = span[0], span[1:]
    line = inner.transport.switch
    latency = line.start_s + line.steps * (inner.ranks - 1.0) * inner.alpha_s
    slowest = (1.0 + 1.0 / inner.ranks) / (line.share * inner.bytes_per_s)
    last = lines_of(span)[-1][1:]
    for through, late_s, load_s in zip(last, *_beyond(outer), strict=True):
        latency = latency + through.steps * late_s
        slowest = np.maximum(slowest, load_s * (1.0 / through.share))
    return np.where(inner.ranks > 2, latency + message_bytes * slowest, np.inf)


def _by_levels(span: Span) -> bool:
    return any(hop.transport.by_levels for hop in span)


def _named_by_levels(span: Span) -> str:
    """Name what goes level by level: on one level that is a ring."""
    return "hierarchical" if sum(bool(np.any(hop.ranks > 1)) for hop in span) > 1 else "ring"


def _pass_s(message_bytes: Num, span: Span, sums: float) -> Num:
    if _by_levels(span):
        return _levels_s(message_bytes, span, 1.0, sums)
    return _ring_s(message_bytes, span, 1.0, sums)


def all_gather_s(gathered_bytes: Num, span: Span) -> Num:
    """Time to give every rank the `gathered_bytes` of which each holds an n-th.

        least over protocols of  start + (n - 1) alpha + ((n - 1) + own) / n V / beta

    round one flat ring; level by level where the library does so (`Transport.by_levels`).

    Notes
    -----
    `own` is a rank's own part, copied by the same kernel that sends and receives. Libraries of
    rings fill the links between domains with (n - 1)/n V whatever the number of domains.
    Source: Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005; NCCL, src/graph/tuning.cc.
    """
    return np.where(size_of(span) > 1, _pass_s(gathered_bytes, span, 0.0), 0.0)


def reduce_scatter_s(input_bytes: Num, span: Span) -> Num:
    """Time to sum `input_bytes` over the ranks and leave each an n-th: `all_gather_s` and sums.

    Adding up what is received costs `Transport.summed` as much as receiving it, a rank's own part
    `Transport.own_scattered`.
    """
    return np.where(size_of(span) > 1, _pass_s(input_bytes, span, 1.0), 0.0)


def _offered(span: Span) -> tuple[str, ...]:
    """Name what a library chooses among to reduce; in one domain a tree never beats a ring."""
    if _by_levels(span):
        return ("hierarchical",)
    trees = ("tree",) if len(span) > 1 else ()
    return ("ring", *trees, "in-switch") if span[0].in_switch else ("ring", *trees)


def _reduced_s(message_bytes: Num, span: Span, algorithm: str) -> Num:
    if algorithm == "ring":
        return _ring_s(message_bytes, span, 2.0, 1.0)
    if algorithm == "tree":
        return _tree_s(message_bytes, span)
    if algorithm == "hierarchical":
        return _levels_s(message_bytes, span, 2.0, 1.0)
    return _in_switch_s(message_bytes, span) if span[0].in_switch else np.inf


def _chosen_s(message_bytes: Num, span: Span, algorithm: str) -> Num:
    """Price what a library chooses by itself: a tree only where a group has several domains."""
    took_s = _reduced_s(message_bytes, span, algorithm)
    return np.where(size_of(span[1:]) > 1, took_s, np.inf) if algorithm == "tree" else took_s


def all_reduce_s(message_bytes: Num, span: Span, algorithm: str = "auto") -> Num:
    """Time of an all-reduce of `message_bytes` per rank: the cheapest algorithm's, or the named.

        ring          2 (n - 1) alpha + ((2 + summed) (n - 1) + own) / n V / beta
        tree          2 ((r - 1) alpha_in + 2 alpha_out log2 domains)
                      + max(2 V / beta_in, min(2, domains / 2) V / beta_out)
        hierarchical  reduce-scatter inwards, all-gather outwards, level by level
        in-switch     start + (r - 1) alpha + (1 + 1/r) V / beta in the domain, trees beyond

    each in its cheapest protocol, with that protocol's start.

    Parameters
    ----------
    algorithm : auto is what the library has: ring, tree and in-switch; level by level where
                `Transport.by_levels`

    Notes
    -----
    Ignores the reduction's arithmetic in trees and switches; in rings it is `summed`. Where a
    group cannot use the named algorithm (no switch that reduces, two ranks), the library's own
    choice is priced, as it falls back.
    Source: Thakur et al. 2005; Sanders, Speck, Traeff, Parallel Computing 35(12), 2009 (two
    trees); the NCCL tuning model (the tree is a chain of r ranks inside a domain; in-switch
    reduction moves each byte once).
    """
    n = size_of(span)
    if algorithm != "auto":
        named = _reduced_s(message_bytes, span, algorithm)
        if np.all(np.isfinite(named)):
            return np.where(n > 1, named, 0.0)
        own_s = all_reduce_s(message_bytes, span)
        return np.where(np.isfinite(named) & (n > 1), named, own_s)
    best: Num = np.inf
    for name in _offered(span):
        best = np.minimum(best, _chosen_s(message_bytes, span, name))
    return np.where(n > 1, best, 0.0)


def _can(span: Span, algorithm: str) -> bool:
    alone = size_of(span) <= 1
    return bool(np.all(alone | np.isfinite(_reduced_s(1.0, span, algorithm))))


def usable(span: Span, algorithm: str) -> bool:
    """Tell whether a library reduces by an algorithm in a group (for one plan, not for columns).

    Libraries of rings do not go level by level of themselves; who does so in his own code may pin
    it, and it is priced.
    """
    return _can(span, algorithm) and (algorithm != "hierarchical" or _by_levels(span))


def all_reduce_choice(message_bytes: float, span: Span, algorithm: str = "auto") -> str:
    """Name of the algorithm that `all_reduce_s` priced (for one plan, not for columns)."""
    if algorithm != "auto" and _can(span, algorithm):
        return algorithm
    if _by_levels(span):
        return _named_by_levels(span)
    return min(_offered(span), key=lambda name: float(np.max(_chosen_s(message_bytes, span, name))))


def all_gather_choice(span: Span) -> str:
    """Name of the algorithm that `all_gather_s` priced (for one plan, not for columns)."""
    return _named_by_levels(span) if _by_levels(span) else "ring"


def all_to_all_s(sent_bytes: Num, span: Span, copies: Num = 1.0, *, once_a_rank: Num = 0.0) -> Num:
    """Time for each rank to send `sent_bytes` in equal parts to all ranks of the group.

        least over protocols of  start + max over levels of  alpha (r - 1) + V_level / beta_level

    where V_level, per rank, is the share that leaves the domains inside the level; innermost
    also `own_exchanged` times the part that a rank keeps.

    Parameters
    ----------
    sent_bytes : per rank, all destinations together, itself included
    copies     : k destinations drawn per token; tokens that go to one domain several times cross
                 its link once, so V shrinks to `distinct_share` of itself, over as many domains
    once_a_rank : 1 where tokens that go to one rank several times go there once too

    Notes
    -----
    Source: alpha-beta model of pairwise exchange, Thakur et al. 2005; DeepSeek-V3, 2024, section
    3.2 (one crossing per node for each token).
    """
    n = size_of(span)
    waits: list[Num] = []
    loads: list[Num] = []
    inside: Num = 1.0
    for depth, hop in enumerate(span):
        crossing = (1.0 - inside / n) * hop.distance
        share = distinct_share(n / inside, copies)
        if depth > 0:
            crossing = crossing * share * inside  # of `inside` ranks
        else:
            crossing = crossing * np.where(np.asarray(once_a_rank) > 0.0, share, 1.0)
            crossing = crossing + hop.transport.own_exchanged / n
        waits.append(hop.alpha_s * hop.pass_steps)
        loads.append(crossed_s(hop, crossing))
        inside = inside * hop.ranks
    return np.where(n > 1, cheapest_exchange_s(sent_bytes, span, waits, loads), 0.0)


def point_to_point_s(message_bytes: Num, alpha_s: Num, bytes_per_s: Num) -> Num:
    """Time to send a message to one neighbour: `alpha + n / beta`."""
    return alpha_s + message_bytes / bytes_per_s
