"""A cluster: a machine profile times a device count, as a graph of network levels.

The graph is a chain of networkx nodes, one a level, inner to outer: ``device -> node -> cluster``
and whatever the job or the profile puts between. Which link carries a mesh axis follows from the
axis's degree and from its stride (how far apart its ranks sit in device numbering):
`Cluster.span` gives the hops that a group crosses, as columns. Knows devices and links; nothing
of what runs on them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from costmodels.hops import PLAIN, Hop, Span, Transport
from costmodels.units import Num
from hardware_profiles.contention import with_busy
from hardware_profiles.schema import HardwareProfile
from planner.cluster.torus import cubic, on_torus
from planner.cluster.transports import transport_of

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["BETWEEN", "WIDE_AREA_S", "Cluster", "Level", "Segment", "build", "joined"]

BETWEEN = "between pools"
"""Name of the level that joins pools."""

Segment = tuple[Num, Num]
"""(degree, stride): ranks of a group, and the distance between neighbours in device numbers."""
WIDE_AREA_S = 1e-3
"""Latency from which a network level joins sites that are far apart: 100 km of fibre and back."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the network of a cluster (see `hardware_profiles.schema.NetworkLevel`).

    `inside` and `devices` are the devices of one member and of one domain; `bytes_per_s` is a
    member's achieved bandwidth (nominal times efficiency over oversubscription); `torus` the
    chips along each axis, for a torus; `transport` is what a library makes of it.
    """

    name: str
    kind: str
    inside: int
    devices: int
    bytes_per_s: float
    latency_s: float
    in_switch: bool
    torus: tuple[int, ...] = ()
    transport: Transport = PLAIN

    @property
    def wide(self) -> bool:
        """Whether the level joins sites."""
        return self.latency_s >= WIDE_AREA_S

    @property
    def send_s(self) -> float:
        """Latency of a large send over the level, without the kernel's start."""
        return self.latency_s * self.transport.rings[-1].steps


