"""Which protocol of a library carries a message over the levels of a network, and what it takes.

Every level has its line of alpha and beta for each protocol (`costmodels.hops`); all levels of a
group use the same one. What algorithms put on the levels is told by `costmodels.collectives`.

Parts: `lines_of`, `cheapest_s`, `crossed_s`, `most_bytes_of`.
"""

from collections.abc import Sequence

import numpy as np

from costmodels.hops import Hop, Line, Span, size_of
from costmodels.units import Num

__all__ = ["cheapest_s", "crossed_s", "lines_of", "most_bytes_of"]


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
    Lines fitted to five chips are 3 to 4% off measured times inside a node (8% over PCIe).
    Source: the choice among lines is NCCL's (src/graph/tuning.cc).
    """
    best: Num = np.inf
    for lines in lines_of(span):
        latency: Num = lines[0].start_s
        slowest: Num = 0.0
        for line, late_s, load_s in zip(lines, latencies_s, loads_s, strict=True):
            latency = latency + (late_s if line.steps == 1.0 else line.steps * late_s)
            load_s = load_s if line.share == 1.0 else load_s * (1.0 / line.share)
            slowest = np.maximum(slowest, load_s)
        took_s = latency + message_bytes * slowest
        best = np.minimum(best, took_s)
    if isinstance(most_bytes, float) and most_bytes == np.inf:
        return best
    return np.where(message_bytes > most_bytes, took_s, best)


def crossed_s(hop: Hop, load: Num) -> Num:
    """Seconds per byte of a level, nothing where the group does not cross it."""
    return np.where(hop.ranks > 1, load / hop.bytes_per_s, 0.0)


def most_bytes_of(span: Span, passes: float) -> Num:
    """Message of which a ring of two devices carries `Transport.pair_most` over its link.

        2 pair_most / passes

    Notes
    -----
    Infinite for more devices, and for two that are not in one domain: no such jump shows there.
    Source: NCCL, src/graph/tuning.cc, whose constants hold Simple for quicker than it is.
    """
    most = span[0].transport.pair_most
    if most == np.inf:
        return most
    pair = (span[0].ranks > 1.5) & (size_of(span) < 2.5)
    return np.where(pair, 2.0 * most / passes, np.inf)
