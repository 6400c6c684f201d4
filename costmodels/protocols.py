"""Which protocol of a library carries a message over the levels of a network, and what it takes.

Every level has its line of alpha and beta for each protocol (`costmodels.hops`); all levels of a
group use the same one. What algorithms put on the levels is told by `costmodels.collectives`.

Parts: `lines_of`, `cheapest_s`, `cheapest_exchange_s`, `shared_s`, `crossed_s`, `most_bytes_of`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from costmodels.hops import Hop, Line, Span, size_of
from costmodels.units import Num

__all__ = [
    "cheapest_exchange_s",
    "cheapest_s",
    "crossed_s",
    "lines_of",
    "most_bytes_of",
    "shared_s",
]

FLAGGED = 0.5
"""Of what is sent, the share of the message where a flag goes with every word (NCCL's LL)."""


def lines_of(span: Span) -> list[tuple[Line, ...]]:
    """Protocols of rings and trees: for each, its line at every level."""
    count = max(len(hop.transport.rings) for hop in span)
    rings = [hop.transport.rings for hop in span]
    return [tuple(lines[min(i, len(lines) - 1)] for lines in rings) for i in range(count)]


def cheapest_s(
    message_bytes: Num,
    span: Span,
    latencies_s: Sequence[Num],
    loads_s: Sequence[Num],
    most_bytes: Num = np.inf,
) -> Num:
    """Return the cheapest protocol's `start + sum of latencies + V max of loads`, over the levels.

    Parameters
    ----------
    latencies_s : by level, seconds of latency where a step takes `alpha_s`
    loads_s     : by level, seconds per byte of the message at the whole of `bytes_per_s`
    most_bytes  : of a message, from which the library takes its last protocol, cheapest or not

    Notes
    -----
    Lines fitted to five chips are 3 to 4% off measured times inside a node (7% over PCIe).
    Source: the choice among lines is NCCL's (src/graph/tuning.cc).
    """

    def took_s(carried_bytes: Num, part: float, lines: tuple[Line, ...]) -> Num:
        latency: Num = lines[0].start_s
        slowest: Num = 0.0
        for line, late_s, load_s in zip(lines, latencies_s, loads_s, strict=True):
            latency = latency + (late_s if line.steps == 1.0 else line.steps * late_s)
            load_s = load_s if line.share == 1.0 else load_s * (1.0 / line.share)
            slowest = np.maximum(slowest, load_s)
        own_s = latency + carried_bytes * slowest
        return shared_s(own_s, carried_bytes * loads_s[0], span[0], part)

    protocols = [partial(took_s, lines=lines) for lines in lines_of(span)]
    return _cheapest_s(message_bytes, span[0], protocols, most_bytes)


def _cheapest_s(
    message_bytes: Num, hop: Hop, protocols: Sequence[Callable[[Num, float], Num]], most_bytes: Num
) -> Num:
    """Return the least of the protocols' prices, or the last one's from `most_bytes`.

    `protocols`: seconds of so many bytes, with a part of what is shared (see `shared_s`).
    """
    *quick, last = protocols
    last_s = last(message_bytes, 1.0)
    if not quick or (isinstance(most_bytes, float) and most_bytes == np.inf):
        return _least([*(took_s(message_bytes, FLAGGED) for took_s in quick), last_s])
    kept = np.minimum(message_bytes, most_bytes) if hop.transport.shared else message_bytes
    quick_s = _least([took_s(kept, FLAGGED) for took_s in quick])
    return _left_s(message_bytes, hop, most_bytes, quick_s, last_s)


def _least(prices_s: Sequence[Num]) -> Num:
    best: Num = np.inf
    for each_s in prices_s:
        best = np.minimum(best, each_s)
    return best


def _left_s(message_bytes: Num, hop: Hop, most_bytes: Num, quick_s: Num, last_s: Num) -> Num:
    """Return the price where a library leaves its quick protocols at `most_bytes`, and not before.

    Parameters
    ----------
    quick_s : by those, of the message or, where members share something, of `most_bytes` at most
    last_s  : by the last

    Notes
    -----
    Between two devices the last is slower there, and below the cheapest carries. More that share
    what is slower than their links find it quicker long before, which the library does not know;
    so that prices grow with the message, none above is under what `most_bytes` take.
    """
    left = np.where(message_bytes > most_bytes, last_s, np.minimum(quick_s, last_s))
    if hop.transport.shared is None:
        return left
    late = np.where(message_bytes > most_bytes, np.maximum(quick_s, last_s), quick_s)
    return np.where((hop.ranks > 2.5) & np.isfinite(most_bytes), late, left)


def shared_s(took_s: Num, link_s: Num, hop: Hop, part: Num) -> Num:
    """Add what members of a level wait for what they share, where they are more than two.

        hypot(took, link / (share part))

    Parameters
    ----------
    took_s : seconds over the members' own links
    link_s : of which bytes at the whole of `bytes_per_s`
    part   : of what is shared, what this protocol gets

    Notes
    -----
    Links and what is shared work beside each other, so the slower of the two paces long messages;
    the root of squares is the smooth form of that.
    Source: all-gathers of eight L40S take 15 us up to 4 KiB, and 0.7 GB/s from 32 KiB, with a
    corner between that a sum of the two overstates by half.
    """
    shared = hop.transport.shared
    if shared is None:
        return took_s
    return np.where(hop.ranks > 2.5, np.hypot(took_s, link_s / (shared.share * part)), took_s)


def cheapest_exchange_s(
    sent_bytes: Num, span: Span, waits_s: Sequence[Num], loads_s: Sequence[Num]
) -> Num:
    """Return the cheapest protocol's `start + max over levels of (waits + V loads)`.

    Parameters
    ----------
    waits_s : by level, seconds of latency where a step takes `alpha_s`
    loads_s : by level, seconds per byte sent at the whole of `bytes_per_s`

    Notes
    -----
    Levels run beside each other (pairwise exchange), so the slowest decides.
    """
    shared = span[0].transport.shared
    exchanges = [hop.transport.exchanges for hop in span]

    def took_s(carried_bytes: Num, part: float, i: int) -> Num:
        slowest: Num = 0.0
        for lines, wait_s, load_s in zip(exchanges, waits_s, loads_s, strict=True):
            line = lines[min(i, len(lines) - 1)]
            cost = line.steps * wait_s + carried_bytes * (load_s * (1.0 / line.share))
            slowest = np.maximum(slowest, cost)
        own_s = exchanges[0][min(i, len(exchanges[0]) - 1)].start_s + slowest
        part = part * shared.exchanged if shared else part
        return shared_s(own_s, carried_bytes * loads_s[0], span[0], part)

    protocols = [partial(took_s, i=i) for i in range(max(len(lines) for lines in exchanges))]
    most_bytes: Num = np.inf
    if shared is not None and shared.peer_most:
        most_bytes = np.where(span[0].ranks > 2.5, size_of(span) * shared.peer_most, np.inf)
    return _cheapest_s(sent_bytes, span[0], protocols, most_bytes)


def crossed_s(hop: Hop, load: Num) -> Num:
    """Seconds per byte of a level, nothing where the group does not cross it."""
    return np.where(hop.ranks > 1, load / hop.bytes_per_s, 0.0)


def most_bytes_of(span: Span, passes: float) -> Num:
    """Message of which a ring carries over its link as much as its first protocols are kept for.

        2 pair_most / passes;  n rank_most / passes of more than two that share

    Notes
    -----
    Infinite for a group that is not in one domain, and for more than two devices where nothing is
    shared: no such jump shows there.
    Source: NCCL, src/graph/tuning.cc, whose constants hold Simple for quicker than it is between
    two devices, and for slower than it is through a host's memory.
    """
    inner = span[0].transport
    if inner.pair_most == np.inf:
        return np.inf
    n = size_of(span)
    near = (span[0].ranks > 1.5) & (n < span[0].ranks + 0.5)
    pair = np.where(near & (n < 2.5), 2.0 * inner.pair_most / passes, np.inf)
    if inner.shared is None or inner.shared.rank_most == np.inf:
        return pair
    return np.where(near & (n > 2.5), n * inner.shared.rank_most / passes, pair)
