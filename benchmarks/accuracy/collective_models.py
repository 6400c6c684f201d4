"""The constants of collectives as a fit moves them, and the spans and prices that they give.

Names of constants are the dotted paths of the figures in a profile's network level, so that what
is fitted is what is written. Knows no table's file.

Parts: `NODE`, `BUS`, `BETWEEN`, `start_of`, `free_of`, `node_span`, `pair_most_bytes`,
`lines_of`, `between_span`, `price`.
"""

from collections.abc import Mapping

import numpy as np
from collective_rows import PROFILES, Rows

from costmodels.collectives import all_gather_s, all_reduce_s, all_to_all_s, reduce_scatter_s
from costmodels.hops import Hop, Line, Shared, Span, Transport
from costmodels.units import Column, Num
from hardware_profiles.load import load
from hardware_profiles.schema import NetworkLevel

__all__ = ["BETWEEN", "BUS", "FIXED", "NODE", "PEER_MOST_BYTES", "Constants", "between_span",
           "free_of", "node_span", "pair_most_bytes", "lines_of", "price", "start_of",
           ]  # fmt: skip

Constants = dict[str, float]

OPERATIONS = {
    "all_gather": all_gather_s,
    "reduce_scatter": reduce_scatter_s,
    "all_reduce": all_reduce_s,
    "alltoall": all_to_all_s,
}
NODE: Constants = {
    "latency_s": 1e-6,
    "efficiency": 0.75,
    "protocols.rings.0.start_s": 6e-6,
    "protocols.rings.0.share": 0.04,
    "protocols.rings.1.start_s": 8e-6,
    "protocols.rings.1.steps": 1.2,
    "protocols.rings.1.share": 0.45,
    "protocols.rings.2.start_s": 20e-6,
    "protocols.rings.2.steps": 3.0,
    "protocols.own_part": 0.6,
    "protocols.own_scattered": 0.6,
    "protocols.switch.steps": 6.0,
    "protocols.switch.share": 0.75,
    "protocols.exchanges.0.start_s": 7e-6,
    "protocols.exchanges.0.steps": 0.4,
    "protocols.exchanges.0.share": 0.2,
    "protocols.exchanges.1.start_s": 10e-6,
    "protocols.exchanges.1.share": 0.4,
    "protocols.exchanges.2.start_s": 13e-6,
    "protocols.exchanges.2.steps": 1.0,
    "protocols.exchanges.2.share": 0.9,
    "protocols.own_exchanged": 0.7,
}
"""Where the search starts: LL on few channels, then on all of them or LL128, then Simple."""
BUS: Constants = {
    "latency_s": 1e-6,
    "efficiency": 0.7,
    "protocols.rings.0.start_s": 5e-6,
    "protocols.rings.0.share": 0.5,
    "protocols.rings.1.start_s": 20e-6,
    "protocols.rings.1.steps": 0.5,
    "protocols.own_part": 0.1,
    "protocols.own_scattered": 0.1,
    "protocols.exchanges.0.start_s": 8e-6,
    "protocols.exchanges.0.steps": 0.5,
    "protocols.exchanges.0.share": 0.4,
    "protocols.exchanges.1.start_s": 10e-6,
    "shared.share": 0.05,
    "shared.exchanged": 0.85,
}
"""The same where NCCL has no LL128 (PCIe): LL, then Simple, and what more than two share."""
PEER_MOST_BYTES = 2 * 16384.0
"""What NCCL sends to a peer by LL: 16 KiB by each of two channels (src/enqueue.cc)."""
SOCKETS_BYTES_PER_S = 10e9
"""What NCCL takes for a link between processors' sockets (Intel's; src/graph/topo.h)."""
LL_BYTES_PER_S = {"volta": 39e9, "ampere": 87.7e9, "hopper": 141e9, "blackwell": 282e9}
LL_BASE_S, LL_STEP_S, LL_BUS_STEP_S = 8.4e-6 - 6.6e-6, 3.4e-6 - 0.6e-6, 5.7e-6 - 1.0e-6
"""NCCL's constants in one node: most that LL carries; what Simple starts and steps slower."""
LL_STEPS = 1.5
"""Steps for each rank but one: between the one of a gather and the two of an all-reduce."""
SIMPLE_SHARE = 0.8
SWITCH_START_S = 25e-6
"""Start of an in-switch reduction, not fitted: NCCL's constant (src/graph/tuning.cc)."""
BETWEEN: Constants = {
    "latency_s": 5e-6,
    "efficiency": 0.95,
    "protocols.rings.0.share": 0.06,
    "protocols.rings.1.steps": 1.4,
    "protocols.rings.1.share": 0.25,
    "protocols.rings.2.steps": 2.0,
    "unknown_efficiency": 0.93,
}
UNKNOWN_BYTES_PER_S = 100e9
"""Nominal bandwidth of a node taken for the published set whose hardware is not stated."""
TCPXO_BYTES_PER_S = 200e9
FIXED = (
    "latency_s",
    "protocols.rings.1.steps",
    "protocols.rings.2.steps",
    "protocols.exchanges.0.steps",
    "protocols.exchanges.2.steps",
    "protocols.own_exchanged",
)
"""Latencies by step that two devices cannot tell from starts: the GB200 has the B200's."""


