"""The oracle's network: ranks are listed one by one, and what they exchange is timed.

Knows the levels of a machine of switches and wired nodes, and the degrees of a mesh.
"""

import math
from dataclasses import dataclass
from typing import Any

from hardware_profiles.schema import HardwareProfile, Protocols

__all__ = ["Level", "Network"]

PROTOCOLS = 3


@dataclass
class Level:
    """Devices of a member and of a domain, bytes/s of a member; links of a mesh, else 0."""

    inside: int
    domain: int
    rate: float
    alpha: float
    reduces: bool
    links: float
    protocols: Protocols | None
    pair_most: float

    def ring(self, which: int) -> tuple[float, float, float]:
        """(start, latency of a step, share) of a protocol of rings, the last for those beyond."""
        if self.protocols is None:
            return 0.0, self.alpha, 1.0
        line = self.protocols.rings[min(which, len(self.protocols.rings) - 1)]
        return line.start_s, line.steps * self.alpha, line.share

    def exchanged(self, which: int) -> tuple[float, float, float]:
        """(start, latency of a step, share) of a protocol of exchanges."""
        if self.protocols is None:
            return 0.0, self.alpha, 1.0
        line = self.protocols.exchanges[min(which, len(self.protocols.exchanges) - 1)]
        return line.start_s, line.steps * self.alpha, line.share

    def own(self, turned: str) -> float:
        """Return the cost of an own part: gathered, scattered, both, exchanged."""
        if self.protocols is None:
            return 0.0
        gathered, scattered = self.protocols.own_part, self.protocols.own_scattered
        scattered = gathered if scattered is None else scattered
        return {
            "gathered": gathered,
            "scattered": scattered,
            "both": (gathered + scattered) / 2,
            "exchanged": self.protocols.own_exchanged,
        }[turned]


