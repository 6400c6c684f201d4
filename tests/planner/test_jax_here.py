"""What must be there before JAX is: refusals, and the devices of a processor."""

import importlib.util

import pytest

from planner.errors import SpecError
from planner.jax_here import (
    DEVICES,
    busy,
    divide,
    first_line,
    load_per_core,
    need_jax,
    out_of_memory,
)


def test_without_jax_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'sixfold\[jax\]'"):
        need_jax()


def test_a_processor_is_divided_among_the_processes() -> None:
    for asked, processes, expected in ((None, 1, 8), (None, 4, 2), (None, 32, 1), (3, 4, 3)):
        environment = {"XLA_FLAGS": "--xla_dump_to=x"}
        divide(asked, processes, environment)
        flag = f"--xla_force_host_platform_device_count={expected}"
        assert environment["XLA_FLAGS"] == f"--xla_dump_to=x {flag}"


def test_the_user_s_own_flag_stays() -> None:
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    divide(None, 1, environment)
    assert environment["XLA_FLAGS"] == "--xla_force_host_platform_device_count=4"
    with pytest.raises(SpecError, match="--devices.*XLA_FLAGS"):
        divide(8, 1, environment)


@pytest.mark.parametrize("count", [0, 65])
def test_devices_have_a_range(count: int) -> None:
    with pytest.raises(SpecError, match="--devices: from 1 to 64"):
        divide(count, 1, {})


def test_the_same_count_twice_is_no_conflict() -> None:
    environment: dict[str, str] = {}
    divide(DEVICES, 1, environment)
    divide(DEVICES, 1, environment)
    with pytest.raises(SpecError, match="--devices.*XLA_FLAGS"):
        divide(DEVICES - 1, 1, environment)


def test_what_errors_of_jax_say() -> None:
    assert first_line(RuntimeError("no backend\nat dispatch.cc:12")) == "no backend"
    assert first_line(ValueError()) == "ValueError"
    assert out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: 12 GB"))
    assert not out_of_memory(RuntimeError("INVALID_ARGUMENT: shapes"))


def test_other_work_is_said() -> None:
    assert busy(0.2) == "" and load_per_core() >= 0.0
    assert busy(1.25) == "1.2 processes wanted each core before it began"
