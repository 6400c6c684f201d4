"""Notes on figures of a job that look like another unit, or mean something else than they may seem.

Each is one sentence, with what the figure counts. Refuses nothing and changes no number.

Parts: `odd_figures`.
"""

from collections.abc import Iterator

from hardware_profiles.load import ProfileError, load
from hardware_profiles.schema import HardwareProfile
from planner.cluster import WIDE_AREA_S, Cluster
from planner.job import Job
from planner.workloads.training.spec import TrainingSpec

__all__ = ["odd_figures"]

ODD_LATENCY_S = 1.0
"""Latency of a link from which on its unit may be mistaken; a satellite's is 0.6 s."""
ODD_RATIO = 1e-3
"""Share of a profile's own figure below which the unit of another one may be mistaken."""
ODD_BYTES_PER_S = 1e6
"""Rate of a link below which its unit may be mistaken."""
ODD_STEP_TOKENS = 1e9
"""Tokens of a step from which on its batch may have been counted in tokens."""


def odd_figures(job: Job[TrainingSpec], cluster: Cluster) -> list[str]:
    """Return the notes on a job's figures, on one cluster of it."""
    found = [*_replaced(job), *_links(cluster), _step(job), _single_nodes(job, cluster)]
    return [note for note in found if note]


def _replaced(job: Job[TrainingSpec]) -> Iterator[str]:
    """Say which figures of `hardware.set` are far below those that they replace."""
    hardware = job.hardware
    parts = [(pool.system, pool.set) for pool in hardware.pools or ()]
    parts += [(name, hardware.set) for name in hardware.systems]
    for system, given in parts:
        try:
            own = _figures(load(system)) if isinstance(system, str) else {}
        except ProfileError:
            continue
        for key, value in given.given().items():
            if key in own and value < ODD_RATIO * own[key]:
                yield (
                    f"hardware.set.{key} {value:g} is {value / own[key]:.1g} of the {own[key]:.3g}"
                    f" of {system}: is it in {_unit(key)}?"
                )


def _figures(profile: HardwareProfile) -> dict[str, float]:
    levels = ("intra_node_bytes_per_s", "inter_node_bytes_per_s")
    return {
        "memory_bytes": profile.memory_bytes.value,
        "memory_bytes_per_s": profile.memory_bytes_per_s.value,
        "peak_flop_per_s": profile.peak_flop_per_s["bf16"].value,
        "power_cap_w": profile.power.device_w.value,
        **{k: level.bytes_per_s.value for k, level in zip(levels, profile.network, strict=False)},
    }


def _unit(key: str) -> str:
    units = {"flop_per_s": "FLOP/s", "bytes_per_s": "bytes/s", "bytes": "bytes", "_w": "watts"}
    return next(unit for end, unit in units.items() if key.endswith(end))


def _links(cluster: Cluster) -> Iterator[str]:
    """Say what a latency or a rate of a link in another unit would look like."""
    for level in cluster.levels:
        if level.latency_s >= ODD_LATENCY_S:
            yield (
                f"latency_s counts seconds: is it {level.latency_s:g} s of level {level.name}?"
                " 1 microsecond is 1.0e-6"
            )
        if level.bytes_per_s < ODD_BYTES_PER_S:
            yield (
                f"bytes_per_s counts bytes/s: is it {level.bytes_per_s:g} of level {level.name}?"
                " 1 GB/s is 1.0e9"
            )


def _step(job: Job[TrainingSpec]) -> str:
    """Say what a batch counted in tokens would look like, and a run shorter than its step."""
    work = job.workload
    tokens = work.global_batch * work.sequence_length
    if tokens >= ODD_STEP_TOKENS:
        return f"a step has {tokens:.3g} tokens: global_batch counts sequences, not tokens"
    if work.tokens is not None and work.tokens < tokens:
        return f"the run is one step: of {tokens:,} tokens, more than the {work.tokens:,.0f} asked"
    return ""


def _single_nodes(job: Job[TrainingSpec], cluster: Cluster) -> str:
    """Say that sites are single nodes where a list of levels starts with what joins sites."""
    given, node = job.hardware.levels, cluster.node_devices
    if not given or given[0].latency_s < WIDE_AREA_S or cluster.devices <= node:
        return ""
    return (
        f"{given[0].name} joins {cluster.devices // node} sites of one node, {node} devices, each:"
        " larger ones need a level of their own below it in hardware.levels"
    )