@dataclass(frozen=True)
class Cluster:
    """`profile` times `devices`, with the network's levels and the price of a device hour.

    Parameters
    ----------
    name  : of the pool that it is, empty where the job has no pools
    out_bytes_per_s : what one device of a pool sends to another pool
    pools : clusters of unlike devices that this one joins (see `joined`); empty for one kind
    """

    profile: HardwareProfile
    devices: int
    levels: tuple[Level, ...]
    usd_per_device_hour: float
    name: str = ""
    out_bytes_per_s: float = 0.0
    pools: tuple["Cluster", ...] = ()

    @property
    def node_devices(self) -> int:
        """Devices in one scale-up domain (the innermost level), at most all of them."""
        return self.levels[0].devices

    @property
    def hosts(self) -> int:
        """Machines that fail as one."""
        if self.pools:
            return sum(pool.hosts for pool in self.pools)
        return math.ceil(self.devices / self.profile.host.devices)

    @property
    def each(self) -> tuple["Cluster", ...]:
        """The clusters of one kind of device that this one is made of: itself, or its pools."""
        return self.pools or (self,)

    def graph(self) -> "nx.DiGraph[str]":
        """Return the levels as a networkx chain, from "device" outwards.

        Nodes carry `level` and `devices`, edges `bytes_per_s` and `latency_s`.
        """
        import networkx as nx  # only who asks for the graph pays for the library

        graph: nx.DiGraph[str] = nx.DiGraph()
        below = "device"
        graph.add_node(below, devices=1)
        for level in self.levels:
            graph.add_node(level.name, devices=level.devices, level=level)
            graph.add_edge(
                below, level.name, bytes_per_s=level.bytes_per_s, latency_s=level.latency_s
            )
            below = level.name
        return graph

    def span(self, *segments: Segment) -> Span:
        """Hops of a group whose ranks are laid out by `segments`, (degree, stride) each.

        A segment of degree n and stride s has min(n, max(1, D/s)) members within a domain of D
        devices; the ratio between neighbouring levels is the ranks at that level. A level's link
        is shared by all groups that have a rank in the domain: of the member's bandwidth, a group
        gets its ranks inside the member over the member's devices.

        Parameters
        ----------
        segments : (degree, stride) pairs, columns or numbers; a dp group with context
                   parallelism is ((cp, tp), (dp, tp * cp))

        Notes
        -----
        On a torus a group of n ranks spans whole axes where it can: its ring uses both directions
        of every axis that it covers, and a part of an axis has no wrap-around, which halves it.
        Where all pairs are wired (mesh), a group uses the links between its own ranks only.
        """
        hops: list[Hop] = []
        before: Num = 1.0
        for level in self.levels:
            within: Num = 1.0
            for degree, stride in segments:
                within = within * np.minimum(degree, np.maximum(1.0, level.devices / stride))
            ranks = np.maximum(1.0, within / before)
            turns: Num | None = None
            distance: Num = 1.0
            if level.kind == "torus":
                share, turns, distance = on_torus(level.torus, segments)
                rate = level.bytes_per_s * share
            else:
                rate = level.bytes_per_s * np.minimum(1.0, before / level.inside)
            if level.kind == "mesh":
                rate = rate * _peers(level, ranks) / _others(level)
            hops.append(
                Hop(
                    level.name, ranks, level.latency_s, rate, level.in_switch, level.transport,
                    turns, distance,
                )
            )  # fmt: skip
            before = np.maximum(before, within)
        return tuple(hops)

    def outermost(self, *segments: Segment) -> Num:
        """Index of the outermost level that a group crosses, -1 for a group of one rank."""
        crossed: Num = -1.0
        for index, hop in enumerate(self.span(*segments)):
            crossed = np.where(hop.ranks > 1.0 + 1e-9, float(index), crossed)
        return crossed

    def neighbour(self, *segments: Segment) -> tuple[Num, Num]:
        """Latency and bandwidth of a send round a group's ring, every rank sending.

        The slowest pair sets the pace: of the levels that the group crosses, the longest latency
        and the narrowest share, by the protocol of large messages. Of a mesh, a pair has one
        link. The latency holds the start of the kernel.
        """
        alpha: Num = 0.0
        rate: Num = np.inf
        for level, hop in zip(self.levels, self.span(*segments), strict=True):
            crossed = hop.ranks > 1.0 + 1e-9
            share = hop.bytes_per_s
            if level.kind == "mesh":
                share = share / _peers(level, hop.ranks)
            if level.transport.shared:
                share = share * np.where(hop.ranks > 2.5, level.transport.shared.share, 1.0)
            alpha = np.where(crossed, np.maximum(alpha, level.send_s), alpha)
            rate = np.where(crossed, np.minimum(rate, share), rate)
        return alpha + self.send_start_s, rate

    @property
    def send_start_s(self) -> float:
        """Start of the kernel that sends."""
        return self.levels[0].transport.exchanges[0].start_s


def _others(level: Level) -> float:
    """Members of a mesh that one of them is wired to, at least one."""
    return max(1.0, level.devices / level.inside - 1.0)


def _peers(level: Level, ranks: Num) -> Num:
    """Members of a mesh that one of them is wired to inside its group, at least one."""
    return np.clip(ranks - 1.0, 1.0, _others(level))


