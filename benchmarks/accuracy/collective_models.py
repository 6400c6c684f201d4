"""The constants of collectives as a fit moves them, and the spans and prices that they give.

Names of constants are the dotted paths of the figures in a profile's network level, so that what
is fitted is what is written. Knows no table's file.

Parts: `NODE`, `BETWEEN`, `start_of`, `free_of`, `node_span`, `pair_most_bytes`, `between_span`,
`price`.
"""

from collections.abc import Mapping

import numpy as np
from collective_rows import PROFILES, Rows

from costmodels.collectives import all_gather_s, all_reduce_s, all_to_all_s, reduce_scatter_s
from costmodels.hops import Hop, Line, Span, Transport
from costmodels.units import Column, Num
from hardware_profiles.load import load
from hardware_profiles.schema import NetworkLevel

__all__ = ["BETWEEN", "FIXED", "NODE", "Constants", "between_span", "free_of", "node_span",
           "pair_most_bytes", "price", "start_of"]  # fmt: skip

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
LL_BYTES_PER_S = {"volta": 39e9, "ampere": 87.7e9, "hopper": 141e9, "blackwell": 282e9}
LL_BASE_S, LL_STEP_S = 8.4e-6 - 6.6e-6, 3.4e-6 - 0.6e-6
"""NCCL's constants in one node: most that LL carries; what Simple starts and steps slower."""
SIMPLE_SHARE = 0.8
SWITCH_START_S = 25e-6
"""Start of an in-switch reduction, not fitted: NCCL's constant (src/graph/tuning.cc)."""
BEYOND_PAIR = 0.08
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
)
"""Latencies by step that two devices cannot tell from starts: the GB200 has the B200's."""


def start_of(system: str) -> Constants:
    """Return where a system's constants start."""
    if system == "between":
        return dict(BETWEEN)
    return NODE | ({"beyond_pair": BEYOND_PAIR} if _level(system).kind == "bus" else {})


def free_of(system: str) -> list[str]:
    """Name the constants that a system's rows decide."""
    switch = _level(system).in_switch_reduction
    return [name for name in start_of(system) if switch or ".switch." not in name]


def _level(system: str) -> NetworkLevel:
    return load(PROFILES[system]).network[0]


def node_span(system: str, ranks: Num, c: Mapping[str, float]) -> Span:
    """Return the span of a group inside one node."""
    level = _level(system)
    few = np.where(np.asarray(ranks) > 2.0, c.get("beyond_pair", 1.0), 1.0)
    rate = level.bytes_per_s.value * c["efficiency"] * few
    transport = _transport(c, pair_most_bytes(PROFILES[system]))
    return (Hop("node", ranks, c["latency_s"], rate, level.in_switch_reduction, transport),)


def _transport(c: Mapping[str, float], pair_most: float) -> Transport:
    p = {name.removeprefix("protocols."): value for name, value in c.items()}
    return Transport(
        rings=(
            Line(p["rings.0.start_s"], 1.0, p["rings.0.share"]),
            Line(p["rings.1.start_s"], p["rings.1.steps"], p["rings.1.share"]),
            Line(p["rings.2.start_s"], p["rings.2.steps"], 1.0),
        ),
        exchanges=(
            Line(p["exchanges.0.start_s"], p["exchanges.0.steps"], p["exchanges.0.share"]),
            Line(p["exchanges.1.start_s"], p["exchanges.0.steps"], p["exchanges.1.share"]),
            Line(p["exchanges.2.start_s"], p["exchanges.2.steps"], p["exchanges.2.share"]),
        ),
        switch=Line(SWITCH_START_S, p["switch.steps"], p["switch.share"]),
        own_part=p["own_part"],
        own_scattered=p["own_scattered"],
        own_exchanged=p["own_exchanged"],
        pair_most=pair_most,
    )


def pair_most_bytes(profile: str) -> float:
    """Bytes over a link from which NCCL carries a pair's ring by Simple and no more by LL.

        (base + 1.5 steps' latencies of Simple less LL's) / (1 / LL's bandwidth - 1 / Simple's)

    by the constants that it chooses with (src/graph/tuning.cc), 1.5 steps between the one of a
    gather and the two of an all-reduce. LL has its bandwidth or half the links', Simple 0.8 of the
    datasheet's. Infinite off NVLink: no such switch shows on PCIe, and RCCL's is not known.
    """
    machine = load(profile)
    level = machine.network[0]
    if machine.vendor != "nvidia" or level.kind == "bus":
        return np.inf
    fast = SIMPLE_SHARE * level.bytes_per_s.value
    slow = min(LL_BYTES_PER_S[machine.family], 0.5 * fast)
    return (LL_BASE_S + 1.5 * LL_STEP_S) / (1.0 / slow - 1.0 / fast)


def between_span(rows: Rows, node: Mapping[str, float], c: Mapping[str, float]) -> Span:
    """Return the span of groups of whole nodes of eight H100, on the set's network."""
    known = "unknown" not in rows.setting[0]
    nominal = load("dgx-h100").network[1].bytes_per_s.value if known else UNKNOWN_BYTES_PER_S
    nominal = TCPXO_BYTES_PER_S if "8x200G" in rows.setting[0] else nominal
    share = c["efficiency"] if known else c["unknown_efficiency"]
    transport = Transport(
        rings=(
            Line(0.0, 1.0, c["protocols.rings.0.share"]),
            Line(0.0, c["protocols.rings.1.steps"], c["protocols.rings.1.share"]),
            Line(0.0, c["protocols.rings.2.steps"], 1.0),
        )
    )
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
