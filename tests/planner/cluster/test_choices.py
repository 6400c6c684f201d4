"""Which clusters a job may run on: counts worth trying, systems crossed, the job's own levels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cluster.choices import clusters, counts_between
from planner.errors import SpecError
from planner.job import Hardware

RACK = {"name": "rack", "devices": 72, "usable": 64, "bytes_per_s": 9e11}
SITE = {"name": "site", "devices": 512, "bytes_per_s": 1.25e9}


def found(**hardware: object) -> list[tuple[str, int]]:
    made = clusters(Hardware.model_validate(hardware))
    return [(cluster.profile.name, cluster.devices) for cluster in made]


def test_systems_and_counts_are_crossed() -> None:
    assert found(system=["dgx-h100", "dgx-b200"], devices=[16, 8, 16]) == [
        ("dgx-h100", 8),
        ("dgx-h100", 16),
        ("dgx-b200", 8),
        ("dgx-b200", 16),
    ]
    assert found(system="dgx-h100", devices=100) == [("dgx-h100", 100)]
    assert found() == []


def test_four_counts_an_octave_of_whole_nodes() -> None:
    assert counts_between(64, 512, 8) == [64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448,
                                          512]  # fmt: skip


def test_powers_of_two_inside_a_node() -> None:
    assert counts_between(1, 24, 8) == [1, 2, 4, 8, 16, 24]


def test_racks_of_72_are_tried_whole_and_by_powers_of_two() -> None:
    assert counts_between(64, 600, 72) == [64, 72, 128, 144, 216, 256, 288, 360, 432, 504, 512, 576,
                                           600]  # fmt: skip


def test_of_a_range_only_what_slices_have_is_tried_on_a_torus() -> None:
    """Powers of two and cubes of 64 chips on three axes, powers of two on two."""
    made = [n for _, n in found(system="tpu-v5p", devices={"min": 100, "max": 1024})]
    assert made == [128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024]
    assert [n for _, n in found(system="tpu-v6e", devices={"min": 5, "max": 250})] == [
        8, 16, 32, 64, 128,
    ]  # fmt: skip


@given(st.integers(1, 5000), st.integers(0, 5000), st.integers(1, 100))
def test_both_ends_and_nothing_outside(least: int, more: int, node: int) -> None:
    counts = counts_between(least, least + more, node)
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (least, least + more)
    ends = {least, least + more}
    assert all(c in ends or c % node == 0 or c & (c - 1) == 0 for c in counts)


@given(st.integers(1, 100), st.integers(1, 40))
def test_no_octave_goes_untried(node: int, nodes: int) -> None:
    """From whole nodes on, the next count is at most a quarter and a node more."""
    counts = counts_between(node * nodes, node * nodes * 16, node)
    for here, there in zip(counts, counts[1:], strict=False):
        assert there <= here * 1.25 + node


def test_a_slice_gives_the_count() -> None:
    (cluster,) = clusters(
        Hardware.model_validate({"system": "tpu-v5e", "slice": {"topology": "4x4", "count": 3}})
    )
    assert (cluster.devices, cluster.levels[0].torus) == (48, (4, 4))
    short = Hardware.model_validate({"system": "tpu-v5p", "slice": {"topology": "4x8"}})
    assert clusters(short)[0].levels[0].torus == (4, 8, 1)


def test_overrides_hold_for_every_system() -> None:
    hardware = {"system": ["dgx-h100", "dgx-b200"], "devices": 8, "set": {"memory_bytes": 7e10}}
    made = clusters(Hardware.model_validate(hardware))
    assert [cluster.profile.memory_bytes.value for cluster in made] == [7e10, 7e10]


def test_the_jobs_own_price() -> None:
    hardware = Hardware.model_validate(
        {"system": "dgx-h100", "devices": 8, "usd_per_device_hour": 1.25}
    )
    assert clusters(hardware)[0].usd_per_device_hour == 1.25


def test_counts_follow_the_jobs_own_racks() -> None:
    counts = found(system="gb200-nvl72", devices={"min": 64, "max": 448}, levels=[RACK, SITE])
    assert [count for _, count in counts] == [64, 128, 192, 256, 320, 384, 448]


@pytest.mark.parametrize(
    ("levels", "said"),
    [([RACK], "rack, holds 64 of 1024"), ([RACK, SITE], "site, holds 512 of 1024")],
)
def test_levels_must_hold_the_devices(levels: list[dict[str, object]], said: str) -> None:
    hardware = Hardware.model_validate(
        {"system": "gb200-nvl72", "devices": [64, 1024], "levels": levels}
    )
    with pytest.raises(SpecError, match=said) as caught:
        clusters(hardware)
    assert caught.value.key == "hardware.levels"