class Network:
    """The levels that `devices` devices of a machine span, and the groups of a plan on them."""

    def __init__(self, profile: HardwareProfile, devices: int, plan: dict[str, Any]) -> None:
        self.profile, self.devices, self.plan = profile, devices, plan
        self.levels = self._levels()

    def _levels(self) -> list[Level]:
        made: list[Level] = []
        inside = 1
        for level in self.profile.network:
            assert level.kind not in ("torus", "bus"), "the oracle has no torus and no bus"
            domain = min(self.devices, level.devices or self.devices)
            short = level.oversubscription.value if level.oversubscription else 1.0
            rate = level.bytes_per_s.value * level.efficiency.value / short
            links = (level.devices or 0) / inside - 1 if level.kind == "mesh" else 0
            if not made or domain > made[-1].domain:
                alpha, reduces = level.latency_s.value, level.in_switch_reduction
                most = level.pair_most_bytes.value if level.pair_most_bytes else math.inf
                lines = level.protocols
                made.append(Level(inside, domain, rate, alpha, reduces, links, lines, most))
            inside = domain
        return made

    def group(self, axis: str) -> list[int]:
        """Device numbers of the group of `axis` that device 0 is in."""
        p = self.plan
        stride, order = 1, p["mesh_order"]
        strides = {}
        for name in order:
            strides[name] = stride
            stride *= p[name]

        def composite(names: tuple[str, ...]) -> list[int]:
            ranks = [0]
            for name in (a for a in order if a in names):
                ranks = [r + i * strides[name] for i in range(p[name]) for r in ranks]
            return ranks

        if axis in strides:
            return composite((axis,))
        replicas = composite(("cp", "dp"))
        stage = composite(("tp", "cp", "dp"))
        expert = p["etp"] * p["ep"]
        alike = stage[::expert]
        group, shards = p["zero_group"], self.expert_shards()
        return {
            "replicas": replicas,
            "shards": replicas[:group],
            "copies": replicas[::group],
            "etp": stage[: p["etp"]],
            "ep": stage[: expert : p["etp"]],
            "expert replicas": alike,
            "expert shards": alike[:shards],
            "expert copies": alike[::shards],
        }[axis]

    def shards(self) -> int:
        return self.plan["zero_group"] if self.plan["zero"] else 1

    def expert_shards(self) -> int:
        p = self.plan
        if not p["zero"]:
            return 1
        return max(1, p["zero_group"] * p["tp"] // (p["ep"] * p["etp"]))

    def hops(self, ranks: list[int]) -> list[tuple[float, float, float, bool]]:
        """(members, alpha, bytes/s, reduces) of a group at every level."""
        made, before = [], 1
        for level in self.levels:
            within = sum(1 for r in ranks if r // level.domain == ranks[0] // level.domain)
            rate = level.rate * min(1.0, before / level.inside)
            if level.links:  # all pairs are wired: the group has the links to its own ranks
                rate *= max(1.0, within / before - 1) / level.links
            made.append((within / before, level.alpha, rate, level.reduces))
            before = within
        return made

    def crossings(self, ranks: list[int]) -> list[int]:
        """Count the steps of a turn of the ring in rank order, by the level that each crosses."""
        count = [0] * len(self.levels)
        for a, b in zip(ranks, ranks[1:], strict=False):
            count[next(i for i, x in enumerate(self.levels) if a // x.domain == b // x.domain)] += 1
        return count

    def turned(self, ranks: list[int], size: float, turns: int, kind: str) -> float:
        """Seconds of turns of a ring, by the cheapest protocol, or by the last of a pair."""
        n = len(ranks)
        hops, steps = self.hops(ranks), self.crossings(ranks)
        prices = []
        for which in range(PROTOCOLS):
            lines = [level.ring(which) for level in self.levels]
            late = sum(turns * k * alpha for k, (_, alpha, _) in zip(steps, lines, strict=True))
            wire = max(
                (turns * (n - 1) + level.own(kind)) / n * size / (rate * share)
                for level, (r, _, rate, _), (_, _, share) in zip(
                    self.levels, hops, lines, strict=True
                )
                if r > 1
            )
            prices.append(lines[0][0] + late + wire)
        both_near = n == 2 and hops[0][0] == 2
        if both_near and turns * size / 2 > self.levels[0].pair_most:
            return prices[-1]
        return min(prices)

    def gather(self, ranks: list[int], size: float) -> float:
        """Seconds of an all-gather to `size` bytes."""
        return self.turned(ranks, size, 1, "gathered") if len(ranks) > 1 else 0.0

    def scatter(self, ranks: list[int], size: float) -> float:
        """Seconds of a reduce-scatter from `size` bytes."""
        return self.turned(ranks, size, 1, "scattered") if len(ranks) > 1 else 0.0

    def levelled(self, ranks: list[int], size: float) -> float:
        """Seconds of a reduce-scatter inwards and an all-gather outwards, level by level."""
        hops, prices = self.hops(ranks), []
        for which in range(PROTOCOLS):
            lines = [level.ring(which) for level in self.levels]
            both = list(zip(hops, lines, strict=True))
            late = sum((r - 1) * alpha for (r, _, _, _), (_, alpha, _) in both)
            wire = max(
                (r - 1) / r * size / (rate * share) for (r, _, rate, _), (_, _, share) in both
            )
            prices.append(lines[0][0] + 2 * late + 2 * wire)
        return min(prices)

    def treed(self, ranks: list[int], size: float) -> float:
        """Seconds of a chain inside the domain and two trees of domains."""
        hops, prices = self.hops(ranks), []
        for which in range(PROTOCOLS):
            lines = [level.ring(which) for level in self.levels]
            inner, rate = hops[0][0], hops[0][2]
            late = lines[0][0] + 2 * (inner - 1) * lines[0][1]
            wire = 2 * size / (rate * lines[0][2]) if inner > 1 else 0.0
            more, slowest = self.beyond(hops, lines, size)
            prices.append(late + more + max(wire, slowest))
        return min(prices)

    @staticmethod
    def beyond(
        hops: list[tuple[float, float, float, bool]],
        lines: list[tuple[float, float, float]],
        size: float,
    ) -> tuple[float, float]:
        """Latency and slowest transfer of two trees over the domains outside the innermost."""
        late, slowest = 0.0, 0.0
        for (r, _, rate, reduces), (_, alpha, share) in zip(hops[1:], lines[1:], strict=True):
            if r > 1:
                late += 2 * 2 * math.ceil(math.log2(r)) * alpha
                sent = 1.0 if reduces else min(2.0, r / 2)
                slowest = max(slowest, sent * size / (rate * share))
        return late, slowest

    def switched(self, ranks: list[int], size: float) -> float:
        """Seconds of a reduction in the switch of the domain, trees beyond it."""
        hops = self.hops(ranks)
        r, alpha, rate, reduces = hops[0]
        if not reduces or r <= 2:
            return math.inf
        given = self.levels[0].protocols
        line = given.switch if given else None
        start, step, share = 25e-6, 0.0, 0.85
        if line:
            start, step, share = line.start_s, line.steps * alpha, line.share
        last = [level.ring(PROTOCOLS) for level in self.levels]
        late, slowest = self.beyond(hops, last, size)
        inside = size * (1 + 1 / r) / (share * rate)
        return start + (r - 1) * step + late + max(inside, slowest)

    def reduce(self, ranks: list[int], size: float, axis: str) -> float:
        """Seconds of an all-reduce of `size` bytes."""
        if len(ranks) == 1:
            return 0.0
        each = {
            "ring": self.turned(ranks, size, 2, "both"),
            "tree": self.treed(ranks, size),
            "in-switch": self.switched(ranks, size),
        }
        chosen = self.plan["collectives"]
        named = chosen.get(axis) if isinstance(chosen, dict) else None
        if named == "hierarchical":
            return self.levelled(ranks, size)
        if named and named != "auto" and each[named] < math.inf:
            return each[named]
        return min(each.values())

    def exchange(
        self, ranks: list[int], size: float, copies: float = 1.0, joined: bool = False
    ) -> float:
        """Seconds of an all-to-all in which each rank sends `size` bytes; `joined`: once a rank."""
        n = len(ranks)
        if n == 1:
            return 0.0
        prices = []
        for which in range(PROTOCOLS):
            inside, slowest = 1.0, 0.0
            lines = [level.exchanged(which) for level in self.levels]
            for depth, (r, _, rate, _) in enumerate(self.hops(ranks)):
                domains = n / inside
                once, kept = 1.0, self.levels[0].own("exchanged") / n
                if depth or joined:
                    once = min(1.0, domains * (1 - (1 - 1 / domains) ** copies) / copies)
                if depth:
                    kept = 0.0
                crossing = (1 - inside / n) * once * inside + kept
                if r > 1:
                    _, alpha, share = lines[depth]
                    slowest = max(slowest, alpha * (r - 1) + size * crossing / (rate * share))
                inside *= r
            prices.append(lines[0][0] + slowest)
        return min(prices)

    def send(self, ranks: list[int], size: float) -> float:
        """Seconds of a send to the next rank of the group, all sending."""
        crossed = [
            (level.ring(PROTOCOLS)[1], rate / max(1.0, r - 1) if level.links else rate)
            for level, (r, _, rate, _) in zip(self.levels, self.hops(ranks), strict=True)
            if r > 1
        ]
        start = self.levels[0].exchanged(0)[0]
        return start + max(a for a, _ in crossed) + size / min(b for _, b in crossed)
