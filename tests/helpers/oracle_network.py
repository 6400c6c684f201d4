"""The oracle's network: ranks are listed one by one, and what they exchange is timed.

Knows the levels of a machine of switches and wired nodes, and the degrees of a mesh.
"""

import math
from dataclasses import dataclass
from typing import Any

from hardware_profiles.schema import HardwareProfile

__all__ = ["Level", "Network"]


@dataclass
class Level:
    """Devices of a member and of a domain, bytes/s of a member; links of a mesh, else 0."""

    inside: int
    domain: int
    rate: float
    alpha: float
    reduces: bool
    links: float


class Network:
    """The levels that `devices` devices of a machine span, and the groups of a plan on them."""

    def __init__(self, profile: HardwareProfile, devices: int, plan: dict[str, Any]) -> None:
        self.profile, self.devices, self.plan = profile, devices, plan
        self.levels = self._levels()

    def _levels(self) -> list[Level]:
        made: list[Level] = []
        inside = 1
        for level in self.profile.network:
            assert level.kind != "torus", "the oracle has no torus"
            domain = min(self.devices, level.devices or self.devices)
            short = level.oversubscription.value if level.oversubscription else 1.0
            rate = level.bytes_per_s.value * level.efficiency.value / short
            links = (level.devices or 0) / inside - 1 if level.kind == "mesh" else 0
            if not made or domain > made[-1].domain:
                alpha, reduces = level.latency_s.value, level.in_switch_reduction
                made.append(Level(inside, domain, rate, alpha, reduces, links))
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

    def ring_latency(self, ranks: list[int]) -> float:
        """Latency of a turn of the ring in rank order, step by step."""
        total = 0.0
        for a, b in zip(ranks, ranks[1:], strict=False):
            total += next(x.alpha for x in self.levels if a // x.domain == b // x.domain)
        return total

    def gather(self, ranks: list[int], size: float) -> float:
        """Seconds of an all-gather to `size` bytes, or of a reduce-scatter from them."""
        n = len(ranks)
        if n == 1:
            return 0.0
        hops = self.hops(ranks)
        slowest = min(rate for r, _, rate, _ in hops if r > 1)
        ring = self.ring_latency(ranks) + (n - 1) / n * size / slowest
        return min(ring, self.levels_pass(hops, size))

    @staticmethod
    def levels_pass(hops: list[tuple[float, float, float, bool]], size: float) -> float:
        latency = sum((r - 1) * alpha for r, alpha, _, _ in hops)
        return latency + max((r - 1) / r * size / rate for r, _, rate, _ in hops)

    def reduce(self, ranks: list[int], size: float, axis: str) -> float:
        """Seconds of an all-reduce of `size` bytes."""
        n = len(ranks)
        if n == 1:
            return 0.0
        hops = self.hops(ranks)
        slowest = min(rate for r, _, rate, _ in hops if r > 1)
        # a chain inside the innermost domain, a tree of domains
        depth = (hops[0][0] - 1) * hops[0][1]
        depth += sum(alpha * math.ceil(math.log2(r)) for r, alpha, _, _ in hops[1:])
        each = {
            "ring": 2 * (self.ring_latency(ranks) + (n - 1) / n * size / slowest),
            "tree": 2 * depth + 2 * size / (0.92 * slowest),
            "hierarchical": 2 * self.levels_pass(hops, size),
            "in-switch": math.inf,
        }
        inner, _, rate, reduces = hops[0]
        if reduces and inner > 2:
            moved = 25e-6 + size * (1 + 1 / inner) / (0.85 * rate)
            beyond = 2 * self.levels_pass(hops[1:], size) if hops[1:] else 0.0
            each["in-switch"] = moved + beyond
        chosen = self.plan["collectives"]
        named = chosen.get(axis) if isinstance(chosen, dict) else None
        return each[named] if named and named != "auto" else min(each.values())

    def exchange(self, ranks: list[int], size: float, copies: float = 1.0) -> float:
        """Seconds of an all-to-all in which each rank sends `size` bytes."""
        n, inside, slowest = len(ranks), 1.0, 0.0
        for depth, (r, alpha, rate, _) in enumerate(self.hops(ranks)):
            domains = n / inside
            once = 1.0
            if depth:
                once = min(1.0, domains * (1 - (1 - 1 / domains) ** copies) / copies)
            crossing = (1 - inside / n) * once * inside
            if r > 1:
                slowest = max(slowest, alpha * (r - 1) + size * crossing / rate)
            inside *= r
        return slowest

    def send(self, ranks: list[int], size: float) -> float:
        """Seconds of a send to the next rank of the group, all sending."""
        crossed = [
            (alpha, rate / max(1.0, r - 1) if level.links else rate)
            for level, (r, alpha, rate, _) in zip(self.levels, self.hops(ranks), strict=True)
            if r > 1
        ]
        return max(a for a, _ in crossed) + size / min(b for _, b in crossed)
