"""One figure of a machine turned up or down: what `explain` and `what-if` ask prices for.

A lever changes one figure of a cluster or of the job's failures and gives both back, frozen as
before; nothing is priced here. Every figure that a lever made has basis `assumed` and says from
which it came.

Parts: `Lever`, `levers`, `link`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hardware_profiles.schema import Figure, HardwareProfile
from planner.cluster import Cluster, Level
from planner.workloads.training.spec import TrainingJob

__all__ = ["Lever", "levers", "link"]

Turned = tuple[TrainingJob, Cluster]


@dataclass(frozen=True, slots=True)
class Lever:
    """A figure that can be multiplied.

    Parameters
    ----------
    figure     : its name, the unit last: `node.bandwidth_bytes_per_s`
    words      : the same in words: `bandwidth of node`
    level      : the network level that it belongs to, or empty
    more_helps : whether a larger figure is a better one
    of_step    : whether a step's time depends on it; the others are of the run alone
    turn       : (job, cluster, factor) -> the job and the cluster with the figure multiplied
    """

    figure: str
    words: str
    level: str
    more_helps: bool
    of_step: bool
    turn: Callable[[TrainingJob, Cluster, float], Turned]

    def factor(self, times: float) -> float:
        """Return the factor that makes the figure `times` better: its inverse for a latency."""
        return times if self.more_helps else 1.0 / times


def levers(cluster: Cluster, *, offload: bool = False) -> tuple[Lever, ...]:
    """List the figures: two of every network level, then the chip's, then the run's.

    Parameters
    ----------
    offload : the plan keeps something in the host's memory, so that the host link counts too
    """
    made: list[Lever] = []
    for level in cluster.levels:
        if level.devices > level.inside:
            made += _of_level(level.name)
    made += [
        Lever("memory.bandwidth_bytes_per_s", "memory bandwidth", "", True, True, _memory),
        Lever("peak_flop_per_s", "peak of the chip", "", True, True, _peak),
    ]
    if offload:
        made.append(
            Lever("host_link.bandwidth_bytes_per_s", "host link", "", True, True, _host_link)
        )
    return (
        *made,
        Lever("host_mtbf_s", "time between failures of a host", "", True, False, _mtbf),
        Lever("usd_per_device_hour", "price of a device hour", "", False, False, _price),
    )


def link(cluster: Cluster, name: str, *, bandwidth: float = 1.0, latency: float = 1.0) -> Cluster:
    """Return the cluster with one level's bandwidth and latency multiplied."""

    def turned(level: Level) -> Level:
        if level.name != name:
            return level
        return replace(
            level,
            bytes_per_s=level.bytes_per_s * bandwidth,
            latency_s=level.latency_s * latency,
        )

    return replace(
        cluster,
        levels=tuple(turned(level) for level in cluster.levels),
        pools=tuple(link(p, name, bandwidth=bandwidth, latency=latency) for p in cluster.pools),
    )


def _of_level(name: str) -> list[Lever]:
    def bandwidth(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
        return job, link(cluster, name, bandwidth=factor)

    def latency(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
        return job, link(cluster, name, latency=factor)

    return [
        Lever(f"{name}.bandwidth_bytes_per_s", f"bandwidth of {name}", name, True, True, bandwidth),
        Lever(f"{name}.latency_s", f"latency of {name}", name, False, True, latency),
    ]


def _times(figure: Figure, factor: float) -> Figure:
    source = f"{factor:g} times: {figure.source}"
    return Figure(value=figure.value * factor, basis="assumed", source=source)


def _each(cluster: Cluster, update: Callable[[HardwareProfile], dict[str, object]]) -> Cluster:
    """Return the cluster with figures of its profile replaced, of every pool's own."""
    profile = cluster.profile.model_copy(update=update(cluster.profile))
    pools = tuple(_each(pool, update) for pool in cluster.pools)
    return replace(cluster, profile=profile, pools=pools)


def _memory(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
    return job, _each(
        cluster, lambda p: {"memory_bytes_per_s": _times(p.memory_bytes_per_s, factor)}
    )


def _peak(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
    def turned(profile: HardwareProfile) -> dict[str, object]:
        peaks = profile.peak_flop_per_s.items()
        return {"peak_flop_per_s": {name: _times(old, factor) for name, old in peaks}}

    return job, _each(cluster, turned)


def _host_link(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
    def turned(profile: HardwareProfile) -> dict[str, object]:
        figure = _times(profile.host.link_bytes_per_s, factor)
        return {"host": profile.host.model_copy(update={"link_bytes_per_s": figure})}

    return job, _each(cluster, turned)


def _mtbf(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
    given = job.failure.node_mtbf_s

    def turned(profile: HardwareProfile) -> dict[str, object]:
        figure = _times(profile.reliability.host_mtbf_s, factor)
        reliability = profile.reliability.model_copy(update={"host_mtbf_s": figure})
        return {"reliability": reliability}

    if given is None and cluster.pools:
        return job, _each(cluster, turned)
    mtbf_s = cluster.profile.reliability.host_mtbf_s.value if given is None else given
    failure = job.failure.model_copy(update={"node_mtbf_s": mtbf_s * factor})
    return job.model_copy(update={"failure": failure}), cluster


def _price(job: TrainingJob, cluster: Cluster, factor: float) -> Turned:
    pools = tuple(_price(job, pool, factor)[1] for pool in cluster.pools)
    usd = cluster.usd_per_device_hour * factor
    return job, replace(cluster, usd_per_device_hour=usd, pools=pools)