def start_of(system: str) -> Constants:
    """Return where a system's constants start."""
    if system == "between":
        return dict(BETWEEN)
    return dict(BUS if _level(system).kind == "bus" else NODE)


def free_of(system: str) -> list[str]:
    """Name the constants that a system's rows decide."""
    switch = _level(system).in_switch_reduction
    return [name for name in start_of(system) if switch or ".switch." not in name]


def _level(system: str) -> NetworkLevel:
    return load(PROFILES[system]).network[0]


def node_span(system: str, ranks: Num, c: Mapping[str, float]) -> Span:
    """Return the span of a group inside one node."""
    level = _level(system)
    rate = level.bytes_per_s.value * c["efficiency"]
    transport = _transport(c, PROFILES[system])
    return (Hop("node", ranks, c["latency_s"], rate, level.in_switch_reduction, transport),)


def lines_of(c: Mapping[str, float], kind: str) -> tuple[Line, ...]:
    """Return the protocols of `kind` that constants hold; the one before's steps where none are."""
    made: list[Line] = []
    while any(name.startswith(key := f"protocols.{kind}.{len(made)}.") for name in c):
        steps = made[-1].steps if made and kind == "exchanges" else 1.0
        made.append(Line(c.get(f"{key}start_s", 0.0), c.get(f"{key}steps", steps),
                         c.get(f"{key}share", 1.0)))  # fmt: skip
    return tuple(made)


def _transport(c: Mapping[str, float], profile: str) -> Transport:
    p = {name.removeprefix("protocols."): value for name, value in c.items()}
    shared = (
        Shared(c["shared.share"], c["shared.exchanged"], RANK_MOST_BYTES,
               PEER_MOST_BYTES)
        if "shared.share" in c
        else None
    )  # fmt: skip
    return Transport(
        rings=lines_of(c, "rings"),
        exchanges=lines_of(c, "exchanges"),
        switch=Line(SWITCH_START_S, p.get("switch.steps", 0.0), p.get("switch.share", 1.0)),
        own_part=p["own_part"],
        own_scattered=p["own_scattered"],
        own_exchanged=p.get("own_exchanged", 0.0),
        pair_most=pair_most_bytes(profile),
        shared=shared,
    )


def pair_most_bytes(profile: str) -> float:
    """Bytes over a link from which NCCL carries a pair's ring by Simple and no more by LL.

        (base + 1.5 steps' latencies of Simple less LL's) / (1 / LL's bandwidth - 1 / Simple's)

    by the constants that it chooses with (src/graph/tuning.cc), 1.5 steps between the one of a
    gather and the two of an all-reduce. LL has its bandwidth or half the links', Simple 0.8 of the
    datasheet's. Infinite for RCCL, whose constants are not known.
    """
    machine = load(profile)
    level = machine.network[0]
    if machine.vendor != "nvidia":
        return np.inf
    fast = SIMPLE_SHARE * level.bytes_per_s.value
    if level.kind == "bus":
        return (LL_BASE_S + LL_STEPS * LL_BUS_STEP_S) * fast
    slow = min(LL_BYTES_PER_S[machine.family], 0.5 * fast)
    return (LL_BASE_S + LL_STEPS * LL_STEP_S) / (1.0 / slow - 1.0 / fast)


RANK_MOST_BYTES = LL_STEPS * LL_BUS_STEP_S * SOCKETS_BYTES_PER_S
"""The same by a step of a ring of more than two on a bus, with the base left out.

Eight L40S gather, scatter and reduce as if it were 65 to 131 kB.
"""


def between_span(rows: Rows, node: Mapping[str, float], c: Mapping[str, float]) -> Span:
    """Return the span of groups of whole nodes of eight H100, on the set's network."""
    known = "unknown" not in rows.setting[0]
    nominal = load("dgx-h100").network[1].bytes_per_s.value if known else UNKNOWN_BYTES_PER_S
    nominal = TCPXO_BYTES_PER_S if "8x200G" in rows.setting[0] else nominal
    share = c["efficiency"] if known else c["unknown_efficiency"]
    transport = Transport(rings=lines_of(c, "rings"))
    inside = node_span("h100_sxm", 8.0, node)
    return (*inside, Hop("cluster", rows.ranks / 8.0, c["latency_s"], nominal * share, False,
                         transport))  # fmt: skip


def price(rows: Rows, span: Span) -> Column:
    """Price every row with the function that plans are priced with."""
    made = np.empty(len(rows))
    operations = np.array(rows.op)
    for op, of in OPERATIONS.items():
        mask = operations == op
        if mask.any():
            made[mask] = of(rows.size_bytes[mask], tuple(_rows_of(hop, mask) for hop in span))
    return made


def _rows_of(hop: Hop, mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Hop:
    def part(value: Num) -> Num:
        return value[mask] if isinstance(value, np.ndarray) and value.ndim else value

    return Hop(hop.name, part(hop.ranks), hop.alpha_s, part(hop.bytes_per_s), hop.in_switch,
               hop.transport)  # fmt: skip
