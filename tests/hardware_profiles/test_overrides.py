"""`hardware.set`: each key replaces what it says, nothing else, and owns up to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.load import ProfileError, load, names, with_overrides
from hardware_profiles.overrides import OVERRIDES
from hardware_profiles.schema import Figure, HardwareProfile

H100 = load("dgx-h100")


def owned(figure: Figure, value: float) -> None:
    assert figure.value == pytest.approx(value)
    assert (figure.basis, figure.source) == ("assumed", "hardware.set of the job")


def same_but(new: HardwareProfile, *fields: str) -> None:
    old = H100.model_dump(exclude=set(fields))
    assert new.model_dump(exclude=set(fields)) == old


def test_the_keys_are_the_contract_s() -> None:
    assert set(OVERRIDES) == {
        "memory_bytes", "memory_bytes_per_s", "peak_flop_per_s", "devices_per_node",
        "intra_node_bytes_per_s", "inter_node_bytes_per_s", "power_cap_w",
    }  # fmt: skip


def test_nothing_set_changes_nothing() -> None:
    assert with_overrides(H100, {}) == H100


@pytest.mark.parametrize("key", ["memory_bytes", "memory_bytes_per_s"])
def test_memory(key: str) -> None:
    new = with_overrides(H100, {key: 5e10})
    owned(getattr(new, key), 5e10)
    same_but(new, key)


def test_peaks_scale_together() -> None:
    new = with_overrides(H100, {"peak_flop_per_s": 989.4e12 / 2})
    for precision, old in H100.peak_flop_per_s.items():
        owned(new.peak_flop_per_s[precision], old.value / 2)
    same_but(new, "peak_flop_per_s")


def test_devices_per_node_takes_the_host_along() -> None:
    new = with_overrides(H100, {"devices_per_node": 4})
    assert (new.network[0].devices, new.host.devices) == (4, 4)
    assert new.network[0].bytes_per_s == H100.network[0].bytes_per_s
    assert new.network[1] == H100.network[1]
    same_but(new, "network", "host")


def test_devices_per_node_leaves_a_host_that_is_not_the_node() -> None:
    rack = load("gb200-nvl72")
    assert with_overrides(rack, {"devices_per_node": 36}).host.devices == 4
    assert with_overrides(rack, {"devices_per_node": 2}).host.devices == 2


def test_links() -> None:
    new = with_overrides(H100, {"intra_node_bytes_per_s": 1e11, "inter_node_bytes_per_s": 2e11})
    owned(new.network[0].bytes_per_s, 1e11)
    owned(new.network[1].bytes_per_s, 2e11)
    same_but(new, "network")


def test_a_power_cap_slows_the_clock() -> None:
    new = with_overrides(H100, {"power_cap_w": 500})
    clock = (500 / 700) ** 0.86
    assert clock == pytest.approx(0.7487, abs=1e-4)
    owned(new.power.device_w, 500)
    for precision, old in H100.peak_flop_per_s.items():
        owned(new.peak_flop_per_s[precision], old.value * clock)
    same_but(new, "power", "peak_flop_per_s")


@pytest.mark.parametrize("cap", [700, 1000])
def test_a_cap_that_does_not_bind_changes_nothing(cap: float) -> None:
    assert with_overrides(H100, {"power_cap_w": cap}) == H100


def test_a_cap_below_idle_power_lowers_it() -> None:
    power = with_overrides(H100, {"power_cap_w": 50}).power
    assert power.idle_w.value <= power.device_w.value == 50


def test_order_of_keys_does_not_matter() -> None:
    keys = {"power_cap_w": 500.0, "peak_flop_per_s": 9e14, "devices_per_node": 4.0}
    backwards = dict(reversed(keys.items()))
    assert with_overrides(H100, keys) == with_overrides(H100, backwards)
    clock = (500 / 700) ** 0.86
    owned(with_overrides(H100, keys).peak_flop_per_s["bf16"], 9e14 * clock)


@pytest.mark.parametrize(
    ("given_set", "key", "message"),
    [
        ({"memory_byte": 1e9}, "memory_byte", "did you mean 'memory_bytes'"),
        ({"colour": 1.0}, "colour", "allowed: memory_bytes, "),
        ({"memory_bytes": 0.0}, "memory_bytes", "above 0"),
        ({"memory_bytes": -1.0}, "memory_bytes", "above 0"),
        ({"memory_bytes": float("nan")}, "memory_bytes", "above 0"),
        ({"memory_bytes": float("inf")}, "memory_bytes", "above 0"),
        ({"memory_bytes": True}, "memory_bytes", "above 0"),
        ({"memory_bytes": "80e9"}, "memory_bytes", "above 0"),
        ({"memory_bytes": 10**400}, "memory_bytes", "above 0"),
        ({"devices_per_node": 2.5}, "devices_per_node", "whole number"),
    ],
)
def test_bad_sets_are_refused(given_set: dict[str, float], key: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        with_overrides(H100, given_set)
    assert caught.value.key == f"hardware.set.{key}"


def test_a_network_that_cannot_follow_is_refused() -> None:
    flat = H100.model_copy(update={"network": H100.network[1:]})
    with pytest.raises(ProfileError, match="one level of network"):
        with_overrides(flat, {"inter_node_bytes_per_s": 1e9})
    with pytest.raises(ProfileError, match="no nodes"):
        with_overrides(flat, {"devices_per_node": 4})
    rack = H100.network[0].model_copy(update={"name": "rack", "devices": 32})
    racks = H100.model_copy(update={"network": (H100.network[0], rack, H100.network[1])})
    assert with_overrides(racks, {"devices_per_node": 16}).network[0].devices == 16
    with pytest.raises(ProfileError, match="rack of 32 devices cannot hold whole nodes of 12"):
        with_overrides(racks, {"devices_per_node": 12})


@given(
    name=st.sampled_from(names()),
    key=st.sampled_from(sorted(set(OVERRIDES) - {"devices_per_node"})),
    value=st.floats(1e-3, 1e18),
)
def test_what_comes_out_is_a_valid_profile(name: str, key: str, value: float) -> None:
    new = with_overrides(load(name), {key: value})
    assert HardwareProfile.model_validate(new.model_dump()) == new


def test_the_shipped_profile_is_left_as_it_was() -> None:
    before = H100.model_dump()
    with_overrides(H100, dict.fromkeys(OVERRIDES, 4.0))
    assert H100.model_dump() == before
