"""Chips by the names that JAX gives them."""

import pytest

from hardware_profiles.load import load
from planner.calibrate.relatives import assumed, relative_of


@pytest.mark.parametrize(
    ("backend", "kind", "name"),
    [
        ("cpu", "cpu", "cpu-host"),
        ("gpu", "NVIDIA H100 80GB HBM3", "dgx-h100"),
        ("gpu", "NVIDIA H200", "dgx-h200"),
        ("gpu", "NVIDIA A100-SXM4-40GB", "dgx-a100-40gb"),
        ("gpu", "NVIDIA A100-SXM4-80GB", "dgx-a100-80gb"),
        ("gpu", "Tesla V100-SXM2-32GB", "dgx-v100"),
        ("gpu", "NVIDIA GB200", "gb200-nvl72"),
        ("gpu", "AMD Instinct MI300X", "mi300x"),
        ("tpu", "TPU v5p", "tpu-v5p"),
        ("tpu", "TPU v5 lite", "tpu-v5e"),
        ("tpu", "TPU v6 lite", "tpu-v6e"),
    ],
)
def test_the_chip_that_jax_names(backend: str, kind: str, name: str) -> None:
    profile, known = relative_of(backend, kind)
    assert (profile.name, known) == (name, True)


def test_a_chip_that_nobody_knows_says_so() -> None:
    profile, known = relative_of("gpu", "Unheard Of 9000")
    assert not known
    assert profile.name == "cpu-host"


def test_what_is_taken_over_is_assumed() -> None:
    whole = load("dgx-h100")
    taken = assumed(whole, "as dgx-h100")
    assert taken.power.device_w.value == whole.power.device_w.value
    assert taken.power.device_w.basis == "assumed"
    assert taken.kernels.memory.efficiency.source.startswith("as dgx-h100: ")
    assert taken.network[0].protocols is not None
    assert taken.network[0].protocols.basis == "assumed"
