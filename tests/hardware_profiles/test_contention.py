"""Devices that share a host: a profile with fewer of them at work, by hand arithmetic and laws."""

import pytest
from pydantic import ValidationError

from hardware_profiles.contention import slowdown, with_busy
from hardware_profiles.load import load
from hardware_profiles.schema import Figure, HardwareProfile
from planner.cluster import build

SHARE = Figure(value=0.5, basis="measured", source="a test")


def shared(name: str = "dgx-h100", busy: int | None = None) -> HardwareProfile:
    profile = load(name)
    host = profile.host.model_copy(update={"contention": SHARE, "busy": busy})
    return profile.model_copy(update={"host": host})


def test_a_device_alone_is_as_fast_as_the_law_says() -> None:
    assert [slowdown(c, 8) for c in (0.0, 1.0, 0.5)] == [1.0, 8.0, 4.5]
    full, alone = shared(), with_busy(shared(), 1)
    for path in ("peak_flop_per_s.bf16", "memory_bytes_per_s", "host.link_bytes_per_s",
                 "network.0.bytes_per_s"):  # fmt: skip
        assert _at(alone, path) == pytest.approx(4.5 * _at(full, path)), path
    for path in ("network.0.latency_s", "kernels.memory.fixed_s", "kernels.matmul.bf16.fixed_s",
                 "network.0.protocols.rings.2.start_s"):  # fmt: skip
        assert _at(alone, path) == pytest.approx(_at(full, path) / 4.5), path
    for path in ("network.1.bytes_per_s", "network.1.latency_s", "memory_bytes",
                 "kernels.memory.efficiency", "kernels.attention_forward.passes"):  # fmt: skip
        assert _at(alone, path) == _at(full, path), path
    assert alone.host.busy == 1


def _at(profile: HardwareProfile, path: str) -> float:
    here: object = profile.model_dump()
    for part in path.split("."):
        here = here[int(part)] if isinstance(here, list | tuple) else here[part]  # type: ignore[index]
    return float(here["value"] if isinstance(here, dict) else here)  # type: ignore[arg-type]


def test_asking_again_changes_nothing_and_the_way_does_not_matter() -> None:
    few = with_busy(shared(), 2)
    assert with_busy(few, 2) is few
    way, direct = with_busy(few, 4), with_busy(shared(), 4)
    assert _at(way, "memory_bytes_per_s") == pytest.approx(_at(direct, "memory_bytes_per_s"))
    assert with_busy(shared(), 64) == shared()


def test_a_profile_that_says_for_how_many_it_is() -> None:
    alone = shared(busy=1)
    assert with_busy(alone, 1) is alone
    slower = with_busy(alone, 8)
    assert _at(slower, "memory_bytes_per_s") == pytest.approx(3.35e12 / 4.5)


def test_a_host_that_is_not_shared_is_itself() -> None:
    profile = load("dgx-h100")
    assert with_busy(profile, 1) is profile


def test_a_cluster_has_the_rates_of_as_many_devices_as_it_keeps_at_work() -> None:
    full, two = (build(shared(), devices) for devices in (16, 2))
    assert full.profile == shared()
    assert two.profile == with_busy(shared(), 2)
    assert two.levels[0].bytes_per_s == pytest.approx(3.0 * full.levels[0].bytes_per_s)


def test_contention_is_a_share() -> None:
    data = shared().model_dump()
    data["host"]["contention"]["value"] = 1.5
    with pytest.raises(ValidationError, match="contention is at most 1"):
        HardwareProfile.model_validate(data)


def test_new_memory_comes_faster_to_a_device_alone() -> None:
    profile = shared()
    rate = Figure(value=1e9, basis="measured", source="a test")
    host = profile.host.model_copy(update={"new_memory_bytes_per_s": rate})
    given = profile.model_copy(update={"host": host})
    assert _at(with_busy(given, 1), "host.new_memory_bytes_per_s") == pytest.approx(4.5e9)
    assert with_busy(profile, 1).host.new_memory_bytes_per_s is None