def build(
    profile: HardwareProfile,
    devices: int,
    *,
    levels: Iterable[Mapping[str, float | int | str | None]] = (),
    slice_topology: tuple[int, ...] = (),
    usd_per_device_hour: float | None = None,
) -> Cluster:
    """Build the cluster of `devices` devices of `profile`.

    Parameters
    ----------
    levels         : replaces the profile's network, inner to outer: mappings with name, devices,
                     bytes_per_s, latency_s (the job's `hardware.levels`); achieved as given.
                     A list that starts with a wide-area level says nothing of what is inside a
                     site: the profile's levels of a fixed size (the node) stay below it
    slice_topology : chips along each torus axis (the job's `hardware.slice`); None: as cubic as
                     the devices allow
    usd_per_device_hour : replaces the profile's price

    Notes
    -----
    Levels that the devices do not fill shrink to them; a level inside one domain is dropped.
    Where devices of a host share it (`Host.contention`), the profile is that of as many at work.
    """
    profile = with_busy(profile, devices)
    given = tuple(levels)
    chips = math.prod(slice_topology) if slice_topology else devices
    made = _profile_levels(profile, devices, chips)
    if given:
        below = _kept(made, profile, given[0])
        made = [*below, *_given_levels(given, devices, below[-1].devices if below else 1)]
    kept: list[Level] = []
    for level in made:
        if kept and level.devices <= kept[-1].devices:
            continue
        if level.kind == "torus":
            dims = level.torus
            shape = slice_topology or cubic(level.devices, len(dims))
            level = _with_torus(level, shape)
        kept.append(level)
    price = usd_per_device_hour
    return Cluster(
        profile,
        devices,
        tuple(kept),
        profile.usd_per_device_hour.value if price is None else price,
    )


def joined(pools: Sequence[Cluster], latency_s: float) -> Cluster:
    """Join pools of unlike devices by the link between them.

    The first pool lends its profile and its levels to what asks for one; `pools` has them all.
    The link carries what the pool that sends least can send, all its devices together.

    Parameters
    ----------
    latency_s : of one exchange between pools
    """
    devices = sum(pool.devices for pool in pools)
    first = pools[0]
    rate = min(pool.devices * pool.out_bytes_per_s for pool in pools)
    between = Level(BETWEEN, "switch", first.devices, devices, rate, latency_s, False)
    usd = sum(pool.devices * pool.usd_per_device_hour for pool in pools) / devices
    name = "+".join(pool.name for pool in pools)
    return Cluster(first.profile, devices, (*first.levels, between), usd, name, pools=tuple(pools))


def _with_torus(level: Level, shape: tuple[int, ...]) -> Level:
    return replace(level, torus=shape)


def _profile_levels(profile: HardwareProfile, devices: int, chips: int) -> list[Level]:
    """Levels of the profile; a slice of `chips` has its share of the largest slice's link out."""
    made: list[Level] = []
    inside = 1
    for level in profile.network:
        domain = devices if level.devices is None else min(devices, level.devices)
        if level.kind == "torus":
            domain = min(domain, chips)
        short = level.oversubscription.value if level.oversubscription else 1.0
        if made and made[-1].kind == "torus":
            short = short * (profile.network[0].devices or chips) / inside
        rate = level.bytes_per_s.value * level.efficiency.value / short
        if level.kind == "mesh" and level.devices is not None and domain > inside:
            rate = rate * (domain - inside) / (level.devices - inside)  # links to peers not there
        made.append(
            Level(
                level.name,
                level.kind,
                inside,
                domain,
                rate,
                level.latency_s.value,
                level.in_switch_reduction,
                (1,) * (level.torus_dims or 0),
                transport_of(profile, level),
            )
        )
        inside = domain
    return made


def _kept(
    own: Sequence[Level], profile: HardwareProfile, first: Mapping[str, float | int | str | None]
) -> list[Level]:
    """Levels of the profile that stay below the job's own: those of a fixed size, under a site."""
    if float(first["latency_s"] or 0.0) < WIDE_AREA_S:
        return []
    site = int(first["devices"] or 0)
    return [
        level
        for level, given in zip(own, profile.network, strict=True)
        if given.devices is not None and given.devices < site and site % given.devices == 0
    ]


def _given_levels(
    given: Sequence[Mapping[str, float | int | str | None]], devices: int, inside: int
) -> list[Level]:
    made: list[Level] = []
    for spec in given:
        domain = min(devices, int(spec["devices"] or devices))
        made.append(
            Level(
                str(spec["name"]),
                "switch",
                inside,
                domain,
                float(spec["bytes_per_s"] or 0.0),
                float(spec["latency_s"] or 0.0),
                False,
            )
        )
        inside = domain
    if made and made[-1].devices < devices:
        last = made[-1]
        made[-1] = replace(last, devices=devices)
    return made
