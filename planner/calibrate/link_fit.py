"""Constants of network levels from measured collectives, inner to outer.

Each level has one line for rings (all-reduce, all-gather, reduce-scatter) and one for exchanges
(all-to-all, sends); bandwidth is what neighbours send each other when all send. A collective is
priced as a plan's is: by `costmodels.collectives` over the span of a cluster with these levels.

Parts: `fit_level`, `exchange_s`.
"""

from collections.abc import Callable, Mapping, Sequence

from costmodels import collectives
from costmodels.hops import Span
from hardware_profiles.schema import Figure, HardwareProfile, NetworkLevel, Protocol, Protocols
from planner.calibrate.fitted import Fitted, Measured, fitted
from planner.calibrate.points import Point
from planner.cluster import Cluster, build

__all__ = ["exchange_s", "fit_level", "level_of"]

START: dict[str, float] = {
    "latency_s": 2e-5,
    "bytes_per_s": 1e9,
    "rings.start_s": 2e-5,
    "rings.share": 1.0,
    "exchanges.start_s": 2e-5,
    "exchanges.steps": 1.0,
    "exchanges.share": 1.0,
    "own_part": 0.5,
    "own_exchanged": 0.5,
    "summed": 0.5,
}
"""Where the search starts; paths are relative to a level. A collective starts once, innermost."""
_TOPS = {"own_part": 4.0, "own_exchanged": 4.0, "summed": 4.0, "rings.share": 20.0,
         "exchanges.share": 20.0, "exchanges.steps": 20.0}  # fmt: skip

LARGE_BYTES = 2.0**19
"""Size from which messages count in full, and errors are told."""

_PRICES: dict[str, Callable[[float, Span], object]] = {
    "all_reduce": collectives.all_reduce_s,
    "all_gather": collectives.all_gather_s,
    "reduce_scatter": collectives.reduce_scatter_s,
    "alltoall": collectives.all_to_all_s,
}


def exchange_s(cluster: Cluster, point: Point) -> float:
    """Seconds of a collective in groups of `ranks`, neighbours `stride` apart."""
    segment = (float(point.sizes["ranks"]), float(point.sizes["stride"]))
    size = float(point.sizes["bytes"])
    if point.kind == "permute":
        alpha_s, bytes_per_s = cluster.neighbour(segment)
        return float(collectives.point_to_point_s(size, alpha_s, bytes_per_s))
    return float(_PRICES[point.kind](size, cluster.span(segment)))  # type: ignore[arg-type]


def level_of(
    name: str, devices: int | None, values: Mapping[str, float], source: str
) -> NetworkLevel:
    """Return a level with fitted constants."""

    def figure(value: float) -> Figure:
        return Figure(value=value, basis="fitted", source=source)

    ring = Protocol(
        start_s=values.get("rings.start_s", 0.0), steps=1.0, share=values["rings.share"]
    )
    exchange = Protocol(
        start_s=values.get("exchanges.start_s", 0.0), steps=values["exchanges.steps"],
        share=values["exchanges.share"],
    )  # fmt: skip
    return NetworkLevel(
        name=name,
        devices=devices,
        bytes_per_s=figure(values["bytes_per_s"]),
        latency_s=figure(values["latency_s"]),
        efficiency=Figure(value=1.0, basis="fitted", source="bytes_per_s is what was reached"),
        protocols=Protocols(
            basis="fitted", source=source, rings=(ring,), exchanges=(exchange,),
            own_part=values["own_part"], own_exchanged=values["own_exchanged"],
            summed=values["summed"],
        ),
    )  # fmt: skip


def fit_level(
    name: str,
    devices: int,
    inner: Sequence[NetworkLevel],
    profile: HardwareProfile,
    measured: Sequence[Measured],
) -> Fitted:
    """Fit the level called `name`, whose domains hold `devices`, above the levels `inner`."""
    rows = [row for row in measured if row.point.level == name]

    def price(values: Mapping[str, float], points: Sequence[Point]) -> list[float]:
        tried = level_of(name, None, values, "being fitted")
        host = profile.host.model_copy(update={"contention": None})
        cluster = build(
            profile.model_copy(update={"network": (*inner, tried), "host": host}), devices
        )
        return [max(exchange_s(cluster, point), 1e-9) for point in points]

    start = {k: v for k, v in START.items() if not inner or not k.endswith("start_s")}
    judged = f"messages from {LARGE_BYTES / 1024:.0f} KiB"
    return fitted(name, rows, price, start, _TOPS, _weight, judged)


def _weight(point: Point) -> float:
    """Weigh small messages less: a step's are large, and one line cannot serve both."""
    return float(min(1.0, point.sizes["bytes"] / LARGE_BYTES) ** 0.5)
