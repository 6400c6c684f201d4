"""Levers turn one figure and nothing else, and say where the new one is from."""

from typing import Any

import pytest

from planner import spec
from planner.cluster.choices import clusters
from planner.explain.levers import levers, link


def _job(**more: Any) -> Any:
    workload = {"kind": "training", "model": "llama-2-7b", "sequence_length": 4096,
                "global_batch": 64}  # fmt: skip
    hardware = {"system": "dgx-h100", "devices": 16}
    return spec.load_mapping({"workload": workload, "hardware": hardware, **more})


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_each_lever_turns_one_figure(factor: float) -> None:
    job = _job()
    cluster = clusters(job.hardware)[0]
    seen = set()
    for lever in levers(cluster):
        turned_job, turned = lever.turn(job, cluster, factor)
        before, after = _figures(job, cluster), _figures(turned_job, turned)
        moved = {key for key in before if before[key] != after[key]}
        assert len(moved) == 1, lever.figure
        (key,) = moved
        assert after[key] == pytest.approx(before[key] * factor)
        seen.add(key)
    assert len(seen) == len(levers(cluster)) == 8


def _figures(job: Any, cluster: Any) -> dict[str, float]:
    profile = cluster.profile
    found = {
        "memory": profile.memory_bytes_per_s.value,
        "peak": profile.peak_flop_per_s["bf16"].value,
        "capacity": profile.memory_bytes.value,
        "price": cluster.usd_per_device_hour,
        "mtbf": job.failure.node_mtbf_s or profile.reliability.host_mtbf_s.value,
    }
    for level in cluster.levels:
        found |= {f"{level.name} rate": level.bytes_per_s, f"{level.name} alpha": level.latency_s}
    return found


def test_a_given_time_between_failures_is_the_one_that_is_turned() -> None:
    job = _job(failure={"node_mtbf_s": 1e6})
    cluster = clusters(job.hardware)[0]
    lever = next(each for each in levers(cluster) if each.figure == "host_mtbf_s")
    assert lever.turn(job, cluster, 0.1)[0].failure.node_mtbf_s == pytest.approx(1e5)


def test_the_host_link_is_a_lever_where_something_is_offloaded() -> None:
    job = _job()
    cluster = clusters(job.hardware)[0]
    assert not [each for each in levers(cluster) if each.figure.startswith("host_link")]
    lever = next(
        each for each in levers(cluster, offload=True) if each.figure.startswith("host_link")
    )
    turned = lever.turn(job, cluster, 2.0)[1].profile.host.link_bytes_per_s
    assert turned.value == 2.0 * cluster.profile.host.link_bytes_per_s.value
    assert (turned.basis, turned.source[:9]) == ("assumed", "2 times: ")


def test_a_level_of_one_device_is_no_link() -> None:
    workload = {"kind": "training", "model": "gpt3-1.3b", "sequence_length": 2048,
                "global_batch": 64}  # fmt: skip
    job = spec.load_mapping(
        {"workload": workload, "hardware": {"system": "dgx-h100", "devices": 1}}
    )
    assert not [lever for lever in levers(clusters(job.hardware)[0]) if lever.level]


def test_better_is_more_bandwidth_and_less_latency() -> None:
    job = _job()
    by = {lever.figure: lever for lever in levers(clusters(job.hardware)[0])}
    assert by["node.bandwidth_bytes_per_s"].factor(2.0) == 2.0
    assert by["node.latency_s"].factor(2.0) == 0.5
    assert by["usd_per_device_hour"].factor(2.0) == 0.5


def test_a_link_is_turned_by_its_name() -> None:
    cluster = clusters(_job().hardware)[0]
    faster = link(cluster, "cluster", bandwidth=4.0, latency=0.0)
    assert faster.levels[0] == cluster.levels[0]
    assert faster.levels[1].bytes_per_s == 4.0 * cluster.levels[1].bytes_per_s
    assert faster.levels[1].latency_s == 0.0
