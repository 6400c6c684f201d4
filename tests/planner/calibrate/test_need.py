"""What must be there before JAX is: refusals, and the devices of a processor."""

import importlib.util

import pytest

from planner.calibrate.need import need_jax, set_devices
from planner.errors import SpecError


def test_without_jax_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'sixfold\[jax\]'"):
        need_jax()


def test_a_processor_is_divided_among_the_processes() -> None:
    for asked, processes, expected in ((None, 1, 8), (None, 4, 2), (None, 32, 1), (3, 4, 3)):
        environment = {"XLA_FLAGS": "--xla_dump_to=x"}
        set_devices(asked, processes, environment)
        flag = f"--xla_force_host_platform_device_count={expected}"
        assert environment["XLA_FLAGS"] == f"--xla_dump_to=x {flag}"


def test_the_user_s_own_flag_stays() -> None:
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    set_devices(None, 1, environment)
    assert environment["XLA_FLAGS"] == "--xla_force_host_platform_device_count=4"
    with pytest.raises(SpecError, match="--devices.*XLA_FLAGS"):
        set_devices(8, 1, environment)


@pytest.mark.parametrize("count", [0, 65])
def test_devices_have_a_range(count: int) -> None:
    with pytest.raises(SpecError, match="--devices: from 1 to 64"):
        set_devices(count, 1, {})
